package dkim

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// RecordName is where the record of a selector stands in the DNS (RFC 6376
// section 3.6.2.1), without a final dot.
func RecordName(domain, selector string) string { return selector + "._domainkey." + domain }

// Record gives the text of the key's DNS record (RFC 6376 section 3.6.1).
func Record(k *Key) string {
	return fmt.Sprintf("v=DKIM1; k=%s; p=%s", k.alg, base64.StdEncoding.EncodeToString(k.public()))
}

// ZoneLine gives the record as a line for a zone file (RFC 1035 section 5),
// with the text in strings of at most 255 bytes.
func ZoneLine(domain, selector string, k *Key) string {
	text := Record(k)
	var parts []string
	for len(text) > 255 {
		parts, text = append(parts, `"`+text[:255]+`"`), text[255:]
	}
	parts = append(parts, `"`+text+`"`)
	value := parts[0]
	if len(parts) > 1 {
		value = "( " + strings.Join(parts, "\n\t") + " )"
	}
	return RecordName(domain, selector) + ". IN TXT " + value
}

// What a record may have wrong, for errors.Is.
var (
	// ErrNoRecord means that no record for the key exists.
	ErrNoRecord = errors.New("there is no DKIM record")
	// ErrOtherKey means that the record is for a different key.
	ErrOtherKey = errors.New("the DKIM record is for another key")
	// ErrRevoked means that the record says the key is no longer used.
	ErrRevoked = errors.New("the DKIM record revokes the key")
	// ErrRecord means that verifiers cannot use the record.
	ErrRecord = errors.New("the DKIM record is unusable")
)

// CompareRecord tells whether verifiers that find txts at RecordName would use
// k: nil, or one of the errors above with what is wrong. txts has one element
// per TXT record, its strings joined.
func CompareRecord(txts []string, k *Key) error {
	switch len(txts) {
	case 0:
		return ErrNoRecord
	case 1:
	default:
		return fmt.Errorf("%w: there are %d of them under one name", ErrRecord, len(txts))
	}
	tags, err := parseTags(txts[0])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return tags.compare(k)
}

func (t tagList) compare(k *Key) error {
	if v, ok := t.get("v"); ok && (v != "DKIM1" || t[0].name != "v") {
		return fmt.Errorf("%w: it must begin with v=DKIM1", ErrRecord)
	}
	p, ok := t.get("p")
	switch {
	case !ok:
		return fmt.Errorf("%w: it has no p=", ErrRecord)
	case p == "":
		return ErrRevoked
	}
	if h, ok := t.get("h"); ok && !slices.Contains(splitList(h), "sha256") {
		return fmt.Errorf("%w: h=%s forbids sha256", ErrRecord, h)
	}
	if s, ok := t.get("s"); ok && !slices.Contains(splitList(s), "*") && !slices.Contains(splitList(s), "email") {
		return fmt.Errorf("%w: s=%s forbids mail", ErrRecord, s)
	}
	alg, ok := t.get("k")
	if !ok {
		alg = string(RSA)
	}
	got, err := base64.StdEncoding.DecodeString(withoutSpace(p))
	if err != nil {
		return fmt.Errorf("%w: p= is not base64 (was a part lost in copying?)", ErrRecord)
	}
	if alg != string(k.alg) || !bytes.Equal(got, k.public()) {
		return ErrOtherKey
	}
	return nil
}

// tagList is a tag=value list (RFC 6376 section 3.2) in order.
type tagList []tag

type tag struct{ name, value string }

// parseTags reads a tag list. A tag that comes twice makes the list invalid.
func parseTags(s string) (tagList, error) {
	var l tagList
	for part := range strings.SplitSeq(s, ";") {
		name, value, ok := strings.Cut(part, "=")
		name = strings.Trim(name, spaces)
		if !ok {
			if name == "" {
				continue
			}
			return nil, fmt.Errorf("%.40q is no tag", name)
		}
		if _, dup := l.get(name); dup {
			return nil, fmt.Errorf("the tag %.40q comes twice", name)
		}
		if l = append(l, tag{name, strings.Trim(value, spaces)}); len(l) > 64 {
			return nil, errors.New("there are too many tags")
		}
	}
	if len(l) == 0 {
		return nil, errors.New("there are no tags")
	}
	return l, nil
}

func (l tagList) get(name string) (string, bool) {
	i := slices.IndexFunc(l, func(t tag) bool { return t.name == name })
	if i < 0 {
		return "", false
	}
	return l[i].value, true
}

const spaces = " \t\r\n"

// withoutSpace takes the folding white space out of a value.
func withoutSpace(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(spaces, r) {
			return -1
		}
		return r
	}, s)
}

// splitList reads a colon-separated list.
func splitList(s string) []string { return strings.Split(withoutSpace(s), ":") }
