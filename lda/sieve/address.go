package sieve

import (
	"errors"
	"strings"

	"svc.plus/mailsrvd/internal/message"
)

// addressPart is what a test looks at of an address (RFC 5228 section 2.7.4,
// RFC 5233).
type addressPart string

const (
	partAll       addressPart = "all"
	partLocalpart addressPart = "localpart"
	partDomain    addressPart = "domain"
	partUser      addressPart = "user"
	partDetail    addressPart = "detail"
)

var partTags = []tagSpec{
	{name: "all", group: "address part"}, {name: "localpart", group: "address part"}, {name: "domain", group: "address part"},
	{name: "user", ext: "subaddress", group: "address part"}, {name: "detail", ext: "subaddress", group: "address part"},
}

// addressPart returns the part that the tags name.
func (k *call) addressPart() addressPart {
	for _, t := range partTags {
		if k.has(t.name) {
			return addressPart(t.name)
		}
	}
	return partAll
}

// addressPart returns a part of an address; false if it has none.
func (r *run) addressPart(p addressPart, a message.Address) (string, bool) {
	user, detail, has := a.Mailbox, "", false
	delimiters := r.env.Delimiter
	if delimiters == "" {
		delimiters = "+"
	}
	if i := strings.IndexAny(a.Mailbox, delimiters); i >= 0 {
		user, detail, has = a.Mailbox[:i], a.Mailbox[i+1:], true
	}
	switch p {
	case partLocalpart:
		return a.Mailbox, true
	case partDomain:
		return a.Host, true
	case partUser:
		return user, true
	case partDetail:
		return detail, has
	}
	return a.String(), true
}

// addressesOf returns the addresses of a header field's value. Entries without
// a domain are left out; a value that has no other entry is no address.
func addressesOf(value string) (list []message.Address, none bool) {
	entries := message.ParseAddressList(value)
	for _, a := range entries {
		if a.Kind == message.Individual && a.Mailbox != "" && a.Host != "" {
			list = append(list, a)
		}
	}
	return list, len(list) == 0 && len(entries) > 0
}

// sameAddress compares two addresses: domains without letter case, local-parts
// too, since hardly a host tells them apart.
func sameAddress(a, b string) bool { return strings.EqualFold(a, b) }

// parseSieveAddress reads what RFC 5228 section 2.4.2.3 calls an address:
// addr-spec, or a phrase and addr-spec in angle brackets.
func parseSieveAddress(s string) (message.Address, error) {
	s = strings.TrimSpace(s)
	spec, name := s, ""
	if strings.HasSuffix(s, ">") {
		open := strings.LastIndexByte(s, '<')
		if open < 0 {
			return message.Address{}, errors.New("a < is missing")
		}
		list := message.ParseAddressList(s)
		if len(list) != 1 || list[0].Kind != message.Individual {
			return message.Address{}, errors.New("it is more than one address")
		}
		spec, name = strings.TrimSpace(s[open+1:len(s)-1]), list[0].Name
	}
	a, err := parseAddrSpec(spec)
	a.Name = name
	return a, err
}

// parseAddrSpec reads local-part and domain.
func parseAddrSpec(s string) (message.Address, error) {
	var a message.Address
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return a, errors.New("the @ is missing")
	}
	local, host := strings.Trim(s[:at], " \t"), strings.Trim(s[at+1:], " \t")
	switch {
	case len(s) > 320:
		return a, errors.New("it is too long")
	case local == "" || local == `""`:
		return a, errors.New("there is nothing before the @")
	case !isDomain(host):
		return a, errors.New("behind the @ stands no domain")
	}
	if strings.HasPrefix(local, `"`) {
		inner, ok := unquoteLocal(local)
		if !ok {
			return a, errors.New("the quoted part before the @ is malformed")
		}
		local = inner
	} else if strings.ContainsFunc(local, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("()<>@,;:\\\"[]", r) }) {
		return a, errors.New("it has a character that must not stand before the @")
	}
	a.Mailbox, a.Host = local, host
	return a, nil
}

// unquoteLocal undoes the quotes of a quoted local-part.
func unquoteLocal(s string) (string, bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), i == len(s)-1
		case c < ' ' || c == 0x7f:
			return "", false
		case c == '\\' && i+1 < len(s) && s[i+1] >= ' ' && s[i+1] != 0x7f:
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// isDomain reports whether s has the form of a domain or a domain literal.
func isDomain(s string) bool {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		return !strings.ContainsFunc(s[1:len(s)-1], func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '[' || r == ']' || r == '\\' })
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || strings.ContainsFunc(label, func(r rune) bool {
			return r <= ' ' || r == 0x7f || strings.ContainsRune("()<>@,;:\\\"[]", r)
		}) {
			return false
		}
	}
	return true
}
