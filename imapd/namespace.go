package imapd

// namespace runs NAMESPACE (RFC 9051 section 6.3.10): there are personal
// mailboxes without a prefix, and no others.
func (s *session) namespace(*call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.enc.Raw(`* NAMESPACE (("" `).String(s.separator()).Raw(")) NIL NIL").CRLF()
	return nil
}

// separator is the hierarchy separator as a string.
func (s *session) separator() string { return string(rune(s.store.Separator())) }
