package smtpd

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"svc.plus/mailsrvd/smtpd/inbound/filter"
)

// filtered is a chain of one filter that does what the subject says, and of others
// by the names given, for LMTP.
func filtered(t *testing.T, lmtp ...string) *filter.Chain {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for _, action := range []string{"reject", "add header", "soft reject"} {
			if strings.Contains(string(body), "\nSubject: "+action) {
				fmt.Fprintf(w, `{"action":%q}`, action)
				return
			}
		}
		fmt.Fprintf(w, `{"action":"no action","milter":{"add_headers":{"X-Seen":%q}}}`, r.Header.Get("User"))
	}))
	t.Cleanup(s.Close)
	list := []filter.Spec{{Name: "f", Protocol: filter.Rspamd, Address: s.URL, Submission: true}}
	for _, name := range lmtp {
		list = append(list, filter.Spec{Name: name, Protocol: filter.Rspamd, Address: s.URL, LMTP: true})
	}
	c, err := filter.New(filter.Options{Filters: list})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestFiltersSeeLMTPIfToldTo: one of the two filters does.
func TestFiltersSeeLMTPIfToldTo(t *testing.T) {
	h := build(t, LMTP, func(o *Options) { o.Filters = filtered(t, "l") })
	send(t, h, []string{"<alice@here.test>"}, "From: x@there.test\nSubject: hello", "250 2.0.0 …")
	send(t, h, []string{"<alice@here.test>"}, "From: x@there.test\nSubject: add header", "250 2.0.0 …")
	send(t, h, []string{"<alice@here.test>"}, "From: x@there.test\nSubject: reject", "550 5.7.1 …")
	delivered, _, _ := h.mail()
	if len(delivered) != 2 || delivered[0].env.Junk || strings.Count(delivered[0].text, "X-Seen: ") != 1 || !delivered[1].env.Junk {
		t.Errorf("%+v", delivered)
	}
	if log := h.log.String(); strings.Contains(log, "filter_f=") || !strings.Contains(log, `filter_l="accept (`) {
		t.Errorf("log:\n%s", log)
	}
}

func TestFiltersDecide(t *testing.T) {
	h := build(t, MX, func(o *Options) { o.Filters = filtered(t) })
	for subject, want := range map[string]string{"reject": "550 5.7.1", "soft reject": "451 4.7.1", "add header": "250", "hello": "250"} {
		if got := bring(t, h, "x@there.test", "From: x@there.test\r\nSubject: "+subject+"\r\n\r\nhello\r\n"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", subject, got)
		}
	}
	delivered, _, _ := h.mail()
	if len(delivered) != 2 {
		t.Fatalf("%d delivered", len(delivered))
	}
	for _, d := range delivered {
		junk := strings.Contains(d.text, "Subject: add header")
		if d.env.Junk != junk || junk != strings.Contains(d.text, "\r\nX-Spam: Yes\r\n") {
			t.Errorf("junk %v\n%s", d.env.Junk, d.text)
		}
		if !strings.HasPrefix(d.text, "Received: ") || !strings.HasSuffix(d.text, "\r\n\r\nhello\r\n") {
			t.Errorf("%s", d.text)
		}
	}
	for _, want := range []string{`filter_f="reject (reject, 0.00 / 0.00, )"`, `filter_f="junk (add header`} {
		if !strings.Contains(h.log.String(), want) {
			t.Errorf("the log has no %s:\n%s", want, h.log)
		}
	}
}

func TestFiltersSeeSubmissionsBeforeTheyAreSigned(t *testing.T) {
	signed := make(chan string, 1)
	h := build(t, Submission, func(o *Options) { o.Filters, o.Signer = filtered(t), stamp{signed: signed} })
	submitted(t, h, "alice@here.test", "From: alice@here.test\r\n\r\nbody")
	if got := <-signed; !strings.Contains(got, "\r\nX-Seen: alice\r\n") {
		t.Errorf("signed %q", got)
	}
}
