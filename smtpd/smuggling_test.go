package smtpd

import (
	"fmt"
	"strings"
	"testing"
)

// ends are what some server somewhere takes for the end of a message.
var ends = []string{
	"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\n.\r", "\r.\n",
	"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\r\n.\r\r\n", "\n\r.\r\n", "\r\n.\r\r\n",
}

// A message that another server took for one must not become two here, and
// what leaves this house must not become two at the next.
func TestSmuggling(t *testing.T) {
	const second = "MAIL FROM:<admin@there.test>\r\nRCPT TO:<bob@here.test>\r\nDATA\r\nSubject: smuggled\r\n"
	for _, policy := range []LineEnds{RejectLineEnds, RepairLineEnds} {
		for _, end := range ends {
			t.Run(fmt.Sprintf("%v %q", policy, end), func(t *testing.T) {
				t.Parallel()
				h := build(t, MX, func(o *Options) { o.LineEnds = policy })
				c := talk(t, h.dial(t), hello+"C: DATA\nS* 354")
				fmt.Fprintf(c, "Subject: first\r\n\r\nbody%s%s\r\n.\r\n", end, second)
				if policy == RejectLineEnds || strings.Contains(end, "\x00") {
					talk(t, c, "S* 550\nC: NOOP\nS: 250 2.0.0 Ok")
				} else {
					talk(t, c, "S* 250\nC: NOOP\nS: 250 2.0.0 Ok")
				}
				delivered, _, _ := h.mail()
				for _, d := range delivered {
					if d.env.ReversePath != "x@there.test" || !strings.Contains(d.text, "Subject: smuggled") {
						t.Errorf("two messages came of one: %q", d.text)
					}
					if !cleanLines([]byte(d.text)) {
						t.Errorf("goes on with odd line ends: %q", d.text)
					}
				}
				if len(delivered) > 1 {
					t.Errorf("%d messages", len(delivered))
				}
			})
		}
	}
}

func TestSmugglingByChunks(t *testing.T) {
	h := build(t, MX, nil)
	for _, end := range append(ends, "\r\n.\r\n") {
		text := "Subject: first\r\n\r\nbody" + end + "MAIL FROM:<admin@there.test>\r\n"
		c := talk(t, h.dial(t), hello)
		fmt.Fprintf(c, "BDAT %d LAST\r\n%s", len(text), text)
		if end == "\r\n.\r\n" {
			talk(t, c, "S* 250") // within a chunk a dot is a dot
		} else {
			talk(t, c, "S* 550")
		}
		talk(t, c, "C: NOOP\nS: 250 2.0.0 Ok")
	}
	delivered, _, _ := h.mail()
	if len(delivered) != 1 || !strings.Contains(delivered[0].text, "body\r\n.\r\nMAIL FROM") {
		t.Errorf("%d messages", len(delivered))
	}
}

func TestBareLFEndsNoCommandAtTheMX(t *testing.T) {
	h := build(t, MX, nil)
	talk(t, h.dial(t), `
	S* 220
	C- "EHLO x\n"
	S: 500 5.5.2 Commands end in CRLF
	END`)
	talk(t, build(t, Local, nil).dial(t), `
	S* 220
	C- "EHLO x\n"
	S* 250`)
}
