package message

import (
	"strings"
	"sync"
)

// AddressKind tells what an Address in a list stands for.
type AddressKind uint8

const (
	// Individual is a mailbox.
	Individual AddressKind = iota
	// GroupStart begins a group (RFC 5322 section 3.4); Name is the group's.
	GroupStart
	// GroupEnd ends a group.
	GroupEnd
)

// Address is an entry of an address list.
type Address struct {
	Kind AddressKind
	// Name is the display name without quotes, encoded-words kept (DecodeText
	// decodes them). An address without one takes its comment: a@b (Name).
	Name string
	// Route is an obsolete source route, "@a,@b"; usually empty.
	Route string
	// Mailbox is the local-part without quotes, Host the domain. Either is empty
	// when it is missing.
	Mailbox, Host string
}

// String returns mailbox@host, the local-part quoted where it must be; a group
// is its name and a colon, its end a semicolon.
func (a Address) String() string {
	switch a.Kind {
	case GroupStart:
		return a.Name + ":"
	case GroupEnd:
		return ";"
	}
	local := a.Mailbox
	if strings.ContainsAny(local, " \t()<>@,;:\\\"[]") {
		local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
	}
	if a.Host == "" {
		return local
	}
	return local + "@" + a.Host
}

// ParseAddressList parses the value of an address field (RFC 5322 section 3.4
// with the obsolete forms of section 4.4). It takes whatever comes: a word
// without a domain, a missing bracket or comma, stray semicolons; nothing that
// looks like an address vanishes.
func ParseAddressList(value string) []Address {
	p := addressParser{s: value}
	var list []Address
	for {
		a, ok := p.next()
		if !ok {
			return list
		}
		list = append(list, a)
	}
}

// FirstAddress returns the first mailbox of an address field's value, of a group
// its first member; zero if there is none.
func FirstAddress(value string) Address {
	p := parsers.Get().(*addressParser)
	defer parsers.Put(p)
	p.begin(value)
	for a, ok := p.next(); ok; a, ok = p.next() {
		if a.Kind == Individual {
			return a
		}
	}
	return Address{}
}

// addressParser yields the addresses of s one by one.
type addressParser struct {
	s       string // what is left
	group   bool   // inside a group
	words   []word // of the current address
	comment string // the last one behind a word of the current address
}

// parsers are lent out where no list is kept, for the memory of their words.
var parsers = sync.Pool{New: func() any { return new(addressParser) }}

// begin makes the parser start with the value s.
func (p *addressParser) begin(s string) { p.s, p.group = s, false }

// word is a word of a phrase or address.
type word struct {
	text   string
	quoted bool // it was a quoted-string
	spaced bool // white space or a comment stands before it
}

// at reports whether the word is the at sign.
func (w word) at() bool { return w.text == "@" && !w.quoted }

// next returns the next entry; false at the end.
func (p *addressParser) next() (Address, bool) {
	for p.s != "" {
		switch p.s[0] {
		case ' ', '\t', '\r', '\n', ',', '>':
			p.s = p.s[1:]
			continue
		case ';':
			p.s = p.s[1:]
			if p.group {
				p.group = false
				return Address{Kind: GroupEnd}, true
			}
			continue
		}
		if a, ok := p.address(); ok {
			return a, true
		}
	}
	if p.group {
		p.group = false
		return Address{Kind: GroupEnd}, true
	}
	return Address{}, false
}

// address reads one mailbox or the beginning of a group.
func (p *addressParser) address() (Address, bool) {
	p.words, p.comment = p.words[:0], ""
	p.readWords()
	if p.s == "" {
		return p.plain()
	}
	switch p.s[0] {
	case ':':
		p.s = p.s[1:]
		if p.group { // no group in a group: what stands before is noise
			return Address{}, false
		}
		p.group = true
		return Address{Kind: GroupStart, Name: phrase(p.words)}, true
	case '<':
		p.s = p.s[1:]
		return p.angle(phrase(p.words)), true
	}
	return p.plain()
}

// readWords collects words up to one of , ; : < > or the end.
func (p *addressParser) readWords() {
	spaced := false
	for p.s != "" {
		switch c := p.s[0]; c {
		case ' ', '\t', '\r', '\n':
			p.s = p.s[1:]
			spaced = true
			continue
		case '(':
			p.readComment()
			spaced = true
			continue
		case ',', ';', ':', '<', '>':
			return
		case '"':
			end := quotedEnd(p.s[1:]) + 1
			if end == len(p.s) { // not closed: no quote then
				p.s = p.s[1:]
				continue
			}
			p.words = append(p.words, word{unescapeString(p.s[1:end]), true, spaced})
			p.s = p.s[end+1:]
		default:
			n := atomLen(p.s)
			text := p.s[:n]
			if c != '[' {
				text = unescapeString(text)
			}
			p.words = append(p.words, word{text, false, spaced})
			p.s = p.s[n:]
		}
		spaced = false
	}
}

func (p *addressParser) readComment() {
	n := commentLen(p.s)
	if len(p.words) > 0 {
		p.comment = strings.TrimSpace(unescapeString(strings.TrimSuffix(p.s[1:n], ")")))
	}
	p.s = p.s[n:]
}

// endsAtom marks the bytes that no atom goes on with.
var endsAtom = func() (t [256]bool) {
	for _, c := range []byte(" \t\r\n()<>@,;:\"") {
		t[c] = true
	}
	return t
}()

// atomLen returns the length of the word that s begins with: a domain literal,
// an at sign, an encoded-word whatever it holds, or characters and dots that
// are nothing special.
func atomLen(s string) int {
	if s[0] == '[' {
		s = s[:min(len(s), 256)] // no domain literal is longer
		if i := strings.IndexAny(s, "],;<> \t"); i > 0 && s[i] == ']' {
			return i + 1
		}
		return 1
	}
	if s[0] == '@' {
		return 1
	}
	if n := encodedWordLen(s); n > 0 {
		return n
	}
	i := 0
	for i < len(s) && !endsAtom[s[i]] {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		i++
	}
	return max(i, 1)
}

// phrase joins words to a display name.
func phrase(words []word) string {
	if len(words) == 1 {
		return words[0].text
	}
	var b strings.Builder
	for i, w := range words {
		if i > 0 && (w.spaced || w.quoted || words[i-1].quoted) {
			b.WriteByte(' ')
		}
		b.WriteString(w.text)
	}
	return b.String()
}

// plain makes an address of words without angle brackets; false if there are
// none. Words before the local-part are the display name.
func (p *addressParser) plain() (Address, bool) {
	words := p.words
	if len(words) == 0 {
		return Address{}, false
	}
	at := lastAt(words)
	if at < 0 {
		if first := joined(words, 0); first == len(words) && !words[0].quoted {
			return Address{Name: p.comment, Mailbox: concat(words)}, true
		}
		return Address{Name: phrase(words)}, true
	}
	local := at
	for local > 0 && (local == at || adjacent(words, local)) {
		local--
	}
	host := joined(words, min(at+1, len(words)-1))
	if at == len(words)-1 {
		host = len(words)
	}
	a := Address{Name: phrase(words[:local]), Mailbox: concat(words[local:at]), Host: concat(words[at+1 : host])}
	if a.Name == "" {
		a.Name = p.comment
	}
	return a, true
}

// adjacent reports whether words i-1 and i belong to one local-part or domain:
// nothing is between them, or a dot is on either side.
func adjacent(words []word, i int) bool {
	a, b := words[i-1], words[i]
	return !b.spaced || strings.HasSuffix(a.text, ".") || strings.HasPrefix(b.text, ".")
}

// joined returns the end of the run of adjacent words that begins at i.
func joined(words []word, i int) int {
	for i++; i < len(words) && adjacent(words, i); i++ {
	}
	return i
}

func lastAt(words []word) int {
	for i := len(words) - 1; i >= 0; i-- {
		if words[i].at() {
			return i
		}
	}
	return -1
}

func concat(words []word) string {
	if len(words) == 1 {
		return words[0].text
	}
	var b strings.Builder
	for _, w := range words {
		b.WriteString(w.text)
	}
	return b.String()
}

// angle reads an address behind its "<", up to and including the ">" that may
// be missing.
func (p *addressParser) angle(name string) Address {
	a := Address{Name: name}
	p.s = strings.TrimLeft(p.s, " \t\r\n<")
	if strings.HasPrefix(p.s, "@") {
		if i := strings.IndexAny(p.s, ":>"); i > 0 && p.s[i] == ':' {
			a.Route = strings.Join(strings.Fields(p.s[:i]), "")
			p.s = p.s[i+1:]
		}
	}
	p.words = p.words[:0]
	p.readWords()
	for p.s != "" && (p.s[0] == ':' || p.s[0] == '<') { // noise
		p.s = p.s[1:]
		p.readWords()
	}
	if at := lastAt(p.words); at >= 0 {
		a.Mailbox, a.Host = concat(p.words[:at]), concat(p.words[at+1:])
	} else {
		a.Mailbox = concat(p.words)
	}
	p.afterAngle()
	if a.Name == "" {
		a.Name = p.comment
	}
	return a
}

// afterAngle skips words behind a ">" that are no address, and takes a comment
// there.
func (p *addressParser) afterAngle() {
	if p.s == "" || p.s[0] != '>' {
		return
	}
	p.s = p.s[1:]
	rest := *p
	rest.readWords()
	rest.words = rest.words[len(p.words):]
	if lastAt(rest.words) < 0 && (rest.s == "" || rest.s[0] == ',' || rest.s[0] == ';') {
		*p = rest
	}
}

// unescapeString removes the backslashes of quoted-pairs.
func unescapeString(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	return string(unescape([]byte(s)))
}
