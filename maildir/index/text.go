package index

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"svc.plus/mailsrvd/internal/message"
)

// Candidates divides the messages of a folder for a search of TEXT or BODY, or
// in any header field. keys are the messages, by UID. Those in maybe may hold
// the needle, those in unknown were not indexed; a message that is in neither
// does not hold it. The caller looks at both kinds (message.Part.MatchText). A
// needle that is shorter than three bytes makes all unknown. The error is that
// of ctx.
func (m *Mailbox) Candidates(ctx context.Context, needle *message.Matcher, keys []Key) (maybe, unknown []UID, err error) {
	if m == nil || m.index.opt.NoText || len(needle.Needle()) < minNeedle {
		return nil, allUIDs(keys), nil
	}
	wanted := trigrams(needle.Needle())
	for {
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("searching the text index: %w", context.Cause(ctx))
		}
		t := m.openText()
		found, broken, err := t.find(wanted)
		if err == nil {
			maybe, unknown = divide(keys, t.covered, found)
			t.release()
			return maybe, unknown, nil
		}
		t.release()
		m.dropBroken(broken, err)
	}
}

func allUIDs(keys []Key) []UID {
	uids := make([]UID, len(keys))
	for i, k := range keys {
		uids[i] = k.UID
	}
	return uids
}

// find returns the documents that may hold a needle with these trigrams, by UID.
// If a segment cannot be read, it is broken.
func (t *textSet) find(wanted []trigram) (found []document, broken *segment, err error) {
	for _, s := range t.segments {
		ordinals, err := s.find(wanted)
		if err != nil {
			return nil, s, err
		}
		for _, o := range ordinals {
			found = append(found, s.docs[o])
		}
	}
	if !slices.IsSortedFunc(found, compareDocuments) {
		slices.SortFunc(found, compareDocuments)
	}
	return found, nil, nil
}

// divide makes the result of Candidates.
func divide(keys []Key, covered, found documentWalk) (maybe, unknown []UID) {
	for _, k := range keys {
		switch {
		case found.has(k):
			maybe = append(maybe, k.UID)
		case !covered.has(k):
			unknown = append(unknown, k.UID)
		}
	}
	return maybe, unknown
}

// dropBroken takes a segment out of use.
func (m *Mailbox) dropBroken(s *segment, err error) {
	if !errors.Is(err, errFormat) {
		m.index.log.Warn("reading a text segment failed", "user", m.user, "path", s.path, "err", err)
	}
	m.index.metrics.rebuilt.Inc()
	m.replaceSegments([]*segment{s}, "") // without a new one there is no error
}

// Untexted appends the keys that the full-text index does not cover to dst. keys
// are sorted by UID. It is all of them if the index is off.
func (m *Mailbox) Untexted(keys, dst []Key) []Key {
	if m == nil || m.index.opt.NoText {
		return append(dst, keys...)
	}
	t := m.openText()
	defer t.release()
	covered := documentWalk(t.covered)
	for _, k := range keys {
		if !covered.has(k) {
			dst = append(dst, k)
		}
	}
	return dst
}
