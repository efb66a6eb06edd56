package lda

import (
	"errors"
	"testing"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/maildir"
)

func TestRoom(t *testing.T) {
	a, _ := deliverAgent(t, maildir.Options{Limits: func(o asuser.Owner, _ string) maildir.Limits {
		if o.Name == "bob" {
			return maildir.Limits{Storage: 1000}
		}
		return maildir.Limits{}
	}})
	for _, c := range []struct {
		user string
		size int64
		full bool
	}{
		{"alice", 1 << 40, false}, {"bob", 0, false}, {"bob", 1000, false}, {"bob", 1001, true},
		{"gone", 1 << 40, false}, {"broken", 1, false},
	} {
		err := a.Room(t.Context(), to(c.user), c.size)
		var s *status.Error
		if (err != nil) != c.full || err != nil && (!errors.As(err, &s) || s.Code != 552) {
			t.Errorf("%d bytes for %s: %v", c.size, c.user, err)
		}
	}
	// Its mail counts.
	if err := errors.Join(a.Deliver(t.Context(), message.Envelope{}, content(testMail), []message.Local{to("bob")})...); err != nil {
		t.Fatal(err)
	}
	if err := a.Room(t.Context(), to("bob"), 1000); err == nil {
		t.Error("the mail that is there does not count")
	}
}
