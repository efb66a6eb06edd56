package lda

import (
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

// One message says so when the share is passed, and none before or after.
func TestQuotaWarningComesOnce(t *testing.T) {
	for name, limits := range map[string]maildir.Limits{"messages": {Messages: 10}, "storage": {Storage: 1100}} {
		a, accounts := deliverAgent(t, maildir.Options{Limits: func(asuser.Owner, string) maildir.Limits { return limits }}, func(o *Options) { o.QuotaWarning = 50 })
		warnings := func() (n int) {
			for _, m := range mail(t, accounts["alice"].Owner.Home) {
				if strings.Contains(m, "Subject: Your mailbox is 50 % full") {
					n++
				}
			}
			return n
		}
		for i := range 7 {
			err := a.Deliver(t.Context(), message.Envelope{}, content(testMail), []message.Local{to("alice")})[0]
			if err != nil && name == "messages" {
				t.Fatal(err)
			}
			want := 0
			if i >= 4 {
				want = 1
			}
			if name == "messages" && warnings() != want {
				t.Errorf("%s: %d warnings after %d messages", name, warnings(), i+1)
			}
		}
		if warnings() != 1 {
			t.Errorf("%s: %d warnings in the end", name, warnings())
		}
	}
	a, accounts := deliverAgent(t, maildir.Options{}, func(o *Options) { o.QuotaWarning = 50 })
	if err := a.Deliver(t.Context(), message.Envelope{}, content(testMail), []message.Local{to("alice")})[0]; err != nil || len(mail(t, accounts["alice"].Owner.Home)) != 1 {
		t.Errorf("without a quota: %v", err)
	}
}
