package imapd

import (
	"slices"
	"strings"
	"time"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
	"svc.plus/mailsrvd/maildir/index"
)

// predicate is a search key ready to be asked about messages. It has no state,
// so that several goroutines may ask at once.
type predicate struct {
	cost  cost
	match func(*candidate) (bool, error)
	// parts are the keys of a conjunction, the cheap ones first; nil for others.
	parts []predicate
	// needles are what the full-text index may be asked for, and within what its
	// answers leave: other messages do not match. A nil within leaves all.
	needles []*message.Matcher
	within  func(hits) set
}

// cost is what a predicate has to read; cheap ones are asked first.
type cost uint8

const (
	costMemory cost = iota // state in memory
	costStat               // size and dates
	costHeader             // the header block
	costText               // the whole message
)

// searchParser parses the keys of one SEARCH (RFC 9051 section 6.4.4).
type searchParser struct {
	s       *session
	charset string
	keys    int
	now     time.Time
	err     error // the first that is none of syntax
	modseq  bool  // MODSEQ is among the keys
	// fleeting says that the answer may change although no message does: the keys
	// have sequence numbers, "$", or the time.
	fleeting bool
}

// searchKeyTable has the keys that are words.
func searchKeyTable() map[string]func(*searchParser) predicate {
	return map[string]func(*searchParser) predicate{
		"ALL":        func(*searchParser) predicate { return all(nil) },
		"ANSWERED":   flagKey(maildir.Answered, true),
		"DELETED":    flagKey(maildir.Deleted, true),
		"DRAFT":      flagKey(maildir.Draft, true),
		"FLAGGED":    flagKey(maildir.Flagged, true),
		"SEEN":       flagKey(maildir.Seen, true),
		"UNANSWERED": flagKey(maildir.Answered, false),
		"UNDELETED":  flagKey(maildir.Deleted, false),
		"UNDRAFT":    flagKey(maildir.Draft, false),
		"UNFLAGGED":  flagKey(maildir.Flagged, false),
		"UNSEEN":     flagKey(maildir.Seen, false),
		"KEYWORD":    func(p *searchParser) predicate { return p.keyword(true) },
		"UNKEYWORD":  func(p *searchParser) predicate { return p.keyword(false) },
		"RECENT":     func(*searchParser) predicate { return isRecent(true) },
		"OLD":        func(*searchParser) predicate { return isRecent(false) },
		"NEW": func(p *searchParser) predicate {
			return all([]predicate{isRecent(true), flagKey(maildir.Seen, false)(p)})
		},

		"UID":      (*searchParser).uidKey,
		"EMAILID":  (*searchParser).emailIDKey,
		"THREADID": (*searchParser).threadIDKey,
		"MODSEQ":   (*searchParser).modseqKey,
		"LARGER":   func(p *searchParser) predicate { return p.sizeKey(func(size, n int64) bool { return size > n }) },
		"SMALLER":  func(p *searchParser) predicate { return p.sizeKey(func(size, n int64) bool { return size < n }) },

		"BEFORE":      func(p *searchParser) predicate { return p.dayKey(internalDay, before) },
		"ON":          func(p *searchParser) predicate { return p.dayKey(internalDay, on) },
		"SINCE":       func(p *searchParser) predicate { return p.dayKey(internalDay, since) },
		"SENTBEFORE":  func(p *searchParser) predicate { return p.dayKey(sentDay, before).costing(costHeader) },
		"SENTON":      func(p *searchParser) predicate { return p.dayKey(sentDay, on).costing(costHeader) },
		"SENTSINCE":   func(p *searchParser) predicate { return p.dayKey(sentDay, since).costing(costHeader) },
		"SAVEDBEFORE": func(p *searchParser) predicate { return p.dayKey(savedDay, before) },
		"SAVEDON":     func(p *searchParser) predicate { return p.dayKey(savedDay, on) },
		"SAVEDSINCE":  func(p *searchParser) predicate { return p.dayKey(savedDay, since) },
		"OLDER":       func(p *searchParser) predicate { return p.ageKey(func(age, n time.Duration) bool { return age >= n }) },
		"YOUNGER":     func(p *searchParser) predicate { return p.ageKey(func(age, n time.Duration) bool { return age <= n }) },

		"SAVEDATESUPPORTED": func(*searchParser) predicate { return all(nil) },

		"BCC":     func(p *searchParser) predicate { return p.headerKey("Bcc") },
		"CC":      func(p *searchParser) predicate { return p.headerKey("Cc") },
		"FROM":    func(p *searchParser) predicate { return p.headerKey("From") },
		"TO":      func(p *searchParser) predicate { return p.headerKey("To") },
		"SUBJECT": func(p *searchParser) predicate { return p.headerKey("Subject") },
		"HEADER": func(p *searchParser) predicate {
			p.s.dec.SP()
			return p.headerKey(p.s.dec.AString())
		},
		"BODY": func(p *searchParser) predicate { return p.textKey((*message.Part).MatchBody) },
		"TEXT": func(p *searchParser) predicate { return p.textKey((*message.Part).MatchText) },

		"NOT": (*searchParser).notKey,
		"OR":  (*searchParser).orKey,
	}
}

// parseKeys parses the keys to the end of the command.
func (p *searchParser) parseKeys() (predicate, error) {
	p.text("") // an unknown charset is an error even if nothing needs it
	keys := []predicate{p.parseKey()}
	for p.s.dec.AcceptSP() {
		keys = append(keys, p.parseKey())
	}
	if err := p.s.dec.End(); err != nil {
		return predicate{}, err
	}
	return all(keys), p.err
}

// parseCharsetAndKeys is parseKeys for SORT and THREAD, where the charset is no
// option.
func (p *searchParser) parseCharsetAndKeys() (predicate, error) {
	p.charset = p.s.dec.AString()
	p.s.dec.SP()
	return p.parseKeys()
}

// parseKey parses one key.
func (p *searchParser) parseKey() predicate {
	dec := p.s.dec
	if p.keys++; p.keys > p.s.srv.limits.SearchKeys {
		dec.Failf("Too many search keys")
	}
	switch c := dec.Peek(); {
	case c == '(':
		var keys []predicate
		dec.NonEmptyList(func() { keys = append(keys, p.parseKey()) })
		return all(keys)
	case c == '*' || c == '$' || isDigit(c):
		return p.seqKey(dec.Set())
	}
	name := dec.Word()
	parse := p.s.srv.searchKeys[name]
	if dec.Err() == nil && parse == nil {
		dec.Failf("Unknown search key %s", name)
	}
	if dec.Err() != nil {
		return predicate{}
	}
	return parse(p)
}

// all is the conjunction of keys, the cheap ones first.
func all(keys []predicate) predicate {
	if len(keys) == 1 {
		return keys[0]
	}
	var and predicate
	for _, k := range keys {
		if k.parts == nil {
			k.parts = []predicate{k}
		}
		and.parts = append(and.parts, k.parts...)
		and.cost = max(and.cost, k.cost)
		and.needles = append(and.needles, k.needles...)
	}
	slices.SortStableFunc(and.parts, func(a, b predicate) int { return int(a.cost) - int(b.cost) })
	and.match = func(c *candidate) (bool, error) {
		for _, k := range and.parts {
			if ok, err := k.match(c); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	}
	and.within = func(h hits) (left set) {
		for _, k := range and.parts {
			if k.within != nil {
				left = left.intersect(k.within(h))
			}
		}
		return left
	}
	return and
}

// stages are the parts of a conjunction that cost the same, the cheap ones first:
// what the early ones leave out need not be looked at by the later ones.
func (k predicate) stages() (list []predicate) {
	if k.parts == nil {
		return []predicate{k}
	}
	for from, to := 0, 0; from < len(k.parts); from = to {
		for to = from; to < len(k.parts) && k.parts[to].cost == k.parts[from].cost; to++ {
		}
		list = append(list, all(k.parts[from:to:to]))
	}
	return list
}

func (p *searchParser) notKey() predicate {
	if !p.s.dec.Enter() {
		return predicate{}
	}
	defer p.s.dec.Leave()
	p.s.dec.SP()
	return not(p.parseKey())
}

func not(key predicate) predicate {
	return predicate{cost: key.cost, needles: key.needles, match: func(c *candidate) (bool, error) {
		ok, err := key.match(c)
		return !ok && err == nil, err
	}}
}

func (p *searchParser) orKey() predicate {
	if !p.s.dec.Enter() {
		return predicate{}
	}
	defer p.s.dec.Leave()
	p.s.dec.SP()
	a := p.parseKey()
	p.s.dec.SP()
	b := p.parseKey()
	if b.cost < a.cost {
		a, b = b, a
	}
	or := predicate{cost: b.cost, needles: slices.Concat(a.needles, b.needles), match: func(c *candidate) (bool, error) {
		if ok, err := a.match(c); ok || err != nil {
			return ok, err
		}
		return b.match(c)
	}}
	if a.within != nil && b.within != nil {
		or.within = func(h hits) set { return a.within(h).union(b.within(h)) }
	}
	return or
}

// flagKey is a key on a flag that is set or not.
func flagKey(flag maildir.Flags, set bool) func(*searchParser) predicate {
	key := predicate{cost: costMemory, match: func(c *candidate) (bool, error) { return (c.Flags&flag != 0) == set, nil }}
	return func(*searchParser) predicate { return key }
}

func isRecent(recent bool) predicate {
	return predicate{cost: costMemory, match: func(c *candidate) (bool, error) { return c.Recent == recent, nil }}
}

// keyword is KEYWORD or UNKEYWORD. One that the mailbox does not have is on no
// message, but may come while the search is kept alive.
func (p *searchParser) keyword(set bool) predicate {
	p.s.dec.SP()
	name := p.s.dec.Flag()
	box := p.s.view.box
	find := func() int {
		return slices.IndexFunc(box.Keywords(), func(k string) bool { return strings.EqualFold(k, name) })
	}
	if i := find(); i >= 0 {
		return flagKey(maildir.Keyword(i), set)(p)
	}
	return predicate{cost: costMemory, match: func(c *candidate) (bool, error) {
		has := false
		if c.Flags&maildir.AllKeywords != 0 {
			i := find()
			has = i >= 0 && c.Flags&maildir.Keyword(i) != 0
		}
		return has == set, nil
	}}
}

// seqKey is a set of sequence numbers. Numbers that are out of range match
// nothing.
func (p *searchParser) seqKey(set wire.Set) predicate {
	p.fleeting = true
	if set.Saved {
		return p.savedKey()
	}
	if p.s.enabled.uidOnly && p.err == nil {
		p.err = errUIDRequired
	}
	ranges := set.Resolve(uint32(len(p.s.view.uids)))
	return predicate{cost: costMemory, match: func(c *candidate) (bool, error) { return wire.Contains(ranges, c.seq), nil }}
}

// savedKey is "$", the result that was saved last (RFC 5182).
func (p *searchParser) savedKey() predicate {
	p.fleeting = true
	saved := p.s.view.saved
	return predicate{cost: costMemory, match: func(c *candidate) (bool, error) {
		_, found := slices.BinarySearch(saved, c.UID)
		return found, nil
	}}
}

func (p *searchParser) uidKey() predicate {
	p.s.dec.SP()
	set := p.s.dec.Set()
	if set.Saved {
		return p.savedKey()
	}
	var largest uint32
	if n := len(p.s.view.uids); n > 0 {
		largest = uint32(p.s.view.uids[n-1])
	}
	ranges := set.Resolve(largest)
	return predicate{cost: costMemory, match: func(c *candidate) (bool, error) { return wire.Contains(ranges, uint32(c.UID)), nil }}
}

func (p *searchParser) sizeKey(compare func(size, n int64) bool) predicate {
	p.s.dec.SP()
	n := p.s.dec.Number64()
	return predicate{cost: costStat, match: func(c *candidate) (bool, error) {
		size, err := c.messageSize()
		return err == nil && compare(size, n), err
	}}
}

// dayFunc gives a day of a message, as midnight in UTC; zero if it has none.
type dayFunc func(*candidate) (time.Time, error)

// day is the day of t as its zone has it.
func day(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

func internalDay(c *candidate) (time.Time, error) {
	t, err := c.internal()
	return day(t.Local()), err
}

func savedDay(c *candidate) (time.Time, error) {
	t, err := c.saved()
	return day(t.Local()), err
}

// sentDay is the day in the Date field, whatever its zone.
func sentDay(c *candidate) (time.Time, error) {
	if c.known {
		t, ok := c.row.Sent()
		if !ok {
			return time.Time{}, nil
		}
		return day(t), nil
	}
	fields, err := c.header("Date")
	if err != nil {
		return time.Time{}, err
	}
	t, err := message.ParseDate(fields.Value("Date"))
	if err != nil {
		return time.Time{}, nil
	}
	return day(t), nil
}

func before(a, b time.Time) bool { return a.Before(b) }
func on(a, b time.Time) bool     { return a.Equal(b) }
func since(a, b time.Time) bool  { return !a.Before(b) }

// costing is k at another cost.
func (k predicate) costing(c cost) predicate {
	k.cost = c
	return k
}

func (p *searchParser) dayKey(of dayFunc, compare func(a, b time.Time) bool) predicate {
	p.s.dec.SP()
	date := p.s.dec.Date()
	return predicate{cost: costStat, match: func(c *candidate) (bool, error) {
		d, err := of(c)
		return err == nil && !d.IsZero() && compare(d, date), err
	}}
}

// ageKey is OLDER or YOUNGER (RFC 5032).
func (p *searchParser) ageKey(compare func(age, n time.Duration) bool) predicate {
	p.fleeting = true
	p.s.dec.SP()
	n := time.Duration(p.s.dec.NZNumber()) * time.Second
	return predicate{cost: costStat, match: func(c *candidate) (bool, error) {
		t, err := c.internal()
		return err == nil && compare(p.now.Sub(t), n), err
	}}
}

// rowFields are the fields whose texts the cache keeps.
var rowFields = map[string]index.Field{
	"subject": index.Subject, "from": index.From, "to": index.To, "cc": index.Cc, "bcc": index.Bcc,
}

// headerKey looks for a text in the fields of a name; the empty text is in every
// field.
func (p *searchParser) headerKey(name string) predicate {
	p.s.dec.SP()
	matcher := message.NewMatcher(p.text(p.s.dec.AString()))
	field, inRow := rowFields[strings.ToLower(name)]
	key := predicate{cost: costHeader, match: func(c *candidate) (bool, error) {
		if inRow && c.known {
			if found, known := c.row.Match(field, matcher); known {
				return found, nil
			}
		}
		if !c.mayHold(matcher) {
			return false, nil
		}
		fields, err := c.header(name)
		if err != nil {
			return false, err
		}
		for _, f := range fields {
			if f.Is(name) && matcher.MatchString(f.Text()) {
				return true, nil
			}
		}
		return false, nil
	}}
	if !index.Keeps(name) { // it would be read from the file
		key.lookUp(matcher)
	}
	return key
}

// textKey looks for a text in a whole message.
func (p *searchParser) textKey(match func(*message.Part, readerAt, *message.Matcher) (bool, error)) predicate {
	p.s.dec.SP()
	matcher := message.NewMatcher(p.text(p.s.dec.AString()))
	key := predicate{cost: costText, match: func(c *candidate) (bool, error) {
		if !c.mayHold(matcher) {
			return false, nil
		}
		part, file, err := c.content()
		if err != nil {
			return false, err
		}
		return match(part, file, matcher)
	}}
	key.lookUp(matcher)
	return key
}

// lookUp says that only messages that hold a needle match.
func (k *predicate) lookUp(needle *message.Matcher) {
	k.needles = []*message.Matcher{needle}
	k.within = func(h hits) set { return h[needle] }
}

// text converts a string to look for to UTF-8.
func (p *searchParser) text(raw string) string {
	text, err := message.DecodeCharset(p.charset, raw)
	if err != nil && p.err == nil {
		p.err = no("BADCHARSET (US-ASCII UTF-8)", "Unknown charset")
	}
	return text
}
