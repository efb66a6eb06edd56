package imapd

// parsePreview parses the modifier of the data item PREVIEW (RFC 8970). LAZY
// allows not to make one; ours is cheap, and always made.
func (s *session) parsePreview() { s.dec.AcceptText(" (LAZY)") }

// preview writes the data item PREVIEW.
func (f *fetcher) preview(_ *fetchItem, m *fetched) error {
	text, err := m.part.Preview(m.file)
	if err != nil {
		return err
	}
	f.s.enc.String(text)
	return nil
}
