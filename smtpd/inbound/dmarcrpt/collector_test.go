package dmarcrpt

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"svc.plus/mailsrvd/internal/daybook"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/inbound"
)

const zone = `
_dmarc.good.example    TXT "v=DMARC1; p=reject; rua=mailto:dmarc@good.example,mailto:r@collector.example!1m,mailto:x@stranger.example,https://good.example/"
good.example._report._dmarc.collector.example TXT "v=DMARC1"
_dmarc.small.example   TXT "v=DMARC1; p=none; rua=mailto:dmarc@small.example!1"
_dmarc.quiet.example   TXT "v=DMARC1; p=none"
`

// desk is a Collector with everything around it.
type desk struct {
	*Collector
	fake *dns.Fake
	time time.Time
	on   bool
	mail []sentMail
	err  error
}

type sentMail struct {
	env  message.Envelope
	text string
}

func newDesk(t *testing.T, dir string) *desk {
	t.Helper()
	fake, err := dns.NewFake(zone)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{fake: fake, time: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), on: true}
	d.Collector = newCollector(Options{Dir: dir, Hostname: "mx.here.test", Resolver: fake.Resolver(),
		Settings: func() Settings { return Settings{On: d.on, Organization: "Here Ltd", Contact: "dmarc@here.test"} },
		Mail: func(_ context.Context, env message.Envelope, c *message.Content) error {
			if d.err != nil {
				return d.err
			}
			b, _ := io.ReadAll(c.NewReader())
			d.mail = append(d.mail, sentMail{env, string(b)})
			return nil
		}}, daybook.Options[tally]{Now: func() time.Time { return d.time }, Delay: 1})
	return d
}

// store reads what is kept.
func (d *desk) store() daybook.Store[tally] { return daybook.Store[tally]{Dir: d.o.Dir} }

// round is what Run does once.
func (d *desk) round(t *testing.T) {
	t.Helper()
	d.book.Round(t.Context())
}

func evaluation(domain, remote string) inbound.Evaluation {
	pct := 50
	return inbound.Evaluation{
		Remote: netip.MustParseAddr(remote), Domain: domain, From: "news." + domain, EnvelopeFrom: "bounce." + domain,
		Published:   inbound.Published{ADKIM: "r", ASPF: "s", P: "reject", SP: "none", Percent: &pct},
		Disposition: "none", Override: "sampled_out", DKIMAligned: false, SPFAligned: false,
		DKIM: []inbound.DKIMResult{{Domain: domain, Selector: "s1", Result: "fail"}},
		SPF:  inbound.SPFResult{Domain: "bounce." + domain, Scope: "mfrom", Result: "softfail"},
	}
}

func (d *desk) to() []string {
	var list []string
	for _, m := range d.mail {
		list = append(list, m.env.Recipients[0].Address)
	}
	slices.Sort(list)
	return list
}

func TestReportsAreSentTheDayAfter(t *testing.T) {
	d := newDesk(t, filepath.Join(t.TempDir(), "dmarc"))
	for range 3 {
		d.Observe(evaluation("good.example", "192.0.2.1"))
	}
	d.Observe(evaluation("good.example", "2001:db8::1"))
	for _, other := range []string{"small.example", "quiet.example", "gone.example"} {
		d.Observe(evaluation(other, "192.0.2.1"))
	}
	d.round(t)
	if len(d.mail) > 0 {
		t.Fatal("sent on the same day")
	}
	d.time = d.time.Add(24 * time.Hour)
	d.round(t)
	if got := fmt.Sprint(d.to()); got != "[dmarc@good.example r@collector.example]" {
		t.Fatalf("sent to %s", got)
	}
	if n := testutil.ToFloat64(d.sent.WithLabelValues("unwanted")); n != 1 {
		t.Errorf("%v unwanted", n)
	}
	d.round(t)
	if len(d.mail) != 2 || len(d.store().Dates()) != 0 {
		t.Errorf("%d sent, %v left", len(d.mail), d.store().Dates())
	}
	m := d.mail[0]
	if m.env.ReversePath != "dmarc@here.test" || fmt.Sprint(m.env.Recipients[0].Notify) != "[NEVER]" {
		t.Errorf("%+v", m.env)
	}
	r := unpack(t, m.text)
	if len(r.Records) != 2 {
		t.Fatalf("%+v", r)
	}
	const want = `{r s reject none  50} {{192.0.2.1 3 {none fail fail [{sampled_out }]}} { bounce.good.example news.good.example} {[{good.example s1 fail}] [{bounce.good.example mfrom softfail}]}}`
	got := strings.Replace(fmt.Sprint(r.Published, " ", r.Records[0]), "{good.example ", "{", 1)
	if got = strings.ReplaceAll(got, "}  {", "} {"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if day := r.Metadata.Range; time.Unix(day.Begin, 0).UTC().Format(time.DateTime) != "2026-03-04 00:00:00" || day.End-day.Begin != 86399 {
		t.Errorf("%+v", r.Metadata)
	}
}

// unpack reads a report as a stranger's program would.
func unpack(t *testing.T, text string) *Report {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if s := m.Header.Get("Subject"); !strings.HasPrefix(s, "Report Domain: good.example Submitter: mx.here.test Report-ID: <20260304.") {
		t.Errorf("subject %q", s)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	parts.NextPart()
	p, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	if got := p.FileName(); got != "mx.here.test!good.example!1772582400!1772668799.xml.gz" || p.Header.Get("Content-Type") != "application/gzip" {
		t.Errorf("%s %v", got, p.Header)
	}
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, p))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read(z, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCountsSurviveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dmarc")
	d := newDesk(t, dir)
	d.Observe(evaluation("good.example", "192.0.2.1"))
	d.round(t)
	again := newDesk(t, dir)
	again.Observe(evaluation("good.example", "192.0.2.1"))
	again.time = again.time.Add(24 * time.Hour)
	again.round(t)
	if len(again.mail) != 2 || unpack(t, again.mail[0].text).Records[0].Row.Count != 2 {
		t.Errorf("%d", len(again.mail))
	}
}

func TestWhatFailsIsTriedAgainAndThenForgotten(t *testing.T) {
	d := newDesk(t, filepath.Join(t.TempDir(), "dmarc"))
	d.Observe(evaluation("good.example", "192.0.2.1"))
	d.round(t)
	d.fake.Fail("good.example._report._dmarc.collector.example")
	d.time = d.time.Add(13 * time.Hour)
	d.round(t)
	d.fake.Heal("good.example._report._dmarc.collector.example")
	d.err = errors.New("the queue is full")
	d.round(t) // too early
	d.time = d.time.Add(time.Hour)
	d.round(t)
	if len(d.mail) != 0 || len(d.store().Dates()) != 1 {
		t.Fatalf("%d sent, %v", len(d.mail), d.store().Dates())
	}
	d.err = nil
	d.time = d.time.Add(time.Hour)
	d.round(t)
	if len(d.mail) != 2 {
		t.Errorf("%d sent", len(d.mail))
	}
	d.Observe(evaluation("good.example", "192.0.2.1"))
	d.err = errors.New("for ever")
	for range 60 {
		d.time = d.time.Add(time.Hour)
		d.round(t)
	}
	if len(d.store().Dates()) != 0 || len(d.mail) != 2 {
		t.Errorf("%v", d.store().Dates())
	}
}

func TestOffCountsNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dmarc")
	d := newDesk(t, dir)
	d.on = false
	d.Observe(evaluation("good.example", "192.0.2.1"))
	d.round(t)
	if _, err := os.Stat(dir); err == nil {
		t.Error("something is kept")
	}
}

func TestDayIsBounded(t *testing.T) {
	var day tally
	for i := range maxRows + 10 {
		day.add(evaluation("good.example", netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String()))
	}
	if n := len(day.Rows); n != maxRows {
		t.Errorf("%d rows", n)
	}
}

func TestParseURI(t *testing.T) {
	for uri, want := range map[string]string{
		"mailto:a@example.org": "a@example.org", " MAILTO:a@example.org!10m ": "a@example.org 10485760", "mailto:a%2Bb@example.org!5": "a+b@example.org 5",
		"mailto:a@example.org?bcc=x@y.example": "a@example.org", "mailto:a@example.org!2G": "a@example.org 2147483648",
		"https://example.org": "", "mailto:": "", "mailto:a": "", "mailto:a@example.org!x": "", "mailto:a@b,c@d": "", "mailto:a@example.org!0": "", "": "",
		"mailto:a@example.org%0d%0aBcc:x@y": "",
	} {
		a, ok := parseURI(uri)
		got := a.mailbox
		if a.limit > 0 && a.limit < 1<<62 {
			got += fmt.Sprint(" ", a.limit)
		}
		if got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", uri, got, ok)
		}
	}
}

func TestRead(t *testing.T) {
	for text, want := range map[string]string{
		`<feedback><report_metadata><org_name>o</org_name></report_metadata><policy_published><domain>d</domain></policy_published></feedback>`: "",
		`<feedback/>`: "is no DMARC report", `<html></html>`: "reading", `{`: "reading", ``: "reading",
		`<?xml version="1.0"?><!DOCTYPE f [<!ENTITY a "aaaa">]><feedback><report_metadata><org_name>&a;</org_name></report_metadata></feedback>`: "reading",
		`<?xml version="1.0" encoding="utf-7"?><feedback/>`: "charset",
	} {
		_, err := Read(strings.NewReader(text), 1<<20)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	endless := io.MultiReader(strings.NewReader("<feedback><error>"), zeros{})
	if _, err := Read(endless, 1<<20); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("%v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	copy(p, bytes.Repeat([]byte("a"), len(p)))
	return len(p), nil
}

func FuzzRead(f *testing.F) {
	f.Add(`<feedback><report_metadata><org_name>o</org_name></report_metadata><policy_published><domain>d</domain></policy_published><record><row><source_ip>x</source_ip><count>9</count></row></record></feedback>`)
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := Read(strings.NewReader(text), 1<<20); err == nil && r.Published.Domain == "" {
			t.Error("no domain")
		}
	})
}
