package imapd

// enable runs ENABLE (RFC 5161). The untagged response lists what this command
// has switched on; names that are unknown, or need no enabling, are ignored.
func (s *session) enable(*call) error {
	s.dec.SP()
	names := []string{s.dec.Word()}
	for s.dec.AcceptSP() {
		names = append(names, s.dec.Word())
	}
	if err := s.dec.End(); err != nil {
		return err
	}
	s.enc.Raw("* ENABLED")
	for _, name := range names {
		if s.caps.on(name) && s.switchOn(name) {
			s.enc.SP().Raw(name)
		}
	}
	s.enc.CRLF()
	if s.view != nil && s.enabled.condstore {
		s.tellHighest(s.view.known)
	}
	s.enc.SetUTF8(s.enabled.rev2 || s.enabled.utf8)
	return nil
}

// switchOn enables a capability, and reports whether that changed anything.
func (s *session) switchOn(name string) bool {
	before := s.enabled
	switch name {
	case "IMAP4REV2":
		s.enabled.rev2 = true
	case "UTF8=ACCEPT":
		s.enabled.utf8 = true
	case "CONDSTORE":
		s.useCondstore()
	case "UIDONLY":
		s.enabled.uidOnly = true
	case "QRESYNC": // implies CONDSTORE (RFC 7162 section 3.2.3)
		s.enabled.qresync = true
		s.useCondstore()
	}
	return s.enabled != before
}
