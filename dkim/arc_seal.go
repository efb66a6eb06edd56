package dkim

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"svc.plus/mailsrvd/internal/message"
)

// Why a message is not sealed, for errors.Is.
var (
	// ErrChainEnded means that no set may be added: the chain has failed before,
	// or has as many as it may have (RFC 8617 section 5.1).
	ErrChainEnded = errors.New("the ARC chain has ended")
	// ErrChainUnknown means that a key of the chain is not to be had now.
	ErrChainUnknown = errors.New("the ARC chain cannot be checked now")
)

// arcSigned are fields that a message signature covers where they occur, beside
// those of a DKIM-Signature.
var arcSigned = []string{"DKIM-Signature"}

// Seal returns the ARC set to put before a message that is handed on, each field
// with its CRLF: ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results
// (RFC 8617 section 5.1). It is for domain, which Match has found, under its RSA
// key: to verifiers that know no other, of which there are many, another set
// would break a chain that holds. The results are those of the message's
// Authentication-Results field for authservID, if it stands above all Received
// fields. The chain of the message is
// checked first; errors are ErrNoKey, also for no RSA key, ErrChainEnded,
// ErrChainUnknown, and those of Sign.
func (s *Signer) Seal(ctx context.Context, domain, authservID string, c *message.Content, lookup LookupTXT) ([]byte, error) {
	ids := s.byDomain[canonicalName(domain)]
	i := slices.IndexFunc(ids, func(id Identity) bool { return id.Key.alg == RSA })
	if i < 0 {
		return nil, fmt.Errorf("sealing for %q by RSA: %w", domain, ErrNoKey)
	}
	set, err := s.seal(ctx, ids[i], authservID, c, lookup)
	if err != nil {
		return nil, fmt.Errorf("sealing for %s: %w", domain, err)
	}
	return set, nil
}

func (s *Signer) seal(ctx context.Context, id Identity, authservID string, c *message.Content, lookup LookupTXT) ([]byte, error) {
	chain := VerifyARC(ctx, c, lookup)
	switch {
	case chain.ended || len(chain.Sealers) >= maxSets:
		return nil, ErrChainEnded
	case chain.Value == TempError:
		return nil, fmt.Errorf("%w: %w", ErrChainUnknown, chain.Err)
	}
	r := bufio.NewReaderSize(contextReader{ctx, c.NewReader()}, 16<<10)
	h, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	sets, err := h.arcSets()
	if err != nil {
		// What is no chain cannot be counted; nobody takes it for one either.
		return nil, fmt.Errorf("%w: %w", ErrChainEnded, err)
	}
	hash, err := hashBody(r)
	if err != nil {
		return nil, err
	}
	return s.set(id, h, sets, chain.Value, authservID, hash)
}

// set makes the fields of the next set. cv is what the chain so far is worth.
func (s *Signer) set(id Identity, h *header, sets []arcSet, cv Value, authservID string, bodyHash []byte) ([]byte, error) {
	i := strconv.Itoa(len(sets) + 1)
	now := strconv.FormatInt(s.now().Unix(), 10)
	results := []byte(arcResults + ": i=" + i + "; " + authservID + "; " + h.resultsOf(authservID) + "\r\n")

	names, canonical := h.choose()
	for _, name := range arcSigned {
		found := h.all(name)
		for _, f := range slices.Backward(found) {
			canonical = relaxedField(canonical, f)
			names = append(names, name)
		}
	}
	f := foldedField{}
	f.text(arcMessage + ": i=" + i + "; a=" + string(id.Key.alg) + "-sha256; c=relaxed/relaxed;")
	f.word(" d=" + id.Domain + ";")
	f.word(" s=" + id.Selector + ";")
	f.word(" t=" + now + ";")
	f.hashes(names, bodyHash)
	signature, err := id.complete(arcMessage, f, canonical)
	if err != nil {
		return nil, err
	}

	var sealed []byte
	if cv != Fail { // else the seal is over its own set (RFC 8617 section 5.1.2)
		for _, set := range sets {
			sealed = relaxedField(relaxedField(relaxedField(sealed, set.results), set.message), set.seal)
		}
	}
	sealed = relaxedField(sealed, field{arcResults, results})
	sealed = relaxedField(sealed, field{arcMessage, signature})
	f = foldedField{}
	f.text(arcSeal + ": i=" + i + "; a=" + string(id.Key.alg) + "-sha256; t=" + now + "; cv=" + string(cv) + ";")
	f.word(" d=" + id.Domain + ";")
	f.word(" s=" + id.Selector + ";")
	seal, err := id.complete(arcSeal, f, sealed)
	if err != nil {
		return nil, err
	}
	return slices.Concat(seal, signature, results), nil
}

// resultsOf is what stands behind our name in our Authentication-Results field,
// "none" without one. It stands above the first Received field, which is ours,
// too: what is below came with the message, and may be forged.
func (h *header) resultsOf(authservID string) string {
	for _, f := range h.fields {
		if f.is("Received") {
			break
		}
		if !f.is("Authentication-Results") {
			continue
		}
		id, results, _ := strings.Cut(string(bytes.TrimSpace(f.value())), ";")
		if results = strings.TrimLeft(results, spaces); strings.EqualFold(strings.Trim(id, spaces), authservID) && results != "" {
			return results
		}
	}
	return "none"
}
