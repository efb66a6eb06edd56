package imapd

import "strings"

// idle runs IDLE (RFC 9051 section 6.3.13). The session's goroutine waits for
// the client's DONE; news of the mailbox interrupts its read (see connReader).
func (s *session) idle(*call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.enc.Raw("+ idling").CRLF()
	s.srv.metrics.idling.Inc()
	defer s.srv.metrics.idling.Dec()
	if s.view != nil {
		s.idling = true
		s.setPushes()
		defer func() {
			s.idling = false
			s.setPushes()
		}()
		if err := s.tell(allNews); err != nil {
			return &fatalError{err}
		}
	}
	if err := s.dec.Start(); err != nil {
		return &fatalError{err}
	}
	s.wake.disarm()
	if line := string(s.dec.Rest()); !strings.EqualFold(line, "DONE") {
		return bad("Expected DONE")
	}
	return nil
}
