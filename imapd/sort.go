package imapd

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir/index"
)

// sortKey is a key of SORT (RFC 5256 section 3, RFC 5957).
type sortKey struct {
	sortKind
	reverse bool
}

type sortKind struct {
	cost cost
	of   func(*candidate) (sortValue, error)
}

// sortValue is what a key gives for a message: a number, or else a text that
// compares as it should.
type sortValue struct {
	n    int64
	text string
}

func (v sortValue) compare(o sortValue) int {
	return cmp.Or(cmp.Compare(v.n, o.n), strings.Compare(v.text, o.text))
}

var sortKinds = map[string]sortKind{
	"ARRIVAL":     {costStat, sortArrival},
	"SIZE":        {costStat, sortSize},
	"DATE":        {costHeader, sortDate},
	"SUBJECT":     {costHeader, sortText(index.SortSubject, baseSubject)},
	"FROM":        {costHeader, sortText(index.SortFrom, mailbox("From"))},
	"TO":          {costHeader, sortText(index.SortTo, mailbox("To"))},
	"CC":          {costHeader, sortText(index.SortCc, mailbox("Cc"))},
	"DISPLAYFROM": {costHeader, sortText(index.SortDisplayFrom, display("From"))},
	"DISPLAYTO":   {costHeader, sortText(index.SortDisplayTo, display("To"))},
}

func sortArrival(c *candidate) (sortValue, error) {
	t, err := c.internal()
	return sortValue{n: t.Unix()}, err // as INTERNALDATE has it
}

func sortSize(c *candidate) (sortValue, error) {
	n, err := c.messageSize()
	return sortValue{n: n}, err
}

// sentTime is the sent date of RFC 5256 section 2.2, in Unix seconds: that of the
// Date field, or the internal date if there is none.
func (c *candidate) sentTime() (int64, error) {
	if c.known {
		if at, ok := c.row.SentUnix(); ok {
			return at, nil
		}
		return c.row.Internal().Unix(), nil
	}
	fields, err := c.header("Date")
	if err != nil {
		return 0, err
	}
	if t, err := message.ParseDate(fields.Value("Date")); err == nil {
		return t.Unix(), nil
	}
	t, err := c.internal()
	return t.Unix(), err
}

func sortDate(c *candidate) (sortValue, error) {
	at, err := c.sentTime()
	return sortValue{n: at}, err
}

// sortText takes the key from the cache, or else from the header.
func sortText(key index.SortKey, fromHeader func(*candidate) (string, error)) func(*candidate) (sortValue, error) {
	return func(c *candidate) (sortValue, error) {
		if c.known {
			if text, known := c.row.SortKey(key); known {
				return sortValue{text: string(text)}, nil
			}
		}
		text, err := fromHeader(c)
		return sortValue{text: message.FoldString(text)}, err
	}
}

func baseSubject(c *candidate) (string, error) {
	fields, err := c.header("Subject")
	if err != nil {
		return "", err
	}
	base, _ := message.BaseSubject(fields.Text("Subject"))
	return base, nil
}

// mailbox is the local-part of the first address.
func mailbox(field string) func(*candidate) (string, error) {
	return func(c *candidate) (string, error) {
		a, err := c.firstAddress(field)
		return a.Mailbox, err
	}
}

// display is what a client shows of the first address: its name, or else the
// address itself (RFC 5957).
func display(field string) func(*candidate) (string, error) {
	return func(c *candidate) (string, error) {
		a, err := c.firstAddress(field)
		name := message.DecodeText(a.Name)
		if name == "" && a.Mailbox != "" {
			name = a.Mailbox + "@" + a.Host
		}
		return name, err
	}
}

// firstAddress returns the first mailbox in a field, of a group its first
// member.
func (c *candidate) firstAddress(field string) (message.Address, error) {
	fields, err := c.header(field)
	if err != nil {
		return message.Address{}, err
	}
	return message.FirstAddress(fields.Value(field)), nil
}

// sort runs SORT and UID SORT (RFC 5256), with RETURN as in ESORT (RFC 5267).
func (s *session) sort(c *call) error {
	s.dec.SP()
	ret := s.parseReturn("CONTEXT=SORT")
	ret.extended = ret.returned
	keys := s.parseSortKeys()
	s.dec.SP()
	p := &searchParser{s: s, now: time.Now()}
	key, err := p.parseCharsetAndKeys()
	if err != nil {
		return err
	}
	found, err := s.find(c, key)
	var values [][]sortValue
	if err == nil {
		found, values, err = s.sorted(c, found, keys)
	}
	if ret.save {
		s.view.saved = nil
	}
	if err != nil {
		return err
	}
	s.found(c, "SORT", ret, found, p)
	if ret.update {
		x := &searchContext{tag: c.tag, uid: c.uid, key: key, sort: keys}
		for i, uid := range s.view.at(found) {
			x.members = append(x.members, contextMember{uid, values[i]})
		}
		s.keepContext(c, x, p)
	}
	return nil
}

// parseSortKeys parses the parenthesised sort keys.
func (s *session) parseSortKeys() []sortKey {
	var keys []sortKey
	s.dec.NonEmptyList(func() {
		name := s.dec.Word()
		key := sortKey{reverse: name == "REVERSE"}
		if key.reverse {
			s.dec.SP()
			name = s.dec.Word()
		}
		var ok bool
		if key.sortKind, ok = sortKinds[name]; s.dec.Err() == nil && !ok {
			s.dec.Failf("Unknown sort key %s", name)
		}
		if keys = append(keys, key); len(keys) > 2*len(sortKinds) {
			s.dec.Failf("Too many sort keys")
		}
	})
	return keys
}

// sorted returns the indexes in the order of the keys, with the values that they
// were sorted by; equal messages stay in the order of the mailbox.
func (s *session) sorted(c *call, indexes []int, keys []sortKey) ([]int, [][]sortValue, error) {
	price := costMemory
	for _, k := range keys {
		price = max(price, k.cost)
	}
	values := make([][]sortValue, len(indexes))
	err := s.each(c, price, indexes, func(i int, cand *candidate) (err error) {
		values[i], err = sortValues(keys, cand)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	order := make([]int, 0, len(indexes))
	for i := range indexes {
		if values[i] != nil { // else it was expunged meanwhile
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		for k, key := range keys {
			if d := values[a][k].compare(values[b][k]); d != 0 {
				if key.reverse {
					return -d
				}
				return d
			}
		}
		return 0
	})
	sorted := make([][]sortValue, len(order))
	for i := range order {
		order[i], sorted[i] = indexes[order[i]], values[order[i]]
	}
	return order, sorted, nil
}
