package dkim

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
)

// Limits of one verification.
const (
	maxSignatures   = 8
	maxSignedFields = 256 // names in h=
	lookupTimeout   = 10 * time.Second
	verifyTimeout   = 30 * time.Second
)

// Value is a result as Authentication-Results names it (RFC 8601 section
// 2.7.1).
type Value string

// The values that Verify gives.
const (
	Pass      Value = "pass"
	Fail      Value = "fail"
	Policy    Value = "policy"  // readable, but not acceptable here
	Neutral   Value = "neutral" // fails, but the record says that it is a test
	TempError Value = "temperror"
	PermError Value = "permerror"
)

// Result is what one signature is worth. Fields that could not be read are
// empty.
type Result struct {
	Value Value
	// Domain is d=, in lower case; DMARC aligns with it.
	Domain string
	// Selector, Identifier and Algorithm are s=, i= (or "@" and d=) and a=.
	Selector, Identifier, Algorithm string
	// Signature is the beginning of b=, which tells signatures of one domain
	// apart (RFC 6008).
	Signature string
	// Bits is the length of the key, 0 if it was not seen.
	Bits int
	// Testing is the flag t=y of the record.
	Testing bool
	// Signed is h= in lower case, each name once.
	Signed []string
	// Time and Expiration are t= and x=, zero if not given.
	Time, Expiration time.Time
	// Err says why Value is not Pass.
	Err error
}

// LookupTXT asks the DNS for the TXT records of a name, each with its strings
// joined; dns.Resolver.TXT is one. An error is temporary unless it is
// dns.ErrNotFound or dns.ErrInvalidName, or a *net.DNSError that says so.
type LookupTXT func(ctx context.Context, name string) ([]string, error)

// Verify checks the first eight signatures of a message, in their order. It
// returns nil for a message without a signature, and one Result without a
// domain when the message cannot be looked at (a header beyond all measure, or
// an error in reading). It takes 30 seconds at most.
func Verify(ctx context.Context, c *message.Content, lookup LookupTXT) []Result {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	v := &verifier{ctx: ctx, lookup: lookup, records: make(map[string]tagList)}
	r := bufio.NewReaderSize(c.NewReader(), 32<<10)
	h, err := readHeader(r)
	switch {
	case errors.Is(err, ErrHeader):
		return []Result{{Value: PermError, Err: err}}
	case err != nil:
		return []Result{{Value: TempError, Err: err}}
	}
	sigs := h.all("DKIM-Signature")
	if len(sigs) == 0 {
		return nil
	}
	sigs = sigs[:min(len(sigs), maxSignatures)]
	results := make([]Result, len(sigs))
	for i, f := range sigs {
		results[i] = describe(f)
	}
	v.verify(h, r, results)
	return results
}

// describe reads the tags that the library does not tell.
func describe(f field) Result {
	tags, err := parseTags(string(f.value()))
	if err != nil {
		return Result{Value: PermError, Err: err}
	}
	get := func(name string) string {
		s, _ := tags.get(name)
		return withoutSpace(s)
	}
	r := Result{
		Domain:    canonicalName(get("d")),
		Selector:  get("s"),
		Algorithm: get("a"),
		Signature: get("b"),
	}
	r.Signature = r.Signature[:min(len(r.Signature), 8)]
	names := splitList(strings.ToLower(get("h")))
	if len(names) > maxSignedFields {
		return Result{Value: PermError, Err: fmt.Errorf("h= has more than %d names", maxSignedFields)}
	}
	slices.Sort(names)
	r.Signed = slices.Compact(names)
	if l, ok := tags.get("l"); ok {
		r.Value, r.Err = Policy, fmt.Errorf("l=%.20s leaves the rest of the body unsigned", l)
	}
	return r
}

// verifier is one call of Verify.
type verifier struct {
	ctx    context.Context
	lookup LookupTXT

	mu      sync.Mutex // guards what follows
	records map[string]tagList
	readErr error
}

// verify lets the library check all signatures that describe found readable,
// and fills their results. The others are renamed for it, so that they stay in
// their place but cost nothing.
func (v *verifier) verify(h *header, body io.Reader, results []Result) {
	var checked []int
	raw := h.without(func(nth int) bool {
		drop := nth >= len(results) || results[nth].Err != nil
		if !drop {
			checked = append(checked, nth)
		}
		return drop
	})
	if len(checked) == 0 {
		return
	}
	// The library leaves goroutines behind when reading fails, so that an error
	// looks like the end to it.
	r := io.MultiReader(bytes.NewReader(raw), strings.NewReader("\r\n"), endOnError{v, body})
	got, err := msgauth.VerifyWithOptions(r, &msgauth.VerifyOptions{LookupTXT: v.key, MaxVerifications: maxSignatures})
	if err == nil && len(got) != len(checked) {
		err = fmt.Errorf("%d signatures were checked instead of %d", len(got), len(checked))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, nth := range checked {
		switch {
		case v.readErr != nil:
			results[nth].Value, results[nth].Err = TempError, v.readErr
		case err != nil:
			results[nth].Value, results[nth].Err = TempError, err
		default:
			v.fill(&results[nth], got[i])
		}
	}
}

// without returns the header block with some of its DKIM-Signature fields under
// another name.
func (h *header) without(drop func(nth int) bool) []byte {
	raw := make([]byte, 0, len(h.raw))
	nth := -1
	for _, f := range h.fields {
		if f.is("DKIM-Signature") {
			if nth++; drop(nth) {
				raw = append(raw, "X-Unread"...)
			}
		}
		raw = append(raw, f.raw...)
	}
	return raw
}

// endOnError notes an error of its reader and makes it the end.
type endOnError struct {
	v *verifier
	r io.Reader
}

func (e endOnError) Read(p []byte) (int, error) {
	n, err := contextReader{e.v.ctx, e.r}.Read(p)
	if err != nil && err != io.EOF {
		e.v.mu.Lock()
		e.v.readErr = fmt.Errorf("reading the message: %w", err)
		e.v.mu.Unlock()
		err = io.EOF
	}
	return n, err
}

// key is the library's way to the DNS. It is called on several goroutines.
func (v *verifier) key(name string) ([]string, error) {
	if !validName(name) {
		return nil, fmt.Errorf("%.80q: %w", name, dns.ErrInvalidName)
	}
	ctx, cancel := context.WithTimeout(v.ctx, lookupTimeout)
	defer cancel()
	txts, err := v.lookup(ctx, name)
	if err != nil {
		return nil, lookupError{err}
	}
	if len(txts) == 1 {
		if tags, err := parseTags(txts[0]); err == nil {
			v.mu.Lock()
			v.records[strings.ToLower(name)] = tags
			v.mu.Unlock()
		}
	}
	return txts, nil
}

// lookupError is a net.Error, by which the library tells what may heal.
type lookupError struct{ error }

func (e lookupError) Temporary() bool {
	var d *net.DNSError
	if errors.As(e.error, &d) {
		return !d.IsNotFound
	}
	return !errors.Is(e.error, dns.ErrNotFound) && !errors.Is(e.error, dns.ErrInvalidName)
}

func (e lookupError) Timeout() bool { return errors.Is(e.error, context.DeadlineExceeded) }
func (e lookupError) Unwrap() error { return e.error }

// fill turns the library's verdict into a Result and applies the flags of the
// key record, which the library does not (RFC 6376 section 3.6.1).
func (v *verifier) fill(r *Result, got *msgauth.Verification) {
	r.Identifier, r.Time, r.Expiration, r.Err = got.Identifier, got.Time, got.Expiration, got.Err
	switch {
	case got.Err == nil:
		r.Value = Pass
	case msgauth.IsTempFail(got.Err):
		r.Value = TempError
	case msgauth.IsPermFail(got.Err):
		r.Value = PermError
	default:
		r.Value = Fail
	}
	record := v.records[strings.ToLower(RecordName(got.Domain, r.Selector))]
	r.Bits = record.bits()
	flags, _ := record.get("t")
	if slices.Contains(splitList(flags), "s") && r.Value == Pass && !strings.HasSuffix(strings.ToLower(r.Identifier), "@"+strings.ToLower(got.Domain)) {
		r.Value, r.Err = PermError, errors.New("the key is only for addresses of the domain itself (t=s)")
	}
	if r.Testing = slices.Contains(splitList(flags), "y"); r.Testing && r.Value == Fail {
		r.Value = Neutral
	}
}

// bits is the length of the public key of a record.
func (l tagList) bits() int {
	p, _ := l.get("p")
	b, err := base64.StdEncoding.DecodeString(withoutSpace(p))
	if err != nil {
		return 0
	}
	if k, _ := l.get("k"); k == string(Ed25519) {
		return len(b) * 8
	}
	if k, err := x509.ParsePKIXPublicKey(b); err == nil {
		if k, ok := k.(*rsa.PublicKey); ok {
			return k.N.BitLen()
		}
	}
	if k, err := x509.ParsePKCS1PublicKey(b); err == nil {
		return k.N.BitLen()
	}
	return 0
}
