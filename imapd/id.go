package imapd

import "strings"

// Bounds of what a client tells about itself (RFC 2971 section 3.3).
const (
	maxIDPairs = 30
	maxIDValue = 1024
)

// id runs ID (RFC 2971): each side tells what it is. What the client tells goes
// to the debug log and has no effect.
func (s *session) id(*call) error {
	s.dec.SP()
	client := s.idPairs()
	if err := s.dec.End(); err != nil {
		return err
	}
	s.logger().Debug("imap client", "id", client)
	s.enc.Raw(`* ID ("name" "mailsrvd"`)
	if v := s.srv.options.Version; v != "" && s.state != notAuthenticated {
		s.enc.Raw(` "version" `).String(v)
	}
	s.enc.Raw(")").CRLF()
	return nil
}

// idPairs parses the client's list into one line of text.
func (s *session) idPairs() string {
	if s.dec.AcceptWord("NIL") {
		return ""
	}
	var pairs []string
	s.dec.List(func() {
		key := s.dec.String()
		s.dec.SP()
		value, _ := s.dec.NString()
		if len(pairs) >= maxIDPairs || len(key)+len(value) > maxIDValue {
			s.dec.Failf("Too much information")
			return
		}
		pairs = append(pairs, key+"="+value)
	})
	return strings.Join(pairs, " ")
}
