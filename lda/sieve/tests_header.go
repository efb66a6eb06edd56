package sieve

import "strings"

var comparatorTag = tagSpec{name: "comparator", value: stringArgument}

// matchTags are the tags of every test that compares.
var matchTags = []tagSpec{
	comparatorTag,
	{name: "is", group: "match type"}, {name: "contains", group: "match type"}, {name: "matches", group: "match type"},
	{name: "regex", ext: "regex", group: "match type"},
	{name: "value", ext: "relational", group: "match type", value: stringArgument},
	{name: "count", ext: "relational", group: "match type", value: stringArgument},
}

// indexTags choose one of several fields of a name (RFC 5260 section 6).
var indexTags = []tagSpec{{name: "index", ext: "index", value: numberArgument}, {name: "last", ext: "index"}}

func joinTags(lists ...[]tagSpec) []tagSpec {
	var all []tagSpec
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

var headerSpecs = []*spec{
	{name: "header", tags: joinTags(matchTags, indexTags), args: []argumentKind{listArgument, listArgument}, test: buildHeader},
	{name: "address", tags: joinTags(matchTags, indexTags, partTags), args: []argumentKind{listArgument, listArgument}, test: buildAddress},
	{name: "envelope", ext: "envelope", tags: joinTags(matchTags, partTags), args: []argumentKind{listArgument, listArgument}, test: buildEnvelope},
	{name: "exists", args: []argumentKind{listArgument}, test: buildExists},
}

// matcher makes the matcher of a test from its tags; keys may be nil.
func (c *checker) matcher(n *call, keys *argument) *matcher {
	m := &matcher{cmp: c.comparator(n)}
	for typ := matchIs; typ <= matchCount; typ++ {
		if n.has(typ.String()[1:]) {
			m.typ = typ
		}
	}
	if m.typ == matchValue || m.typ == matchCount {
		m.relation = c.relation(n.tags[m.typ.String()[1:]])
	}
	if !m.cmp.substrings && (m.typ == matchContains || m.typ == matchMatches || m.typ == matchRegex) {
		c.problem(n.pos, "", "the comparator %s cannot be used with %s", m.cmp.name, m.typ)
	}
	if keys == nil {
		return m
	}
	m.keys = c.texts(keys)
	m.ready = make([]*key, len(m.keys))
	for i, t := range m.keys {
		if !t.constant() {
			continue
		}
		m.ready[i] = c.key(m, t)
	}
	return m
}

// key prepares a constant key.
func (c *checker) key(m *matcher, t text) *key {
	const each = 20 // what every expression costs, as instructions
	if m.typ == matchRegex && c.regexes > 20*c.limits.Regex {
		c.problem(t.pos, "", "there are too many regular expressions")
		return nil
	}
	k, err := m.prepare(t.value, &c.limits)
	if err != nil {
		c.problem(t.pos, "", "the regular expression %s is not valid: %v", quote(t.value), err)
	} else if k.regex != nil {
		c.regexes += each + k.regex.size
	}
	return k
}

// comparator finds the comparator that a test names.
func (c *checker) comparator(n *call) *comparator {
	a := n.tags["comparator"]
	if a == nil {
		return asciiCasemap
	}
	name, ok := c.constant(a, "the name of a comparator")
	if !ok {
		return asciiCasemap
	}
	cmp := findComparator(name)
	switch {
	case cmp == nil:
		c.problem(a.pos, "", "there is no comparator %s", quote(name))
		return asciiCasemap
	case !c.using(cmp.ext):
		c.problem(a.pos, needs(cmp.ext), "the comparator %s is not in use", cmp.name)
	}
	return cmp
}

// relation reads the relation of :value and :count.
func (c *checker) relation(a *argument) string {
	s, ok := c.constant(a, "a relation")
	switch s {
	case "gt", "ge", "lt", "le", "eq", "ne":
	default:
		if ok {
			c.problem(a.pos, `write one of "gt", "ge", "lt", "le", "eq", "ne"`, "%s is no relation", quote(s))
		}
	}
	return s
}

// fieldIndex is the n-th of all fields that a test names, in the order of the
// names, or with last set, from the last backwards. The zero fieldIndex is all
// fields.
type fieldIndex struct {
	n    int
	last bool
}

func (c *checker) fieldIndex(n *call) fieldIndex {
	i, given := n.number("index")
	if n.has("last") && !given {
		c.problem(n.tags["last"].pos, "write :index 1 :last for the last one", ":last needs :index")
	}
	if given && i == 0 {
		c.problem(n.tags["index"].pos, "the first is :index 1", "there is no :index 0")
	}
	return fieldIndex{int(min(i, 1<<30)), n.has("last")}
}

// of chooses from fields.
func (x fieldIndex) of(fields []*field) []*field {
	i := x.n - 1
	if x.last {
		i = len(fields) - x.n
	}
	switch {
	case x.n == 0:
		return fields
	case i < 0 || i >= len(fields):
		return nil
	}
	return fields[i : i+1]
}

// fieldNames makes the texts of a list of header fields, and warns of those
// that cannot be.
func (c *checker) fieldNames(a *argument) []text {
	names := c.texts(a)
	for _, t := range names {
		if t.constant() && !isFieldName(t.value) {
			c.warning(t.pos, "write the name without a colon", "no header field can have the name %s", quote(t.value))
		}
	}
	return names
}

// isFieldName reports whether s can name a header field (RFC 5322 section 2.2).
func isFieldName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' })
}

// fields returns the fields that names and index stand for.
func (r *run) fields(names []text, x fieldIndex) ([]*field, error) {
	var all []*field
	for _, t := range names {
		name, err := t.eval(r)
		if err != nil {
			return nil, err
		}
		found := r.header.named(name)
		if r.tracing() && len(found) == 0 {
			r.trace(1, "there is no field %s", shorten(name))
		}
		if err := r.spend(64 * len(found)); err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return x.of(all), nil
}

// headerTest is RFC 5228 section 5.7.
type headerTest struct {
	names   []text
	index   fieldIndex
	matcher *matcher
}

func buildHeader(c *checker, n *call) checked {
	return checked{test: headerTest{c.fieldNames(n.args[0]), c.fieldIndex(n), c.matcher(n, n.args[1])}}
}

func (t headerTest) eval(r *run) (bool, error) {
	fields, err := r.fields(t.names, t.index)
	if err != nil {
		return false, err
	}
	x, err := t.matcher.begin(r)
	if err != nil {
		return false, err
	}
	for _, f := range fields {
		if ok, err := x.value(f.Text()); ok || err != nil {
			return ok, err
		}
	}
	return x.end()
}

// addressTest is RFC 5228 section 5.1.
type addressTest struct {
	names   []text
	index   fieldIndex
	part    addressPart
	matcher *matcher
}

// addressFields are the header fields that hold addresses.
var addressFields = map[string]bool{
	"from": true, "to": true, "cc": true, "bcc": true, "sender": true, "reply-to": true,
	"resent-from": true, "resent-to": true, "resent-cc": true, "resent-bcc": true, "resent-sender": true, "resent-reply-to": true,
	"for-approval": true, "for-handling": true, "for-comment": true, "apparently-to": true, "errors-to": true,
	"delivered-to": true, "return-path": true, "return-receipt-to": true, "return-receipt-requested": true,
	"x-admin": true, "read-receipt-to": true, "x-confirm-reading-to": true, "registered-mail-reply-requested-by": true,
	"disposition-notification-to": true, "mail-followup-to": true, "mail-reply-to": true, "abuse-reports-to": true,
	"x-complaints-to": true, "x-report-abuse-to": true, "x-beenthere": true, "x-original-to": true, "envelope-to": true,
	"x-envelope-to": true, "x-forwarded-to": true, "x-forwarded-for": true,
}

func buildAddress(c *checker, n *call) checked {
	t := addressTest{c.fieldNames(n.args[0]), c.fieldIndex(n), n.addressPart(), c.matcher(n, n.args[1])}
	for _, name := range t.names {
		if name.constant() && !addressFields[strings.ToLower(name.value)] {
			c.problem(name.pos, "use the test header for it", "the header field %s holds no addresses", quote(name.value))
		}
	}
	return checked{test: t}
}

func (t addressTest) eval(r *run) (bool, error) {
	fields, err := r.fields(t.names, t.index)
	if err != nil {
		return false, err
	}
	x, err := t.matcher.begin(r)
	if err != nil {
		return false, err
	}
	for _, f := range fields {
		if err := r.spend(len(f.raw) * 8); err != nil {
			return false, err
		}
		ok, err := x.addresses(t.part, f.Value())
		if ok || err != nil {
			return ok, err
		}
	}
	return x.end()
}

// addresses compares a part of each address in a field's value. A value that is
// no address at all is compared as it stands, but it has no parts; those of an
// empty one are empty.
func (x *matching) addresses(part addressPart, value string) (bool, error) {
	list, none := addressesOf(value)
	if value == "" || none && part == partAll {
		return x.value(value)
	}
	for _, a := range list {
		s, has := x.r.addressPart(part, a)
		if !has && x.typ != matchCount { // which counts addresses, not parts
			continue
		}
		if ok, err := x.value(s); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// envelopeTest is RFC 5228 section 5.4.
type envelopeTest struct {
	parts   []text
	part    addressPart
	matcher *matcher
}

func buildEnvelope(c *checker, n *call) checked {
	t := envelopeTest{c.texts(n.args[0]), n.addressPart(), c.matcher(n, n.args[1])}
	for _, p := range t.parts {
		if p.constant() && !isEnvelopePart(p.value) {
			c.problem(p.pos, `the parts are "from", "to" and "auth"`, "an envelope has no part %s", quote(p.value))
		}
	}
	return checked{test: t}
}

func isEnvelopePart(s string) bool {
	switch strings.ToLower(s) {
	case "from", "to", "auth":
		return true
	}
	return false
}

func (t envelopeTest) eval(r *run) (bool, error) {
	x, err := t.matcher.begin(r)
	if err != nil {
		return false, err
	}
	for _, p := range t.parts {
		name, err := p.eval(r)
		if err != nil {
			return false, err
		}
		value, has := r.envelope(strings.ToLower(name), t.part)
		if !has {
			continue
		}
		if ok, err := x.value(value); ok || err != nil {
			return ok, err
		}
	}
	return x.end()
}

// envelope returns a part of the envelope; false if there is none. Every part
// of the null reverse-path is empty.
func (r *run) envelope(name string, part addressPart) (string, bool) {
	path := ""
	switch name {
	case "from":
		path = r.env.From
	case "to":
		path = r.env.To
	case "auth":
		return r.env.Auth, true
	default:
		return "", false
	}
	if path == "" {
		return "", name == "from"
	}
	a, err := parseAddrSpec(path)
	if err != nil {
		a.Mailbox = path
	}
	return r.addressPart(part, a)
}

// existsTest is RFC 5228 section 5.5.
type existsTest struct{ names []text }

func buildExists(c *checker, n *call) checked {
	return checked{test: existsTest{c.fieldNames(n.args[0])}}
}

func (t existsTest) eval(r *run) (bool, error) {
	for _, name := range t.names {
		found, err := r.fields([]text{name}, fieldIndex{})
		if err != nil || len(found) == 0 {
			return false, err
		}
	}
	return true, nil
}
