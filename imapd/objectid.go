package imapd

import (
	"crypto/sha256"
	"encoding/base64"
)

// OBJECTID (RFC 8474): identities that survive renames, copies and moves.

// objectID is a storage identity as clients may see it (RFC 8474 section 4):
// itself if it has only the characters allowed, else a hash of it.
func objectID(id string) string {
	if id != "" && len(id) <= 255 && isObjectID(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "M" + base64.RawURLEncoding.EncodeToString(sum[:18])
}

func isObjectID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !isDigit(c) && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// emailID writes the data item EMAILID.
func (f *fetcher) emailID(_ *fetchItem, m *fetched) error {
	f.s.enc.Byte('(').Raw(objectID(m.box.EmailID(m.UID))).Byte(')')
	return nil
}

// threadID writes the data item THREADID: threads have no identity here.
func (f *fetcher) threadID(*fetchItem, *fetched) error {
	f.s.enc.Raw("NIL")
	return nil
}

// emailIDKey is the search key EMAILID.
func (p *searchParser) emailIDKey() predicate {
	p.s.dec.SP()
	id := p.s.dec.AString()
	return predicate{cost: costMemory, match: func(c *candidate) (bool, error) { return objectID(c.box.EmailID(c.UID)) == id, nil }}
}

// threadIDKey is the search key THREADID, which no message has.
func (p *searchParser) threadIDKey() predicate {
	p.s.dec.SP()
	_ = p.s.dec.AString()
	return not(all(nil))
}
