package imapd

import (
	"slices"
	"strings"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/maildir"
)

// listRequest is a LIST command (RFC 9051 section 6.3.9, RFC 5258).
type listRequest struct {
	patterns []string

	// What is selected.
	subscribed, specialUse, recursive bool
	// What is returned beside the name.
	returnSubscribed bool
	status           []statusItem
	rights           bool
	metadata         []string
	// extended is whether the command used any of RFC 5258.
	extended bool
}

// list runs LIST.
func (s *session) list(*call) error {
	s.dec.SP()
	req := s.parseList()
	if err := s.dec.End(); err != nil {
		return err
	}
	if !req.extended && req.patterns[0] == "" {
		s.enc.Raw(`* LIST (\Noselect) `).String(s.separator()).Raw(` ""`).CRLF()
		return nil
	}
	entries, err := s.listEntries(req.subscribed || req.returnSubscribed)
	if err != nil {
		return err
	}
	for _, e := range s.selectEntries(entries, req) {
		s.writeListed(e, req)
	}
	return nil
}

// parseList parses the arguments of LIST.
func (s *session) parseList() listRequest {
	var req listRequest
	if s.dec.Peek() == '(' {
		s.parseSelection(&req)
		s.dec.SP()
	}
	reference := s.dec.AString()
	s.dec.SP()
	if s.dec.Peek() == '(' {
		req.extended = true
		s.dec.NonEmptyList(func() { s.addPattern(&req, reference) })
	} else {
		s.addPattern(&req, reference)
	}
	if s.dec.AcceptSP() {
		req.extended = true
		s.parseListReturn(&req)
	}
	return req
}

func (s *session) addPattern(req *listRequest, reference string) {
	raw := s.dec.ListMailbox()
	if s.dec.Err() != nil {
		return
	}
	if raw == "" { // asks for nothing, or, the basic way, for the separator
		req.patterns = append(req.patterns, "")
		return
	}
	// A name that cannot be decoded matches nothing.
	pattern, err := wire.DecodeMailbox(reference+raw, s.enc.UTF8(), s.store.Separator())
	if err != nil {
		pattern = "\x00"
	}
	if req.patterns = append(req.patterns, pattern); len(pattern) > maxPattern || len(req.patterns) > 100 {
		s.dec.Failf("Mailbox pattern too long")
	}
}

// parseSelection parses the selection options of RFC 5258 and RFC 6154.
func (s *session) parseSelection(req *listRequest) {
	req.extended = true
	s.dec.List(func() {
		switch option := s.dec.Word(); option {
		case "SUBSCRIBED":
			req.subscribed, req.returnSubscribed = true, true
		case "SPECIAL-USE":
			req.specialUse = true
		case "RECURSIVEMATCH":
			req.recursive = true
		case "REMOTE": // there are none
		default:
			s.dec.Failf("Unknown selection option %s", option)
		}
	})
	if req.recursive && !req.subscribed && !req.specialUse {
		s.dec.Failf("RECURSIVEMATCH needs another selection option")
	}
}

// parseListReturn parses the return options of RFC 5258, RFC 5819 and RFC 6154.
func (s *session) parseListReturn(req *listRequest) {
	if !s.dec.AcceptWord("RETURN") {
		s.dec.Failf("Expected RETURN")
		return
	}
	s.dec.SP()
	s.dec.List(func() {
		switch option := s.dec.Word(); option {
		case "SUBSCRIBED":
			req.returnSubscribed = true
		case "CHILDREN", "SPECIAL-USE": // always returned
		case "METADATA": // RFC 9590
			s.dec.SP()
			req.metadata = s.parseEntries()
		case "MYRIGHTS": // RFC 8440
			req.rights = true
		case "STATUS":
			s.dec.SP()
			req.status = s.parseStatusItems()
		default:
			s.dec.Failf("Unknown return option %s", option)
		}
	})
}

// listEntry is a mailbox, or a name that is only subscribed to or a parent.
type listEntry struct {
	maildir.Folder
	subscribed bool
	ghost      bool // of no use but as the parent of a subscribed name
	childInfo  bool // a subscribed mailbox below was not listed
}

// listEntries returns everything that may be listed, in order, with
// subscriptions if they are asked for.
func (s *session) listEntries(subscriptions bool) ([]listEntry, error) {
	folders, err := s.store.Folders(s.srv.ctx)
	if err != nil {
		return nil, err
	}
	entries := make([]listEntry, len(folders))
	at := make(map[string]int, len(folders))
	for i, f := range folders {
		entries[i].Folder = f
		at[f.Name] = i
	}
	if !subscriptions {
		return entries, nil
	}
	names, err := s.store.Subscriptions(s.srv.ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	add := func(name string) *listEntry {
		i, ok := at[name]
		if !ok {
			i, at[name] = len(entries), len(entries)
			entries = append(entries, listEntry{Folder: maildir.Folder{Name: name}, ghost: true})
		}
		return &entries[i]
	}
	for _, name := range names {
		for i := range len(name) {
			if name[i] == s.store.Separator() {
				add(name[:i]).HasChildren = true
			}
		}
		e := add(name)
		e.subscribed, e.ghost = true, false
	}
	return entries, nil
}

// selectEntries returns the entries that the request asks for.
func (s *session) selectEntries(entries []listEntry, req listRequest) []listEntry {
	var picked []listEntry
	for _, e := range entries {
		if !s.matches(req.patterns, e.Name) {
			continue
		}
		if req.recursive {
			e.childInfo = s.hasHidden(entries, e.Name, req)
		}
		if req.accepts(e) || e.childInfo {
			picked = append(picked, e)
		}
	}
	return picked
}

// accepts reports whether e itself is in the selection. What is only
// subscribed to is listed only if subscriptions are asked for.
func (req listRequest) accepts(e listEntry) bool {
	if req.subscribed && !e.subscribed || req.specialUse && e.SpecialUse == "" {
		return false
	}
	return req.subscribed || e.Exists || e.HasChildren && !e.ghost
}

// hasHidden reports whether a mailbox below name is in the selection and not
// matched by the patterns (RFC 5258 section 4, CHILDINFO).
func (s *session) hasHidden(entries []listEntry, name string, req listRequest) bool {
	prefix := name + s.separator()
	return slices.ContainsFunc(entries, func(e listEntry) bool {
		return strings.HasPrefix(e.Name, prefix) && req.accepts(e) && !s.matches(req.patterns, e.Name)
	})
}

func (s *session) matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		return p != "" && globMatch(p, name, s.store.Separator())
	})
}

// writeListed writes the LIST response of one mailbox, and its STATUS if that
// was asked for and can be told (RFC 5819 section 2).
func (s *session) writeListed(e listEntry, req listRequest) {
	s.enc.Raw("* LIST (").Raw(strings.Join(e.attributes(req.returnSubscribed), " ")).Raw(") ").
		String(s.separator()).SP().Mailbox(e.Name)
	if e.childInfo {
		s.enc.Raw(` ("CHILDINFO" (`)
		if req.subscribed {
			s.enc.String("SUBSCRIBED")
		} else {
			s.enc.String("SPECIAL-USE")
		}
		s.enc.Raw("))")
	}
	s.enc.CRLF()
	if req.rights && e.Exists {
		s.writeRights(e.Name)
	}
	if len(req.metadata) > 0 && e.Exists {
		s.listMetadata(e.Name, req.metadata)
	}
	if len(req.status) == 0 || !e.Exists {
		return
	}
	if err := s.writeStatus(e.Name, req.status); err != nil {
		s.logger().Warn("no status of a listed mailbox", "mailbox", e.Name, "err", err)
	}
}

// listMetadata writes the METADATA response of a listed mailbox.
func (s *session) listMetadata(name string, entries []string) {
	list, err := s.store.Annotations(s.srv.ctx, name)
	if err != nil {
		s.logger().Warn("no metadata of a listed mailbox", "mailbox", name, "err", err)
		return
	}
	s.writeMetadata(name, metadataRequest{entries: entries, maxSize: -1}, list)
}

// attributes are the mailbox attributes of RFC 9051 section 7.3.1.
func (e listEntry) attributes(subscribed bool) []string {
	var list []string
	if !e.Exists {
		// \Noselect beside it is for clients that know RFC 3501 only.
		list = append(list, `\NonExistent`, `\Noselect`)
	}
	if e.HasChildren {
		list = append(list, `\HasChildren`)
	} else {
		list = append(list, `\HasNoChildren`)
	}
	if subscribed && e.subscribed {
		list = append(list, `\Subscribed`)
	}
	return append(list, knownUses(strings.Fields(e.SpecialUse))...)
}

// lsub runs LSUB (RFC 3501 section 6.3.9). With "%", a parent stands for the
// subscribed names below it that the pattern cannot reach.
func (s *session) lsub(*call) error {
	var req listRequest
	s.dec.SP()
	reference := s.dec.AString()
	s.dec.SP()
	s.addPattern(&req, reference)
	if err := s.dec.End(); err != nil {
		return err
	}
	names, err := s.store.Subscriptions(s.srv.ctx)
	if err != nil {
		return err
	}
	shown := make(map[string]string) // name to attributes
	for _, name := range names {
		if s.matches(req.patterns, name) {
			shown[name] = ""
		} else if strings.HasSuffix(req.patterns[0], "%") {
			s.addLsubParents(shown, name, req.patterns)
		}
	}
	for _, name := range sortedKeys(shown) {
		s.enc.Raw("* LSUB (").Raw(shown[name]).Raw(") ").String(s.separator()).SP().Mailbox(name).CRLF()
	}
	return nil
}

func (s *session) addLsubParents(shown map[string]string, name string, patterns []string) {
	for i := range name {
		if name[i] != s.store.Separator() {
			continue
		}
		if _, there := shown[name[:i]]; !there && s.matches(patterns, name[:i]) {
			shown[name[:i]] = `\Noselect`
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
