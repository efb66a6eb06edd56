package smtpd

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/listen"
)

func TestGuessingRecipientsIsSlow(t *testing.T) {
	const script = hello + `
	C: RCPT TO:<nobody@here.test>
	S* 550
	C: RCPT TO:<nobody@here.test>
	S* 550
	C: RCPT TO:<nobody@here.test>
	S* 550
	C: RCPT TO:<nobody@here.test>
	S* 550
	C: RCPT TO:<nobody@here.test>
	S* 550
	C: RCPT TO:<x@elsewhere.test>
	S* 550
	C: RCPT TO:<nobody@here.test>
	S* 550 5.1.1
	C: RCPT TO:<alice@here.test>
	S* 250
	C: NOOP
	S* 250`
	for _, c := range []struct {
		name string
		mode Mode
		net  []netip.Prefix
		want int
	}{
		{"a stranger", MX, nil, 1},
		{"a friend", MX, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, 0},
	} {
		h := newHouse(t, c.mode, func(o *Options) { o.Limits.UnknownDelay = time.Millisecond })
		h.open(t, listen.Options{Name: "mx", Allow: c.net})
		talk(t, h.dial(t), script)
		if n := strings.Count(h.log.String(), "tarpit=1ms"); n != c.want {
			t.Errorf("%s: %d delays\n%s", c.name, n, h.log)
		}
	}
}
