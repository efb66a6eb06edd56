package smtpd

import "testing"

// TestTLSRequiredNo: the field of RFC 8689 section 5 reaches the queue.
func TestTLSRequiredNo(t *testing.T) {
	for head, want := range map[string]bool{
		"":                                      false,
		"TLS-Required: No\r\n":                  true,
		"tls-REQUIRED :\r\n no \r\n":            true,
		"TLS-Required: Yes\r\n":                 false,
		"X-TLS-Required: No\r\n":                false,
		"Subject: TLS-Required\r\n: No\r\n\r\n": false,
	} {
		h := build(t, Submission, nil)
		submitted(t, h, "alice@here.test", "From: alice@here.test\r\n"+head+"\r\nbody")
		_, queued, _ := h.mail()
		if got := queued[len(queued)-1].env.TLSOptional; got != want {
			t.Errorf("%q: %v", head, got)
		}
	}
}
