package smtpd

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/listen"
	"svc.plus/mailsrvd/smtpd/inbound"
)

func TestStrangersAreRefusedAtRCPT(t *testing.T) {
	fake, err := dns.NewFake("1.0.0.127.bad.example A 127.0.0.2\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		score        int
		trusted      bool
		reply, final string
	}{
		{"refused", 9, false, "554 5.7.1", ""},
		{"junk", 4, false, "250", "junk"},
		{"told", 1, false, "250", "plain"},
		{"trusted", 9, true, "250", "plain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, err := inbound.New(inbound.Options{AuthservID: "mx.test", Resolver: fake.Resolver(), Client: inbound.ClientOptions{
				Lists: []inbound.DNSList{{Zone: "bad.example", Score: c.score}}, JunkScore: 3, RejectScore: 6}})
			if err != nil {
				t.Fatal(err)
			}
			h := newHouse(t, MX, func(o *Options) { o.Inbound = i })
			lo := listen.Options{Name: "mx"}
			if c.trusted {
				lo.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
			h.open(t, lo)
			talk(t, h.dial(t), `
	S* 220
	C: EHLO client.example
	S* 250
	C: MAIL FROM:<a@there.test>
	S* 250
	C: RCPT TO:<postmaster@here.test>
	S* 250
	C: RCPT TO:<alice@here.test>
	S* `+c.reply)
			if c.final == "" {
				if log := h.log.String(); !strings.Contains(log, "Your address 127.0.0.1 is listed: bad.example=9") {
					t.Errorf("%s", log)
				}
				return
			}
			if got := bring(t, h, "a@there.test", "From: a@there.test\r\n\r\nx\r\n"); !strings.HasPrefix(got, "250") {
				t.Fatal(got)
			}
			delivered, _, _ := h.mail()
			if delivered[0].env.Junk != (c.final == "junk") {
				t.Errorf("junk %v", delivered[0].env.Junk)
			}
			if log := h.log.String(); !c.trusted && !strings.Contains(log, fmt.Sprintf(`dnsbl="listed (bad.example=%d)"`, c.score)) {
				t.Errorf("%s", log)
			}
		})
	}
}

func TestGreetingIsHeldBack(t *testing.T) {
	first := func(early bool) (string, *house) {
		h := build(t, MX, func(o *Options) { o.GreetDelay = 50 * time.Millisecond })
		if early {
			h = build(t, MX, func(o *Options) { o.GreetDelay = time.Minute })
		}
		c := h.dial(t)
		if early {
			io.WriteString(c, "EHLO client.example\r\n")
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if early {
			if rest, _ := io.ReadAll(c); len(rest) > 0 {
				t.Errorf("more: %q", rest)
			}
		}
		return line, h
	}
	if line, _ := first(false); !strings.HasPrefix(line, "220 ") {
		t.Errorf("%q", line)
	}
	line, h := first(true)
	if line != "554 5.5.1 Wait for the greeting\r\n" || !strings.Contains(h.log.String(), "client talks before the greeting") {
		t.Errorf("%q", line)
	}
}
