package smtpd

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"testing"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/inbound"
)

const inspectedMail = "From: a@good.example\r\nSubject: x\r\nAuthentication-Results: mx.test; dmarc=pass\r\nAuthentication-Results: other.test; none\r\n\r\nhello\r\n"

// judged builds an MX that judges mail, in a world where good.example signs and
// wants all else refused, and mail from 127.0.0.1 may be of ours.example.
func judged(t *testing.T, setting inbound.Setting) (*house, *dkim.Signer) {
	t.Helper()
	key, err := dkim.GenerateKey(dkim.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := dkim.NewSigner([]dkim.Identity{{Domain: "good.example", Selector: "s1", Key: key}})
	if err != nil {
		t.Fatal(err)
	}
	fake, err := dns.NewFake(`ours.example TXT "v=spf1 ip4:127.0.0.1 -all"
good.example TXT "v=spf1 -all"
_dmarc.good.example TXT "v=DMARC1; p=reject"
` + dkim.RecordName("good.example", "s1") + ` TXT "` + dkim.Record(key) + `"`)
	if err != nil {
		t.Fatal(err)
	}
	i, err := inbound.New(inbound.Options{AuthservID: "mx.test", Resolver: fake.Resolver(), DMARC: setting})
	if err != nil {
		t.Fatal(err)
	}
	return build(t, MX, func(o *Options) { o.Inbound = i }), signer
}

// bring sends one message to alice and returns the last reply.
func bring(t *testing.T, h *house, from, mail string) string {
	t.Helper()
	c := h.dial(t)
	r := bufio.NewReader(c)
	reply := func() (line string) {
		for {
			l, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line = l; len(l) > 3 && l[3] == ' ' {
				return line
			}
		}
	}
	reply()
	for _, cmd := range []string{"EHLO client.example", "MAIL FROM:<" + from + ">", "RCPT TO:<alice@here.test>", "DATA"} {
		fmt.Fprintf(c, "%s\r\n", cmd)
		if got := reply(); got[0] > '3' {
			t.Fatalf("%s: %s", cmd, got)
		}
	}
	fmt.Fprintf(c, "%s.\r\n", mail)
	return reply()
}

func TestSignedMailIsJudgedGood(t *testing.T) {
	h, signer := judged(t, inbound.Reject)
	header, err := signer.Sign(context.Background(), "good.example", message.FromBytes([]byte(inspectedMail)))
	if err != nil {
		t.Fatal(err)
	}
	if got := bring(t, h, "a@good.example", string(header)+inspectedMail); !strings.HasPrefix(got, "250 ") {
		t.Fatal(got)
	}
	delivered, _, _ := h.mail()
	d := delivered[0]
	if !strings.HasPrefix(d.text, "Authentication-Results: mx.test;\r\n\tiprev=") || !strings.Contains(d.text, "dkim=pass") || !strings.Contains(d.text, "dmarc=pass (p=reject") {
		t.Errorf("%s", d.text)
	}
	if strings.Count(d.text, "Authentication-Results: mx.test") != 1 || !strings.Contains(d.text, "Authentication-Results: other.test; none\r\n") {
		t.Errorf("fields of others:\n%s", d.text)
	}
	if !d.env.Trusted || d.env.Junk {
		t.Errorf("%+v", d.env)
	}
	if log := h.log.String(); !strings.Contains(log, "spf=fail dkim=pass dmarc=pass") {
		t.Errorf("%s", log)
	}
}

func TestForgedMailGetsWhatIsConfigured(t *testing.T) {
	for setting, want := range map[inbound.Setting]string{
		inbound.Tag: "250", inbound.Quarantine: "250", inbound.Reject: "550 5.7.26",
	} {
		t.Run(string(setting), func(t *testing.T) {
			h, _ := judged(t, setting)
			if got := bring(t, h, "x@ours.example", inspectedMail); !strings.HasPrefix(got, want) {
				t.Fatal(got)
			}
			delivered, _, _ := h.mail()
			if setting == inbound.Reject {
				if len(delivered) > 0 {
					t.Error("delivered")
				}
				return
			}
			// SPF authenticates the reverse-path, which is not the author's.
			if env := delivered[0].env; env.Junk != (setting == inbound.Quarantine) || !env.Trusted {
				t.Errorf("%+v", env)
			}
			if !strings.Contains(delivered[0].text, "dmarc=fail") {
				t.Errorf("%s", delivered[0].text)
			}
		})
	}
}

func TestOnlyStrangersAreJudged(t *testing.T) {
	h, _ := judged(t, inbound.Tag)
	o := h.o
	o.Mode = LMTP
	if err := o.Check(t.Context()); err == nil {
		t.Error("LMTP may judge")
	}
}
