package auth

import (
	"testing"

	"svc.plus/mailsrvd/internal/asuser"
)

func TestMaildirPath(t *testing.T) {
	for _, c := range []struct{ own, location, want string }{
		{"", "~/Maildir", "/home/alice/Maildir"},
		{"", "/srv/mail/%u", "/srv/mail/alice"},
		{"", "/srv/%n/mail/", "/srv/alice/mail"},
		{"", "%h/.mail", "/home/alice/.mail"},
		{"", "/srv/100%%/%u", "/srv/100%/alice"},
		{"~/Other", "/srv/mail/%u", "/home/alice/Other"},
		{"/data/alice", "~/Maildir", "/data/alice"},
	} {
		a := Account{Name: "alice", Maildir: c.own, Owner: asuser.Owner{Home: "/home/alice"}}
		if got := a.MaildirPath(c.location); got != c.want {
			t.Errorf("%q, %q: %s; want %s", c.own, c.location, got, c.want)
		}
	}
}
