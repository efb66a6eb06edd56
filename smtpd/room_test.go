package smtpd

import (
	"context"
	"testing"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// A full account is told at RCPT, with the size that MAIL has announced.
func TestRcptRefusesForFullAccounts(t *testing.T) {
	h := build(t, MX, func(o *Options) {
		o.Room = func(_ context.Context, to message.Local, size int64) error {
			if to.User == "carol" || to.User == "bob" && size > 1000 {
				return status.MailboxFull(nil)
			}
			return nil
		}
	})
	talk(t, h.dial(t), `
	S: 220 mx.test ESMTP ready
	C: EHLO a.test
	S* 250
	C: MAIL FROM:<eve@there.test> SIZE=1001
	S* 250
	C: RCPT TO:<carol@here.test>
	S: 552 5.2.2…
	C: RCPT TO:<bob@here.test>
	S: 552 5.2.2…
	C: RCPT TO:<alice@here.test>
	S* 250
	C: RCPT TO:<list@here.test>
	S* 250
	C: RSET
	S* 250
	C: MAIL FROM:<eve@there.test>
	S* 250
	C: RCPT TO:<bob@here.test>
	S* 250
	C: QUIT
	S* 221
	END`)
}
