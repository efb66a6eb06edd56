package dkim

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"svc.plus/mailsrvd/internal/message"
)

// None is the Value of a message without a chain.
const None Value = "none"

// ARC is what the chain of a message is worth (RFC 8617 section 5.2).
type ARC struct {
	// Value is None, Pass, Fail, or TempError if a key is not to be had now.
	Value Value
	// Sealers are those who have added the sets, the oldest first. Who they are
	// is proved only if Value is Pass.
	Sealers []Sealer
	// Err says why Value is Fail or TempError.
	Err error

	ended bool // the newest set says that the chain has failed
}

// Sealer is who has added a set.
type Sealer struct {
	// Domain is d= of the seal, in lower case.
	Domain string
	// Results is the content of the ARC-Authentication-Results field behind the
	// instance, as it stands there.
	Results string
}

// VerifyARC checks the chain of a message. Of the message signatures only the
// newest is looked at, since a good chain need not have others that still hold.
// It takes 30 seconds at most.
func VerifyARC(ctx context.Context, c *message.Content, lookup LookupTXT) ARC {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	r := bufio.NewReaderSize(contextReader{ctx, c.NewReader()}, 32<<10)
	h, err := readHeader(r)
	if err != nil {
		return ARC{Value: arcValue(err), Err: err}
	}
	sets, err := h.arcSets()
	if err != nil {
		return ARC{Value: Fail, Err: err}
	}
	if len(sets) == 0 {
		return ARC{Value: None}
	}
	a := ARC{Value: Pass}
	for _, s := range sets {
		d, _ := s.sealTags.get("d")
		a.Sealers = append(a.Sealers, Sealer{canonicalName(d), s.payload})
	}
	newest, _ := sets[len(sets)-1].sealTags.get("cv")
	a.ended = newest == string(Fail)
	if err := verifyChain(ctx, h, sets, r, lookup); err != nil {
		a.Value, a.Err = arcValue(err), err
	}
	return a
}

// arcValue tells what may heal from what is wrong.
func arcValue(err error) Value {
	var l lookupError
	if errors.As(err, &l) && l.Temporary() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return TempError
	}
	return Fail
}

// verifyChain goes the steps of RFC 8617 section 5.2 after the first two.
func verifyChain(ctx context.Context, h *header, sets []arcSet, body *bufio.Reader, lookup LookupTXT) error {
	newest := sets[len(sets)-1]
	signatures := []arcSignature{{message: true, tags: newest.messageTags}}
	for i, s := range sets {
		want := "pass"
		if i == 0 {
			want = "none"
		}
		if cv, _ := s.sealTags.get("cv"); cv != want {
			return fmt.Errorf("ARC-Seal i=%d: cv=%.10s", i+1, cv)
		}
		signatures = append(signatures, arcSignature{tags: s.sealTags})
	}
	if err := readSignatures(signatures); err != nil {
		return err
	}
	if err := fetchKeys(ctx, signatures, lookup); err != nil {
		return err
	}
	digest, err := messageDigest(h, newest, body)
	if err != nil {
		return fmt.Errorf("%s: %w", arcMessage, err)
	}
	if err := signatures[0].verify(digest); err != nil {
		return fmt.Errorf("%s: %w", arcMessage, err)
	}
	var chain []byte // all that a seal covers before itself
	for i, s := range sets {
		chain = relaxedField(relaxedField(chain, s.results), s.message)
		sealed := relaxedField(bytes.Clone(chain), s.seal.unsigned())
		sum := sha256.Sum256(bytes.TrimSuffix(sealed, []byte("\r\n")))
		if err := signatures[i+1].verify(sum[:]); err != nil {
			return fmt.Errorf("%s i=%d: %w", arcSeal, i+1, err)
		}
		chain = relaxedField(chain, s.seal)
	}
	return nil
}

// arcSignature is one signature of a chain.
type arcSignature struct {
	message bool // of the message, else a seal
	tags    tagList

	alg              Algorithm
	domain, selector string
	signature        []byte
	key              *publicKey
}

// readSignatures checks that the tags can be used.
func readSignatures(all []arcSignature) error {
	for i := range all {
		s := &all[i]
		get := func(name string) string {
			v, _ := s.tags.get(name)
			return withoutSpace(v)
		}
		alg, ok := strings.CutSuffix(get("a"), "-sha256")
		s.alg, s.domain, s.selector = Algorithm(alg), canonicalName(get("d")), get("s")
		sig, err := base64.StdEncoding.DecodeString(get("b"))
		s.signature = sig
		switch {
		case !ok || s.alg != RSA && s.alg != Ed25519:
			return fmt.Errorf("a=%.20q", get("a"))
		case !validName(s.domain) || !validName(s.selector) || len(s.domain)+len(s.selector) > 240:
			return fmt.Errorf("d=%.40q s=%.40q", s.domain, s.selector)
		case err != nil || len(sig) == 0:
			return errors.New("b= is not base64")
		}
		if t := get("t"); t != "" {
			if _, err := strconv.ParseUint(t, 10, 63); err != nil {
				return fmt.Errorf("t=%.20q", t)
			}
		}
		if _, ok := s.tags.get("h"); ok && !s.message {
			return errors.New("a seal has h=")
		}
	}
	return nil
}

// fetchKeys asks for all keys side by side, each once.
func fetchKeys(ctx context.Context, all []arcSignature, lookup LookupTXT) error {
	keys := make(map[string]*publicKey)
	for _, s := range all {
		keys[RecordName(s.domain, s.selector)] = nil
	}
	names := make([]string, 0, len(keys))
	for name := range keys {
		names = append(names, name)
	}
	found := make([]*publicKey, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, name := range names {
		g.Go(func() (err error) {
			ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
			defer cancel()
			txts, err := lookup(ctx, name)
			if err != nil {
				return fmt.Errorf("the key %s: %w", name, lookupError{err})
			}
			if found[i], err = parseRecord(txts); err != nil {
				return fmt.Errorf("the key %s: %w", name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, name := range names {
		keys[name] = found[i]
	}
	for i, s := range all {
		all[i].key = keys[RecordName(s.domain, s.selector)]
	}
	return nil
}

func (s arcSignature) verify(digest []byte) error {
	if s.key.alg != s.alg {
		return fmt.Errorf("the key is for %s", s.key.alg)
	}
	return s.key.verify(digest, s.signature)
}

// messageDigest is what the message signature of a set signs: like that of a
// DKIM-Signature (RFC 8617 section 4.1.2). It compares the hash of the body.
func messageDigest(h *header, s arcSet, body *bufio.Reader) ([]byte, error) {
	get := func(name string) string {
		v, _ := s.messageTags.get(name)
		return withoutSpace(v)
	}
	if _, ok := s.messageTags.get("l"); ok {
		return nil, errors.New("l= leaves the rest of the body unsigned")
	}
	if x := get("x"); x != "" {
		if at, err := strconv.ParseInt(x, 10, 63); err != nil || time.Now().Unix() > at {
			return nil, fmt.Errorf("x=%.20s is over", x)
		}
	}
	names := splitList(strings.ToLower(get("h")))
	switch {
	case len(names) > maxSignedFields:
		return nil, fmt.Errorf("h= has more than %d names", maxSignedFields)
	case !slices.Contains(names, "from"):
		return nil, errors.New("h= does not cover From")
	case slices.Contains(names, strings.ToLower(arcSeal)):
		return nil, errors.New("h= covers ARC-Seal")
	}
	headerForm, bodyForm, both := strings.Cut(get("c"), "/")
	if !both {
		bodyForm = "simple"
	}
	if headerForm == "" {
		headerForm = "simple"
	}
	hash, err := bodyHash(bodyForm, body)
	if err != nil {
		return nil, err
	}
	if bh, err := base64.StdEncoding.DecodeString(get("bh")); err != nil || !bytes.Equal(bh, hash) {
		return nil, errors.New("the body has been changed")
	}
	canonical, err := h.canonical(headerForm, names, s.message.unsigned())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(canonical)
	return sum[:], nil
}

// canonical is the fields of h= and the signature itself, which comes without
// its line end (RFC 6376 section 3.7).
func (h *header) canonical(form string, names []string, signature field) ([]byte, error) {
	add := relaxedField
	switch form {
	case "relaxed":
	case "simple":
		add = func(dst []byte, f field) []byte { return append(dst, f.raw...) }
	default:
		return nil, fmt.Errorf("c=%.20q", form)
	}
	left := make(map[string][]field)
	for _, f := range h.fields {
		name := strings.ToLower(f.name)
		left[name] = append(left[name], f)
	}
	var out []byte
	for _, name := range names {
		if list := left[name]; len(list) > 0 {
			out = add(out, list[len(list)-1])
			left[name] = list[:len(list)-1]
		}
	}
	return bytes.TrimSuffix(add(out, signature), []byte("\r\n")), nil
}

func bodyHash(form string, body *bufio.Reader) ([]byte, error) {
	switch form {
	case "relaxed":
		return hashBody(body)
	case "simple":
		b := &simpleBody{h: sha256.New()}
		if _, err := body.WriteTo(b); err != nil {
			return nil, fmt.Errorf("reading the body: %w", err)
		}
		return b.sum(), nil
	}
	return nil, fmt.Errorf("c=%.20q", form)
}

// unsigned is the field with an empty b=.
func (f field) unsigned() field {
	at := bytes.IndexByte(f.raw, ':') + 1
	raw := bytes.Clone(f.raw[:at])
	for i, part := range bytes.Split(bytes.TrimSuffix(f.raw[at:], []byte("\r\n")), []byte(";")) {
		if i > 0 {
			raw = append(raw, ';')
		}
		if name, _, ok := bytes.Cut(part, []byte("=")); ok && string(bytes.Trim(name, spaces)) == "b" {
			part = part[:len(name)+1]
		}
		raw = append(raw, part...)
	}
	return field{f.name, append(raw, "\r\n"...)}
}
