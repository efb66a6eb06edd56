package sieve

var messageSpecs = []*spec{
	{name: "size", tags: []tagSpec{{name: "over", value: numberArgument, group: "size"}, {name: "under", value: numberArgument, group: "size"}}, test: buildSize},
	{name: "body", ext: "body", args: []argumentKind{listArgument}, test: buildBody, tags: joinTags(matchTags, []tagSpec{
		{name: "raw", group: "body"}, {name: "content", value: listArgument, group: "body"}, {name: "text", group: "body"}})},
}

// sizeTest is RFC 5228 section 5.9.
type sizeTest struct {
	over  bool
	limit uint64
}

func buildSize(c *checker, n *call) checked {
	t := sizeTest{over: n.has("over")}
	var given bool
	if t.limit, given = n.number("over"); !given {
		t.limit, given = n.number("under")
	}
	if !given {
		c.problem(n.pos, "write size :over 1M or size :under 1M", "size needs :over or :under")
	}
	return checked{test: t}
}

func (t sizeTest) eval(r *run) (bool, error) {
	size := uint64(r.msg.size)
	if e := r.edit(); e != nil {
		size = uint64(int64(len(e.Header)) + r.msg.size - e.Body)
	}
	r.trace(0, "the message has %d bytes", size)
	if t.over {
		return size > t.limit, nil
	}
	return size < t.limit, nil
}

// bodyTest is RFC 5173.
type bodyTest struct {
	raw     bool
	types   []text // of :content
	content bool
	matcher *matcher
}

func buildBody(c *checker, n *call) checked {
	t := bodyTest{raw: n.has("raw"), content: n.has("content")}
	if t.content {
		t.types = c.texts(n.tags["content"])
	}
	t.matcher = c.matcher(n, n.args[0])
	return checked{test: t}
}

func (t bodyTest) eval(r *run) (bool, error) {
	values, err := t.values(r)
	if err != nil {
		if _, ours := err.(*RunError); ours {
			return false, err
		}
		return false, r.caused(err, "the message cannot be read")
	}
	// Wildcards set no match variables here (RFC 5173 section 6).
	matched := r.frame.matched
	defer func() { r.frame.matched = matched }()
	return t.matcher.each(r, values)
}

// values returns the texts to look at.
func (t bodyTest) values(r *run) ([]string, error) {
	if err := r.spend(int(min(r.msg.size, 1<<30))); err != nil {
		return nil, err
	}
	limit := r.limits.Body
	switch {
	case t.raw:
		s, err := r.msg.body(bodyKey{form: bodyRaw}, limit)
		if err != nil || s == "" {
			return nil, err
		}
		return []string{s}, nil
	case t.content:
		types, err := evalAll(r, t.types)
		if err != nil {
			return nil, err
		}
		if _, err := r.msg.parts(); err != nil {
			return nil, err
		}
		if err := r.spend(16 * len(types) * r.msg.count); err != nil {
			return nil, err
		}
		return r.msg.contents(types, limit)
	}
	return r.msg.texts(limit)
}
