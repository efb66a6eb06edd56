package smtpd

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/inbound"
)

// hostileZone has what is looked up again and again, each name asking for more.
func hostileZone() string {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "i%d.evil.example TXT \"v=spf1 include:i%d.evil.example include:i%d.evil.example a:v%d.evil.example -all\"\n", i, i+1, i+2, i)
		fmt.Fprintf(&b, "m.evil.example MX 10 h%d.evil.example\n", i)
		fmt.Fprintf(&b, "1.0.0.127.in-addr.arpa PTR p%d.evil.example\n", i)
	}
	b.WriteString("m.evil.example TXT \"v=spf1 mx mx mx mx ptr ptr exists:%{p}.x.evil.example -all\"\n")
	b.WriteString("_dmarc.evil.example TXT \"v=DMARC1; p=reject" + strings.Repeat("; x=y", 40) + "\"\n")
	return b.String()
}

// TestHostileMailCostsLittle sends what is made to cost much, with all checks on,
// and holds the work to bounds: questions to the DNS, and memory allocated, which
// grows with the square of the input where an algorithm does. Times are printed
// (-v), and decide nothing.
func TestHostileMailCostsLittle(t *testing.T) {
	signature := "DKIM-Signature: v=1; a=rsa-sha256; d=evil.example; s=k%d; h=from; bh=AAAA; b=AAAA\r\n"
	many := func(n int, line func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
		}
		return b.String()
	}
	const from = "From: a@evil.example\r\n"
	for _, c := range []struct {
		name      string
		sender    string // its domain
		header    string
		body      string
		reply     string
		questions int // at most
		mib       int // allocated, at most
	}{
		{"an ordinary message", "clean.example", from + "Subject: x\r\n", "hello\r\n", "250", 20, 8},
		{"2 MB of header fields", "clean.example", from + many(40000, func(i int) string { return fmt.Sprintf("X-%d: %s\r\n", i, strings.Repeat("a", 40)) }), "x\r\n", "552 5.3.4", 12, 16},
		{"a field of 2 MB, folded", "clean.example", from + "X:" + many(40000, func(int) string { return " " + strings.Repeat("a", 47) + "\r\n" }), "x\r\n", "552 5.3.4", 12, 16},
		{"a field of 60 KiB in folds of one byte", "clean.example", fmt.Sprintf(signature, 1) + "From: a@evil.example\r\n" + "Subject:" + many(15000, func(int) string { return " a\r\n" }), "x\r\n", "250", 20, 16},
		{"From in 15,000 folds", "clean.example", "From:" + many(15000, func(int) string { return " \r\n" }) + " a@evil.example\r\n" + fmt.Sprintf(signature, 1), "x\r\n", "250", 20, 16},
		{"250 KiB of header in 60,000 folds", "clean.example", fmt.Sprintf(strings.Replace(signature, "h=from", "h=from:x", 1), 1) + from + many(4, func(int) string { return "X:" + many(15000, func(int) string { return " a\r\n" }) }), "x\r\n", "250", 20, 16},
		{"1,000 signatures", "clean.example", many(1000, func(i int) string { return fmt.Sprintf(signature, i) }) + from, "x\r\n", "250", 30, 24},
		{"a signature that signs 10,000 fields", "clean.example", "DKIM-Signature: v=1; a=rsa-sha256; d=evil.example; s=k; bh=AAAA; b=AAAA; h=from" + strings.Repeat(":from", 10000) + "\r\n" + from, "x\r\n", "250", 20, 24},
		{"500 ARC sets", "clean.example", many(500, func(i int) string {
			return fmt.Sprintf("ARC-Seal: i=%[1]d; a=rsa-sha256; cv=pass; d=evil.example; s=a%[1]d; b=AAAA\r\nARC-Message-Signature: i=%[1]d; a=rsa-sha256; d=evil.example; s=a%[1]d; h=from; bh=AAAA; b=AAAA\r\nARC-Authentication-Results: i=%[1]d; x; none\r\n", i+1)
		}) + from, "x\r\n", "250", 30, 24},
		{"an SPF record of endless includes", "i0.evil.example", from, "x\r\n", "250", 40, 8},
		{"SPF by 200 exchangers and names", "m.evil.example", from, "x\r\n", "250", 40, 8},
		{"60 Received fields", "clean.example", many(60, func(i int) string { return fmt.Sprintf("Received: from h%d\r\n", i) }) + from, "x\r\n", "554 5.4.6", 12, 4},
		{"3,000 authors", "clean.example", "From: " + many(3000, func(i int) string { return fmt.Sprintf("a%d@evil.example, ", i) }) + "b@evil.example\r\n", "x\r\n", "250", 20, 24},
		{"Authentication-Results in 60,000 parentheses", "clean.example", "Authentication-Results: " + strings.Repeat("(", 60000) + "\r\n" + from, "x\r\n", "250", 20, 8},
		{"10,000 MIME parts", "clean.example", from + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n", many(10000, func(int) string { return "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" }) + "--b--\r\n", "250", 20, 16},
		{"10,000 MIME levels", "clean.example", from + "Content-Type: multipart/mixed; boundary=b0\r\n", many(10000, func(i int) string {
			return fmt.Sprintf("--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i, i+1)
		}), "250", 20, 16},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := dns.NewFake(hostileZone() + "clean.example TXT \"v=spf1 -all\"\n")
			if err != nil {
				t.Fatal(err)
			}
			i, err := inbound.New(inbound.Options{AuthservID: "mx.test", Resolver: f.Resolver(), DMARC: inbound.Quarantine, Client: inbound.ClientOptions{HELO: inbound.Tag}})
			if err != nil {
				t.Fatal(err)
			}
			h := build(t, MX, func(o *Options) { o.Inbound = i })
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			reply := hostileTransaction(t, h, c.sender, c.header+"\r\n"+c.body)
			if delivered, _, _ := h.mail(); len(delivered) > 0 {
				// What delivery does, and what an IMAP client may ask for.
				root, err := message.Scan(strings.NewReader(delivered[0].text))
				if err != nil {
					t.Error(err)
				}
				root.AppendBodyStructure(nil, true)
			}
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			mib := int((after.TotalAlloc - before.TotalAlloc) >> 20)
			t.Logf("%8s  %3d questions  %3d MiB  %s", took.Round(100*time.Microsecond), f.Questions(), mib, strings.TrimSpace(reply))
			if !strings.HasPrefix(reply, c.reply) {
				t.Errorf("%s", reply)
			}
			if n := f.Questions(); n > c.questions {
				t.Errorf("%d questions to the DNS, at most %d are expected", n, c.questions)
			}
			if mib > c.mib {
				t.Errorf("%d MiB allocated, at most %d are expected", mib, c.mib)
			}
		})
	}
}

// hostileTransaction sends one message and returns the last reply.
func hostileTransaction(t *testing.T, h *house, domain, mail string) string {
	t.Helper()
	c := h.dial(t)
	r := bufio.NewReader(c)
	last := ""
	for _, line := range []string{"", "EHLO client.example\r\n", "MAIL FROM:<x@" + domain + ">\r\n", "RCPT TO:<alice@here.test>\r\n", "DATA\r\n", mail + ".\r\n"} {
		if _, err := io.WriteString(c, line); err != nil {
			t.Fatal(err)
		}
		for {
			reply, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if last = reply; len(reply) < 4 || reply[3] == ' ' {
				break
			}
		}
	}
	return last
}
