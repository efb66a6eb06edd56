package sieve

var logicSpecs = []*spec{
	{name: "true", test: func(*checker, *call) checked { return checked{test: constantTest(true)} }},
	{name: "false", test: func(*checker, *call) checked { return checked{test: constantTest(false)} }},
	{name: "not", tests: oneTest, test: buildNot},
	{name: "allof", tests: testList, test: buildAllof},
	{name: "anyof", tests: testList, test: buildAnyof},
	{name: "ihave", ext: "ihave", args: []argumentKind{listArgument}, test: buildIhave},
}

// testAt is a test with its place, and its name for the trace.
type testAt struct {
	pos  int
	name string
	test
}

// test evaluates a test, and tells the trace how it went.
func (r *run) test(t test) (bool, error) {
	r.depth++
	defer func() { r.depth-- }()
	return t.eval(r)
}

func (t testAt) eval(r *run) (bool, error) {
	r.pos = t.pos
	if err := r.spend(0); err != nil {
		return false, err
	}
	r.depth++
	ok, err := t.test.eval(r)
	r.depth--
	if err == nil {
		r.pos = t.pos
		r.trace(0, "%s: %s", t.name, yesNo(ok))
	}
	return ok, err
}

// constantTest is true or false (RFC 5228 sections 5.10 and 5.6), or an ihave,
// whose answer is known beforehand.
type constantTest bool

func (t constantTest) eval(*run) (bool, error) { return bool(t), nil }

// notTest is RFC 5228 section 5.8.
type notTest struct{ test }

func buildNot(c *checker, n *call) checked {
	t := c.testOf(n.tests[0])
	t.value = !t.value
	t.test = notTest{t.test}
	return t
}

func (t notTest) eval(r *run) (bool, error) {
	ok, err := t.test.eval(r)
	return !ok, err
}

// listTest is allof or anyof (RFC 5228 sections 5.2 and 5.3): tests are
// evaluated until one says what ends it.
type listTest struct {
	tests []test
	ends  bool
}

func buildAllof(c *checker, n *call) checked { return c.listTest(n, false) }

func buildAnyof(c *checker, n *call) checked { return c.listTest(n, true) }

// listTest checks the tests up to one that, because of ihave, ends the list for
// certain: the others are never evaluated, and may use what we do not have.
func (c *checker) listTest(n *call, ends bool) checked {
	t := listTest{ends: ends}
	all := checked{known: true, value: !ends}
	for _, sub := range n.tests {
		one := c.testOf(sub)
		t.tests = append(t.tests, one.test)
		if one.known && one.value == ends {
			return checked{t, true, ends}
		}
		all.known = all.known && one.known
	}
	all.test = t
	return all
}

func (t listTest) eval(r *run) (bool, error) {
	for _, sub := range t.tests {
		ok, err := sub.eval(r)
		if err != nil {
			return false, err
		}
		if ok == t.ends {
			return t.ends, nil
		}
	}
	return !t.ends, nil
}

// buildIhave decides at once whether we have the extensions, and puts them to
// use (RFC 5463 section 4).
func buildIhave(c *checker, n *call) checked {
	all := true
	for _, l := range n.args[0].list {
		// Those that change what a string means must be known before it is read.
		all = all && c.o.supports(l.text) && l.text != "variables" && l.text != "encoded-character"
	}
	if all {
		for _, l := range n.args[0].list {
			c.require(l.text)
		}
	}
	return checked{constantTest(all), true, all}
}
