package imapd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"svc.plus/mailsrvd/maildir"
)

// METADATA (RFC 5464): annotations of mailboxes and, under the name "", of the
// server. Each user has his own server here, as it were, so that "/shared"
// entries are shared by his clients.

const (
	maxAnnotation  = 32 << 10 // bytes of a value
	maxAnnotations = 100      // of a mailbox
	maxEntry       = 255      // bytes of an entry's name
	maxEntries     = 200      // of one command
)

// metadataRequest is a GETMETADATA.
type metadataRequest struct {
	entries []string
	// depth is how far below an entry others are meant: 0, 1, or -1 for all.
	depth int
	// maxSize is the longest value to return; -1 is any.
	maxSize int64
}

// getMetadata runs GETMETADATA (RFC 5464 section 4.2).
func (s *session) getMetadata(c *call) error {
	req := metadataRequest{maxSize: -1}
	s.dec.SP()
	if s.dec.Peek() == '(' {
		s.parseMetadataOptions(&req)
		s.dec.SP()
	}
	box := s.mailbox()
	s.dec.SP()
	req.entries = s.parseEntries()
	if err := s.endWithAnnotated(box); err != nil {
		return err
	}
	list, err := s.store.Annotations(s.srv.ctx, box.name)
	if err != nil {
		return err
	}
	if longest := s.writeMetadata(box.name, req, list); longest > 0 {
		c.ok(fmt.Sprintf("METADATA LONGENTRIES %d", longest), "")
	}
	return nil
}

// endWithAnnotated is endWith for a command in which the empty name is the
// server.
func (s *session) endWithAnnotated(box mailboxName) error {
	if box.name == "" {
		return s.dec.End()
	}
	return s.endWith(box)
}

// parseMetadataOptions parses MAXSIZE and DEPTH.
func (s *session) parseMetadataOptions(req *metadataRequest) {
	s.dec.NonEmptyList(func() {
		switch option := s.dec.Word(); option {
		case "MAXSIZE":
			s.dec.SP()
			req.maxSize = s.dec.Number64()
		case "DEPTH":
			s.dec.SP()
			switch depth := s.dec.Word(); depth {
			case "0":
				req.depth = 0
			case "1":
				req.depth = 1
			case "INFINITY":
				req.depth = -1
			default:
				s.dec.Failf("Unknown depth %s", depth)
			}
		default:
			s.dec.Failf("Unknown option %s", option)
		}
	})
}

// parseEntries parses one entry or a list of them.
func (s *session) parseEntries() (entries []string) {
	if s.dec.Peek() != '(' {
		return []string{s.entry()}
	}
	s.dec.NonEmptyList(func() {
		if entries = append(entries, s.entry()); len(entries) > maxEntries {
			s.dec.Failf("Too many entries")
		}
	})
	return entries
}

// entry insists on the name of an entry (RFC 5464 section 3.2), and returns it in
// lower case: case has no meaning there.
func (s *session) entry() string {
	name := strings.ToLower(s.dec.AString())
	if s.dec.Err() == nil && !validEntry(name) {
		s.dec.Failf("Invalid name of an entry")
	}
	return name
}

func validEntry(name string) bool {
	if len(name) > maxEntry || name != "/private" && name != "/shared" && !strings.HasPrefix(name, "/private/") && !strings.HasPrefix(name, "/shared/") {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c < ' ' || c >= 0x7f || c == '*' || c == '%' {
			return false
		}
	}
	return !strings.Contains(name, "//") && !strings.HasSuffix(name, "/")
}

// matches reports whether an annotation is asked for.
func (req metadataRequest) matches(entry string) bool {
	return slices.ContainsFunc(req.entries, func(e string) bool {
		rest, below := strings.CutPrefix(entry, e+"/")
		return entry == e || below && (req.depth < 0 || req.depth == 1 && !strings.Contains(rest, "/"))
	})
}

// writeMetadata writes the METADATA response (RFC 5464 section 4.4.1), and
// returns the size of the longest value that was left out. An entry that is asked
// for by its name and does not exist is NIL.
func (s *session) writeMetadata(name string, req metadataRequest, list []maildir.Annotation) (longest int64) {
	n := 0
	item := func(entry, value string, ok bool) {
		if n++; n == 1 {
			s.enc.Raw("* METADATA ").Mailbox(name).Raw(" (")
		} else {
			s.enc.SP()
		}
		s.enc.AString(entry).SP()
		if ok && strings.Contains(value, "\x00") {
			s.enc.Literal8(int64(len(value)), strings.NewReader(value))
		} else {
			s.enc.NString(value, ok)
		}
	}
	for _, a := range list {
		switch size := int64(len(a.Value)); {
		case !req.matches(a.Entry):
		case req.maxSize >= 0 && size > req.maxSize:
			longest = max(longest, size)
		default:
			item(a.Entry, a.Value, true)
		}
	}
	for _, e := range req.entries {
		if req.depth == 0 && !slices.ContainsFunc(list, func(a maildir.Annotation) bool { return a.Entry == e }) {
			item(e, "", false)
		}
	}
	if n > 0 {
		s.enc.Raw(")").CRLF()
	}
	return longest
}

// setMetadata runs SETMETADATA (RFC 5464 section 4.3).
func (s *session) setMetadata(*call) error {
	s.dec.SP()
	box := s.mailbox()
	s.dec.SP()
	var changes []maildir.AnnotationChange
	s.dec.NonEmptyList(func() {
		change := maildir.AnnotationChange{Entry: s.entry()}
		s.dec.SP()
		if value, ok := s.dec.NString(); ok {
			change.Value = &value
		}
		if changes = append(changes, change); len(changes) > maxEntries {
			s.dec.Failf("Too many entries")
		}
	})
	if err := s.endWithAnnotated(box); err != nil {
		return err
	}
	for _, c := range changes {
		if err := s.checkAnnotation(box.name, c); err != nil {
			return err
		}
	}
	return s.annotate(box.name, changes)
}

// checkAnnotation refuses what cannot be set.
func (s *session) checkAnnotation(mailbox string, c maildir.AnnotationChange) error {
	switch {
	case strings.Count(c.Entry, "/") < 2:
		return bad("Invalid name of an entry")
	case c.Value == nil:
		return nil
	case len(*c.Value) > maxAnnotation:
		return no(imap.ResponseCode(fmt.Sprintf("METADATA MAXSIZE %d", maxAnnotation)), "The value is too long")
	case c.Entry == maildir.SpecialUseEntry:
		return s.checkUses(mailbox, strings.Fields(*c.Value))
	}
	return nil
}

// annotate stores annotations.
func (s *session) annotate(mailbox string, changes []maildir.AnnotationChange) error {
	err := s.store.Annotate(s.srv.ctx, mailbox, changes, maxAnnotations)
	if errors.Is(err, maildir.ErrTooManyAnnotations) {
		return no("METADATA TOOMANY", "Too many entries")
	}
	return err
}

// specialUses are those that a mailbox may be given: the ones of RFC 6154 that
// are places and no views, and that of RFC 8457.
var specialUses = []string{`\Archive`, `\Drafts`, `\Junk`, `\Sent`, `\Trash`, `\Important`}

// checkUses refuses special uses that a mailbox cannot have (RFC 6154 section 3).
func (s *session) checkUses(mailbox string, uses []string) error {
	if len(uses) > 0 && (mailbox == "" || mailbox == "INBOX") {
		return no("USEATTR", "This mailbox cannot have a special use")
	}
	for _, use := range uses {
		if !slices.ContainsFunc(specialUses, func(known string) bool { return strings.EqualFold(known, use) }) {
			return no("USEATTR", "There is no mailbox for this use here")
		}
	}
	return nil
}

// knownUses are those of uses that we know, in their common spelling.
func knownUses(uses []string) (known []string) {
	for _, use := range specialUses {
		if slices.ContainsFunc(uses, func(u string) bool { return strings.EqualFold(u, use) }) {
			known = append(known, use)
		}
	}
	return known
}

// giveUses stores the special uses of a mailbox, as RFC 6154 writes them.
func (s *session) giveUses(mailbox string, uses []string) error {
	value := strings.Join(knownUses(uses), " ")
	return s.annotate(mailbox, []maildir.AnnotationChange{{Entry: maildir.SpecialUseEntry, Value: &value}})
}
