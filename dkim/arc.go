package dkim

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Limits of a chain (RFC 8617 section 4.2.1).
const maxSets = 50

// The fields of a set.
const (
	arcResults = "ARC-Authentication-Results"
	arcMessage = "ARC-Message-Signature"
	arcSeal    = "ARC-Seal"
)

// arcSet is what one intermediary has added (RFC 8617 section 4.2).
type arcSet struct {
	results, message, seal field
	messageTags, sealTags  tagList
	// payload is what stands behind the instance in results.
	payload string
}

// errChain marks chains that are not well formed.
var errChain = errors.New("malformed ARC chain")

// arcSets reads the sets of a message, the oldest first. The instances must be
// 1 to their number, with each field once.
func (h *header) arcSets() ([]arcSet, error) {
	var sets [maxSets]arcSet
	highest, fields := 0, 0
	for _, f := range h.fields {
		place, tags, payload, i, err := arcField(f)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: %s: %w", errChain, f.name, err)
		case place == nil:
			continue
		}
		s := &sets[i-1]
		have := place(s)
		if have.raw != nil {
			return nil, fmt.Errorf("%w: two %s fields with i=%d", errChain, f.name, i)
		}
		*have = f
		switch {
		case f.is(arcMessage):
			s.messageTags = tags
		case f.is(arcSeal):
			s.sealTags = tags
		default:
			s.payload = payload
		}
		fields++
		highest = max(highest, i)
	}
	if fields != 3*highest {
		return nil, fmt.Errorf("%w: %d fields up to i=%d", errChain, fields, highest)
	}
	return sets[:highest], nil
}

// arcField reads one field: its place in a set, its content and its instance.
// place is nil for a field of another name.
func arcField(f field) (place func(*arcSet) *field, tags tagList, payload string, i int, err error) {
	switch {
	case f.is(arcResults):
		i, payload, err = resultsInstance(string(f.value()))
		return func(s *arcSet) *field { return &s.results }, nil, payload, i, err
	case f.is(arcMessage):
		place = func(s *arcSet) *field { return &s.message }
	case f.is(arcSeal):
		place = func(s *arcSet) *field { return &s.seal }
	default:
		return nil, nil, "", 0, nil
	}
	if tags, err = strictTags(string(f.value())); err != nil {
		return nil, nil, "", 0, err
	}
	value, _ := tags.get("i")
	i, err = instance(value)
	return place, tags, "", i, err
}

var tagName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// strictTags is parseTags to the letter of RFC 6376 section 3.2: of a chain all
// must think alike.
func strictTags(s string) (tagList, error) {
	tags, err := parseTags(s)
	if err != nil {
		return nil, err
	}
	for _, t := range tags {
		if !tagName.MatchString(t.name) {
			return nil, fmt.Errorf("%.40q is no tag", t.name)
		}
	}
	if parts := strings.Count(strings.TrimSuffix(strings.TrimRight(s, spaces), ";"), ";") + 1; parts != len(tags) {
		return nil, errors.New("an empty tag")
	}
	return tags, nil
}

// results begins with the instance (RFC 8617 section 4.1.1).
var resultsStart = regexp.MustCompile(`^[ \t\r\n]*i[ \t\r\n]*=[ \t\r\n]*([0-9]+)[ \t\r\n]*;`)

func resultsInstance(value string) (i int, payload string, err error) {
	m := resultsStart.FindStringSubmatch(value)
	if m == nil {
		return 0, "", errors.New("it does not begin with i=")
	}
	i, err = instance(m[1])
	return i, value[len(m[0]):], err
}

// instance reads i=, 1 to 50.
func instance(s string) (int, error) {
	i, err := strconv.Atoi(s)
	if err != nil || i < 1 || i > maxSets || len(s) > 2 {
		return 0, fmt.Errorf("i=%.10q", s)
	}
	return i, nil
}
