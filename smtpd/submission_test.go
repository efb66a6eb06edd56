package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/message"
)

// submitted is what became of a message of alice's, or the reply.
func submitted(t *testing.T, h *house, from, text string) string {
	t.Helper()
	c := talk(t, h.dial(t), login+`
	C: MAIL FROM:<`+from+`>
	S* 250
	C: RCPT TO:<x@there.test>
	S* 250
	C: DATA
	S* 354
	`)
	io.WriteString(c, text+"\r\n.\r\n")
	line := make([]byte, 512)
	n, err := c.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	if reply := string(line[:n]); !strings.HasPrefix(reply, "250 ") {
		return reply
	}
	_, queued, _ := h.mail()
	return queued[len(queued)-1].text
}

func TestSubmissionCompletesTheHeader(t *testing.T) {
	for name, c := range map[string]struct{ from, in, want string }{
		"nothing to add": {"alice@here.test",
			"From: Alice <alice@here.test>\r\nDate: Sat, 3 Feb 2024 04:05:06 +0000\r\nMessage-ID: <1@laptop>\r\nSubject: x\r\n\r\nbody",
			"From: Alice <alice@here.test>\r\nDate: Sat, 3 Feb 2024 04:05:06 +0000\r\nMessage-ID: <1@laptop>\r\nSubject: x\r\n\r\nbody\r\n"},
		"date and id": {"alice@here.test", "From: alice@here.test\r\n\r\nbody",
			"Date: DATE\r\nMessage-ID: <TRACE@mx.test>\r\nFrom: alice@here.test\r\n\r\nbody\r\n"},
		"no author": {"alice@here.test", "Message-ID: <1@x>\r\nDate: x\r\n\r\nbody",
			"From: <alice@here.test>\r\nMessage-ID: <1@x>\r\nDate: x\r\n\r\nbody\r\n"},
		"hidden recipients": {"alice@here.test",
			"From: alice@here.test\r\nBcc: secret@there.test,\r\n\tsecret2@there.test\r\nbCC : x\r\nResent-Bcc: y\r\nReturn-Path: <z>\r\nDate: x\r\nMessage-ID: <1@x>\r\nTo: x@there.test\r\n\r\nBcc: in the body",
			"From: alice@here.test\r\nDate: x\r\nMessage-ID: <1@x>\r\nTo: x@there.test\r\n\r\nBcc: in the body\r\n"},
		"no header": {"alice@here.test", "just text", "From: <alice@here.test>\r\nDate: DATE\r\nMessage-ID: <TRACE@mx.test>\r\n\r\njust text\r\n"},
		"an mbox line": {"alice@here.test", "From alice Sat Feb  3 04:05:06 2024\r\nFrom: alice@here.test\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nbody",
			"From: alice@here.test\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"},
		"junk ends the header": {"alice@here.test", "From: alice@here.test\r\nDate: x\r\nMessage-ID: <1@x>\r\nhello\r\nBcc: x\r\n\r\nbody",
			"From: alice@here.test\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nhello\r\nBcc: x\r\n\r\nbody\r\n"},
		"unix line ends": {"alice@here.test", "From: alice@here.test\nDate: x\nMessage-ID: <1@x>\n\nbody\n",
			"From: alice@here.test\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n\r\n"},
		"an encoded name, whatever its charset": {"alice@here.test", "From: =?big5?B?pOA=?= <alice@here.test>\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nbody",
			"From: =?big5?B?pOA=?= <alice@here.test>\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"},
		"another author":      {"alice@here.test", "From: bob@here.test\r\n\r\nbody", "553 5.7.1 <bob@here.test>: not a From address of this user\r\n"},
		"one of two authors":  {"alice@here.test", "From: alice@here.test, bob@here.test\r\n\r\nbody", "553 5.7.1 <bob@here.test>: not a From address of this user\r\n"},
		"two author fields":   {"alice@here.test", "From: alice@here.test\r\nFROM : bob@here.test\r\n\r\nbody", "550 5.6.0 More than one From field\r\n"},
		"an author for show":  {"alice@here.test", "From: \"bob@here.test\" <alice@here.test\r\n\r\nbody", "550 5.6.0 The From field has no valid address\r\n"},
		"no author, no path":  {"", "Subject: x\r\n\r\nbody", "550 5.6.0 The From field has no valid address\r\n"},
		"a report of reading": {"", "From: alice@here.test\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nbody", "From: alice@here.test\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := build(t, Submission, nil)
			got := submitted(t, h, c.from, c.in)
			_, queued, _ := h.mail()
			if len(queued) > 0 {
				var ok bool
				if got, ok = cutReceived(got); !ok {
					t.Fatalf("no Received field: %q", got)
				}
				got = regexp.MustCompile(`Date: \w{3}, \d+ \w{3} 20[2-9]\d \d\d:\d\d:\d\d [+-]\d{4}\r\n`).ReplaceAllString(got, "Date: DATE\r\n")
				got = strings.ReplaceAll(got, queued[0].env.Trace, "TRACE")
				c.want = strings.ReplaceAll(c.want, "Date: Sat, 3 Feb 2024 04:05:06 +0000\r\n", "Date: DATE\r\n")
			}
			if got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// TestUsersCannotWriteOurResults: readers believe fields with our name, whoever the
// message is from.
func TestUsersCannotWriteOurResults(t *testing.T) {
	const theirs = "Authentication-Results: mx.there.test; spf=pass\r\n"
	for _, mode := range []Mode{Submission, Local} {
		h := build(t, mode, func(o *Options) { o.AuthservID = "MX.test" })
		send(t, h, []string{"<bob@here.test>"}, "authentication-results : mx.test (x) ; dmarc=pass\n\theader.from=bank.example\n"+
			"Authentication-Results: mx.there.test; spf=pass\nDate: x\nMessage-ID: <1@x>", "250…")
		delivered, _, _ := h.mail()
		if len(delivered) != 1 || strings.Contains(delivered[0].text, "bank.example") || !strings.Contains(delivered[0].text, theirs) {
			t.Errorf("%s: %+v", mode, delivered)
		}
	}
	h := build(t, LMTP, func(o *Options) { o.AuthservID = "mx.test" })
	send(t, h, []string{"<bob@here.test>"}, "Authentication-Results: mx.test; spf=pass\nFrom: x@there.test", "250…")
	if delivered, _, _ := h.mail(); len(delivered) != 1 || !strings.Contains(delivered[0].text, "mx.test; spf=pass") {
		t.Error("the results of the server before us are gone")
	}
}

var receivedField = regexp.MustCompile(`^Received: (from \S+ \([^)]*\)\r\n\t)?by \S+ with \S+ id \w+(\r\n\t[^;\r]*)*; [^\r]*\r\n`)

// cutReceived takes off the field that the server put on top.
func cutReceived(text string) (string, bool) {
	field := receivedField.FindString(text)
	return text[len(field):], field != ""
}

func TestReceivedField(t *testing.T) {
	for name, c := range map[string]struct {
		mode Mode
		to   []string
		want string
	}{
		"MX tells where from": {MX, []string{"<alice@here.test>"},
			"Received: from there.test ([127.0.0.1])\r\n\tby mx.test with ESMTP id TRACE\r\n\tfor <alice@here.test>; "},
		"recipients are not told of each other": {MX, []string{"<alice@here.test>", "<bob@here.test>"},
			"Received: from there.test ([127.0.0.1])\r\n\tby mx.test with ESMTP id TRACE; "},
		"our users' whereabouts are their own": {Submission, []string{"<bob@here.test>"},
			"Received: by mx.test with ESMTPSA id TRACE\r\n\t(TLS1.3 TLS_AES_128_GCM_SHA256)\r\n\tfor <bob@here.test>; "},
		"LMTP":  {LMTP, []string{"<bob@here.test>"}, "Received: from there.test (local)\r\n\tby mx.test with LMTP id TRACE\r\n\tfor <bob@here.test>; "},
		"local": {Local, []string{"<bob@here.test>"}, "Received: by mx.test with ESMTP id TRACE\r\n\tfor <bob@here.test>; "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := build(t, c.mode, nil)
			reply := "250…"
			send(t, h, c.to, "Subject: x", reply)
			delivered, _, _ := h.mail()
			if len(delivered) != 1 {
				t.Fatalf("%d delivered", len(delivered))
			}
			got := strings.ReplaceAll(delivered[0].text, delivered[0].env.Trace, "TRACE")
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %q\nwant %q", got[:min(len(got), len(c.want)+40)], c.want)
			}
			if _, ok := cutReceived(delivered[0].text); !ok {
				t.Errorf("malformed: %q", got)
			}
		})
	}
}

func TestReceivedFieldCannotBeForged(t *testing.T) {
	h := build(t, MX, nil)
	talk(t, h.dial(t), `
	S* 220
	C: EHLO a;b=c[1.2.3.4]é{}
	S* 250
	C: MAIL FROM:<x@there.test>
	S* 250
	C: RCPT TO:<alice@here.test>
	S* 250
	C: DATA
	S* 354
	C: .
	S* 250`)
	delivered, _, _ := h.mail()
	if want := "Received: from a?b?c[1.2.3.4]?"; !strings.HasPrefix(delivered[0].text, want) {
		t.Errorf("got %.60q", delivered[0].text)
	}
}

// stamp is a Signer that shows what it was given.
type stamp struct {
	err    error
	signed chan string
}

func (s stamp) Match(domain string) (string, bool) { return "sign-as." + domain, domain == "here.test" }

func (s stamp) Sign(_ context.Context, domain string, c *message.Content) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	s.signed <- text(c)
	return []byte("DKIM-Signature: d=" + domain + "\r\n"), nil
}

func TestSignatureCoversTheFinalBytes(t *testing.T) {
	signed := make(chan string, 1)
	h := build(t, Submission, func(o *Options) { o.Signer = stamp{signed: signed} })
	got := submitted(t, h, "alice@here.test", "From: alice@HERE.test\r\nBcc: x\r\n\r\nbody")
	if want := "DKIM-Signature: d=sign-as.here.test\r\n" + <-signed; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !strings.Contains(got, "Received: by mx.test") || strings.Contains(got, "Bcc") {
		t.Errorf("signed too early: %q", got)
	}
}

func TestUnsignableMailIsNotSent(t *testing.T) {
	const text = "From: alice@here.test\r\n\r\nbody"
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("key is gone: /etc/secret"), "451 4.3.0 Signing failed, try again later\r\n"},
		{fmt.Errorf("signing: %w", dkim.ErrHeader), "550 5.6.0 The header of the message cannot be signed\r\n"},
	} {
		h := build(t, Submission, func(o *Options) { o.Signer = stamp{err: c.err} })
		if got := submitted(t, h, "alice@here.test", text); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestAuthorWithoutKeyIsNotSigned(t *testing.T) {
	h := build(t, Submission, func(o *Options) {
		o.Signer, o.SenderAllowed = stamp{err: errors.New("must not be asked")}, nil
	})
	if got := submitted(t, h, "alice@also.test", "From: alice@also.test\r\n\r\nbody"); !strings.HasPrefix(got, "Received: ") {
		t.Errorf("got %q", got)
	}
}

// The signature that a receiver checks is over what the queue was given.
func TestSignatureVerifies(t *testing.T) {
	key, err := dkim.GenerateKey(dkim.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := dkim.NewSigner([]dkim.Identity{{Domain: "here.test", Selector: "s1", Key: key}})
	if err != nil {
		t.Fatal(err)
	}
	h := build(t, Submission, func(o *Options) { o.Signer = signer })
	sent := submitted(t, h, "alice@here.test", "From: alice@here.test\r\nBcc: x\r\nSubject: \r\n folded\r\n\r\n..dots\r\n\r\n")
	lookup := func(_ context.Context, name string) ([]string, error) { return []string{dkim.Record(key)}, nil }
	results := dkim.Verify(context.Background(), message.FromBytes([]byte(sent)), lookup)
	if len(results) != 1 || results[0].Value != dkim.Pass {
		t.Errorf("%+v\n%s", results, sent)
	}
}

func TestMXSignsAndCompletesNothing(t *testing.T) {
	h := build(t, MX, func(o *Options) { o.Signer = stamp{err: errors.New("must not be asked")} })
	send(t, h, []string{"<alice@here.test>"}, "Bcc: x\nSubject: y", "250…")
	delivered, _, _ := h.mail()
	got, _ := cutReceived(delivered[0].text)
	if got != "Bcc: x\r\nSubject: y\r\n\r\nbody\r\n" {
		t.Errorf("got %q", got)
	}
}
