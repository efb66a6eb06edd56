package dkim

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strconv"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

// Identity is a key with the name under which its record stands in the DNS.
type Identity struct {
	Domain, Selector string
	Key              *Key
}

// Signer signs for any number of domains. It is immutable and safe for
// concurrent use.
type Signer struct {
	byDomain map[string][]Identity
	now      func() time.Time
}

// ErrNoKey means that no key is configured for the domain.
var ErrNoKey = errors.New("no DKIM key for the domain")

// NewSigner returns a Signer over all identities. A domain may have several:
// each message then carries one signature per key (an Ed25519 signature beside
// an RSA one for verifiers that do not know it, RFC 8463 section 3).
func NewSigner(identities []Identity) (*Signer, error) {
	s := &Signer{byDomain: make(map[string][]Identity), now: time.Now}
	seen := make(map[string]bool)
	var problems []error
	for _, id := range identities {
		id.Domain, id.Selector = canonicalName(id.Domain), canonicalName(id.Selector)
		name := RecordName(id.Domain, id.Selector)
		switch {
		case !validName(id.Domain) || !validName(id.Selector) || len(name) > 253:
			problems = append(problems, fmt.Errorf("%q is no DNS name", name))
		case id.Key == nil:
			problems = append(problems, fmt.Errorf("%s has no key", name))
		case seen[name]:
			problems = append(problems, fmt.Errorf("%s has two keys; a selector is for one", name))
		}
		seen[name] = true
		s.byDomain[id.Domain] = append(s.byDomain[id.Domain], id)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("setting up DKIM: %w", err)
	}
	return s, nil
}

// Match finds the domain to sign as for a From address in domain: itself, or
// the nearest parent that has a key (relaxed alignment, RFC 7489 section
// 3.1.1). ok is false when there is none.
func (s *Signer) Match(domain string) (signAs string, ok bool) {
	for d := canonicalName(domain); d != ""; {
		if _, ok := s.byDomain[d]; ok {
			return d, true
		}
		var found bool
		if _, d, found = strings.Cut(d, "."); !found {
			break
		}
	}
	return "", false
}

// Names of fields that are signed once more often than they occur, so that none
// can be added (RFC 6376 section 8.15) …
var oversigned = []string{
	"From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "In-Reply-To", "References",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition",
}

// … and of those that are signed where they occur: mailing lists add them on
// the way (RFC 6376 section 5.4.1), or RFC 8058 wants them covered.
var signed = []string{
	"Sender", "Content-ID", "Content-Description", "Resent-From", "Resent-To", "Resent-Cc", "Resent-Date", "Resent-Message-ID",
	"List-Id", "List-Help", "List-Subscribe", "List-Post", "List-Owner", "List-Archive", "List-Unsubscribe", "List-Unsubscribe-Post",
	"Autocrypt", "Feedback-ID",
}

// Sign returns the DKIM-Signature fields to put before the message, each with
// its CRLF: one per key of domain, which Match has found. The message must be
// complete: no signed field may change afterwards. Errors are ErrNoKey,
// ErrHeader (also for no From field or several), and what reading gives.
func (s *Signer) Sign(ctx context.Context, domain string, c *message.Content) ([]byte, error) {
	ids := s.byDomain[canonicalName(domain)]
	if len(ids) == 0 {
		return nil, fmt.Errorf("signing for %q: %w", domain, ErrNoKey)
	}
	r := bufio.NewReaderSize(contextReader{ctx, c.NewReader()}, 16<<10)
	h, err := readHeader(r)
	if err != nil {
		return nil, fmt.Errorf("signing for %s: %w", domain, err)
	}
	if n := len(h.all("From")); n != 1 {
		return nil, fmt.Errorf("signing for %s: %w: %d From fields", domain, ErrHeader, n)
	}
	bodyHash, err := hashBody(r)
	if err != nil {
		return nil, fmt.Errorf("signing for %s: %w", domain, err)
	}
	names, canonical := h.choose()
	var out []byte
	for _, id := range ids {
		sig, err := id.sign(names, canonical, bodyHash, s.now())
		if err != nil {
			return nil, fmt.Errorf("signing for %s with %s: %w", domain, id.Selector, err)
		}
		out = append(out, sig...)
	}
	return out, nil
}

// hashBody reads the body once, for all keys.
func hashBody(r *bufio.Reader) ([]byte, error) {
	body := newRelaxedBody(sha256.New())
	if _, err := r.WriteTo(body); err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	return body.sum(), nil
}

// contextReader ends reading when the context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// choose returns the h= list and the canonical form of the fields it names.
// Fields of one name are taken from the last to the first (RFC 6376 section
// 5.4.2); a name without a field left adds nothing.
func (h *header) choose() (names []string, canonical []byte) {
	take := func(name string, more int) {
		found := h.all(name)
		for i := len(found) - 1; i >= 0; i-- {
			canonical = relaxedField(canonical, found[i])
		}
		for range len(found) + more {
			names = append(names, name)
		}
	}
	for _, name := range oversigned {
		take(name, 1)
	}
	for _, name := range signed {
		take(name, 0)
	}
	return names, canonical
}

// sign makes one DKIM-Signature field.
func (id Identity) sign(names []string, canonical, bodyHash []byte, now time.Time) ([]byte, error) {
	f := foldedField{}
	f.text("DKIM-Signature: v=1; a=" + string(id.Key.alg) + "-sha256; c=relaxed/relaxed;")
	f.word(" d=" + id.Domain + ";")
	f.word(" s=" + id.Selector + ";")
	f.word(" t=" + strconv.FormatInt(now.Unix(), 10) + ";")
	f.hashes(names, bodyHash)
	return id.complete("DKIM-Signature", f, canonical)
}

// hashes appends h= and bh=.
func (f *foldedField) hashes(names []string, bodyHash []byte) {
	f.word(" h=" + names[0])
	for _, n := range names[1:] {
		f.word(":" + n)
	}
	f.text(";")
	f.word(" bh=" + base64.StdEncoding.EncodeToString(bodyHash) + ";")
}

// complete appends b= to a field, over what the field signs and itself. b= is
// last and empty while it is signed (RFC 6376 section 3.7).
func (id Identity) complete(name string, f foldedField, canonical []byte) ([]byte, error) {
	f.word(" b=")
	unsigned := relaxedField(bytes.Clone(canonical), field{name, f.b})
	sum := sha256.Sum256(bytes.TrimSuffix(unsigned, []byte("\r\n")))
	how := crypto.SignerOpts(crypto.SHA256)
	if id.Key.alg == Ed25519 {
		how = crypto.Hash(0) // RFC 8463 section 3: the digest itself is the message
	}
	sig, err := id.Key.signer.Sign(rand.Reader, sum[:], how)
	if err != nil {
		return nil, err
	}
	for text := base64.StdEncoding.EncodeToString(sig); text != ""; {
		n := min(len(text), foldAt-2)
		f.b = append(append(f.b, "\r\n\t"...), text[:n]...)
		text = text[n:]
	}
	return append(f.b, "\r\n"...), nil
}

// foldAt is the length after which a line is folded (RFC 5322 section 2.1.1).
const foldAt = 76

// foldedField builds a header field in lines of a decent length.
type foldedField struct {
	b    []byte
	line int // where the present line starts
}

// text appends without folding.
func (f *foldedField) text(s string) { f.b = append(f.b, s...) }

// word appends s, before which the line may be folded.
func (f *foldedField) word(s string) {
	if len(f.b)-f.line+len(s) > foldAt {
		f.b = append(f.b, "\r\n"...)
		f.line = len(f.b)
		f.b = append(f.b, '\t')
		s = strings.TrimPrefix(s, " ")
	}
	f.text(s)
}

// FromDomain returns the domain of the From field, in lower case: what DMARC
// aligns with. It fails with ErrHeader when there is not exactly one From field
// or its addresses have several domains.
func FromDomain(c *message.Content) (string, error) {
	h, err := readHeader(bufio.NewReader(c.NewReader()))
	if err != nil {
		return "", fmt.Errorf("finding the author's domain: %w", err)
	}
	from := h.all("From")
	if len(from) != 1 {
		return "", fmt.Errorf("%w: %d From fields", ErrHeader, len(from))
	}
	value := strings.NewReplacer("\r", "", "\n", "").Replace(string(from[0].value()))
	list, err := mail.ParseAddressList(value)
	if err != nil {
		return "", fmt.Errorf("%w: From: %w", ErrHeader, err)
	}
	domain := ""
	for _, a := range list {
		d := canonicalName(a.Address[strings.LastIndexByte(a.Address, '@')+1:])
		if domain != "" && d != domain {
			return "", fmt.Errorf("%w: the From addresses have several domains", ErrHeader)
		}
		domain = d
	}
	return domain, nil
}
