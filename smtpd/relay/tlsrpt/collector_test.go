package tlsrpt

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/daybook"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/relay"
)

// world is a Collector with a clock, a zone, a queue and a web server that are
// the test's.
type world struct {
	*Collector
	t     *testing.T
	dns   *dns.Fake
	clock time.Time
	on    bool

	mu     sync.Mutex // guards what follows
	queued []queued
	refuse error // of the queue
	posted [][]byte
	status int // of the web server
}

type queued struct {
	env  message.Envelope
	text string
}

func newWorld(t *testing.T, zone string) *world {
	t.Helper()
	w := &world{t: t, clock: time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC), on: true, status: http.StatusOK}
	var err error
	if w.dns, err = dns.NewFake(zone); err != nil {
		t.Fatal(err)
	}
	w.start(filepath.Join(t.TempDir(), "tls-reports"))
	return w
}

// start makes the Collector, as a restart of the daemon does.
func (w *world) start(dir string) {
	c := newCollector(Options{
		Dir: dir, Hostname: "mail.example.org", Resolver: w.dns.Resolver(),
		Settings: func() Settings {
			return Settings{On: w.on, Organization: "Example Ltd", Contact: "postmaster@example.org"}
		},
		Mail:   w.enqueue,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}, daybook.Options[tally]{Now: func() time.Time { return w.clock }, Delay: time.Hour})
	srv := httptest.NewTLSServer(http.HandlerFunc(w.take))
	w.t.Cleanup(srv.Close)
	c.http = srv.Client()
	c.http.Transport = rerouted{srv.URL, c.http.Transport}
	w.Collector = c
}

// rerouted sends all requests to one server.
type rerouted struct {
	to string
	http.RoundTripper
}

func (r rerouted) RoundTrip(req *http.Request) (*http.Response, error) {
	req.URL.Host = strings.TrimPrefix(r.to, "https://")
	return r.RoundTripper.RoundTrip(req)
}

func (w *world) enqueue(_ context.Context, env message.Envelope, c *message.Content) error {
	b, err := io.ReadAll(c.NewReader())
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && w.refuse == nil {
		w.queued = append(w.queued, queued{env, string(b)})
	}
	return errors.Join(err, w.refuse)
}

func (w *world) take(rw http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/tlsrpt+gzip" {
		w.t.Errorf("%s of %s", r.Method, r.Header.Get("Content-Type"))
	}
	rw.WriteHeader(w.status)
	if w.status == http.StatusOK {
		w.posted = append(w.posted, b)
	}
}

// round is one round of Run.
func (w *world) round() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	w.book.Round(ctx)
	cancel()
	w.Run(ctx) // ends at once, and saves
}

// store reads what is kept.
func (w *world) store() daybook.Store[tally] { return daybook.Store[tally]{Dir: w.o.Dir} }

func (w *world) expect(what string, mails, posts int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queued) != mails || len(w.posted) != posts {
		w.t.Errorf("%s: %d mails and %d posts, want %d and %d", what, len(w.queued), len(w.posted), mails, posts)
	}
}

var (
	sts    = relay.Published{Type: relay.STS, Text: []string{"version: STSv1", "mode: testing", "mx: *.a.example", "max_age: 86400"}, MX: []string{"*.a.example"}}
	dane   = relay.Published{Type: relay.TLSA, Text: []string{"3 1 1 0B9F"}}
	remote = netip.MustParseAddr("192.0.2.1")
	local  = netip.MustParseAddr("2001:db8::1")
)

func result(domain string, by relay.Published, f relay.TLSFailure, reason string) relay.TLSResult {
	return relay.TLSResult{Domain: domain, Host: "mx." + domain, Remote: remote, Local: local, Published: by, Failure: f, Reason: reason}
}

const zone = `_smtp._tls.a.example TXT "v=TLSRPTv1; rua=mailto:tls@reports.example,https://reports.example/v1"
`

// TestADayIsReportedByMailAndHTTPS counts a day over a restart, and looks at
// both forms of its report.
func TestADayIsReportedByMailAndHTTPS(t *testing.T) {
	w := newWorld(t, zone)
	for range 3 {
		w.Observe(result("A.example", sts, "", ""))
	}
	for range 2 {
		w.Observe(result("a.example", sts, relay.WrongName, "valid for x.example"))
	}
	w.Observe(result("a.example", sts, relay.ExpiredCertificate, "expired"))
	w.Observe(result("a.example", dane, "", ""))
	w.Observe(result("a.example", relay.Published{}, relay.NoSTARTTLS, ""))
	w.Observe(result("silent.example", relay.Published{}, "", ""))
	w.round()
	w.start(w.o.Dir)
	w.Observe(result("a.example", sts, "", ""))
	w.Observe(result("a.example", sts, relay.WrongName, "valid for x.example"))
	w.clock = w.clock.Add(14*time.Hour + 30*time.Minute)
	w.round()
	w.expect("before the delay is over", 0, 0)
	w.clock = w.clock.Add(time.Hour)
	w.round()
	w.expect("after it", 1, 1)
	w.round()
	w.expect("once only", 1, 1)
	if files := w.store().Dates(); len(files) != 0 {
		t.Errorf("left: %q", files)
	}
	inMail := w.readMail(w.queued[0])
	inPost := unpack(t, w.posted[0])
	if inMail != inPost {
		t.Errorf("two reports:\n%s\n%s", inMail, inPost)
	}
	checkSchema(t, inPost)
	var r Report
	if err := json.Unmarshal([]byte(inPost), &r); err != nil {
		t.Fatal(err)
	}
	if r.Organization != "Example Ltd" || r.Contact != "postmaster@example.org" || r.ID != "2026-11-25_a.example@mail.example.org" ||
		!strings.Contains(inPost, `"start-datetime":"2026-11-25T00:00:00Z","end-datetime":"2026-11-25T23:59:59Z"`) {
		t.Errorf("head of %s", inPost)
	}
	want := []string{
		`{"policy":{"policy-type":"sts","policy-string":["version: STSv1","mode: testing","mx: *.a.example","max_age: 86400"],"policy-domain":"a.example","mx-host":["*.a.example"]},` +
			`"summary":{"total-successful-session-count":4,"total-failure-session-count":4},"failure-details":[` +
			`{"result-type":"certificate-host-mismatch","sending-mta-ip":"2001:db8::1","receiving-mx-hostname":"mx.a.example","receiving-ip":"192.0.2.1","failed-session-count":3,"failure-reason-code":"valid for x.example"},` +
			`{"result-type":"certificate-expired","sending-mta-ip":"2001:db8::1","receiving-mx-hostname":"mx.a.example","receiving-ip":"192.0.2.1","failed-session-count":1,"failure-reason-code":"expired"}]}`,
		`{"policy":{"policy-type":"tlsa","policy-string":["3 1 1 0B9F"],"policy-domain":"mx.a.example"},"summary":{"total-successful-session-count":1,"total-failure-session-count":0}}`,
		`{"policy":{"policy-type":"no-policy-found","policy-domain":"a.example"},"summary":{"total-successful-session-count":0,"total-failure-session-count":1},` +
			`"failure-details":[{"result-type":"starttls-not-supported","sending-mta-ip":"2001:db8::1","receiving-mx-hostname":"mx.a.example","receiving-ip":"192.0.2.1","failed-session-count":1}]}`,
	}
	for i, p := range r.Policies {
		if b, _ := json.Marshal(p); i >= len(want) || string(b) != want[i] {
			t.Errorf("policy %d is %s", i, b)
		}
	}
	if len(r.Policies) != len(want) {
		t.Errorf("%d policies", len(r.Policies))
	}
}

// readMail looks at the message and returns the report in it.
func (w *world) readMail(q queued) string {
	w.t.Helper()
	if e := q.env; e.ReversePath != "postmaster@example.org" || e.Recipients[0].Address != "tls@reports.example" || e.Recipients[0].Notify[0] != "NEVER" || !e.TLSOptional || e.Trace == "" {
		w.t.Errorf("%+v", e)
	}
	m, err := mail.ReadMessage(strings.NewReader(q.text))
	if err != nil {
		w.t.Fatal(err)
	}
	for name, want := range map[string]string{
		"From": "postmaster@example.org", "To": "tls@reports.example", "Date": "Thu, 26 Nov 2026 01:30:00 +0000",
		"TLS-Report-Domain": "a.example", "TLS-Report-Submitter": "mail.example.org", "TLS-Required": "No", "Auto-Submitted": "auto-generated",
		"Subject":    "Report Domain: a.example Submitter: mail.example.org Report-ID: <2026-11-25_a.example@mail.example.org>",
		"Message-ID": "<2026-11-25_a.example@mail.example.org>",
	} {
		if got := m.Header.Get(name); got != want {
			w.t.Errorf("%s: %q", name, got)
		}
	}
	typ, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || typ != "multipart/report" || params["report-type"] != "tlsrpt" {
		w.t.Fatal(typ, params, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	if p, err := parts.NextPart(); err != nil || !strings.HasPrefix(p.Header.Get("Content-Type"), "text/plain") {
		w.t.Fatal(err)
	}
	p, err := parts.NextPart()
	if err != nil || p.Header.Get("Content-Type") != "application/tlsrpt+gzip" || p.FileName() != "mail.example.org!a.example!1795564800!1795651199!1.json.gz" {
		w.t.Fatal(p.Header, err)
	}
	b, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, p))
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := parts.NextPart(); err != io.EOF {
		w.t.Errorf("a third part: %v", err)
	}
	return unpack(w.t, b)
}

func unpack(t *testing.T, b []byte) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWhatFailsIsTriedAgain(t *testing.T) {
	w := newWorld(t, zone)
	w.Observe(result("a.example", sts, "", ""))
	w.clock = w.clock.Add(20 * time.Hour)
	w.status = http.StatusServiceUnavailable
	w.round()
	w.expect("the web server is down", 1, 0)
	w.status = http.StatusOK
	w.round()
	w.expect("not at once", 1, 0)
	w.start(w.o.Dir)
	w.round()
	w.expect("after a restart, where it failed alone", 1, 1)
}

func TestFailuresOfTheDNSAndOfTheQueue(t *testing.T) {
	w := newWorld(t, zone)
	w.Observe(result("a.example", sts, "", ""))
	w.clock = w.clock.Add(20 * time.Hour)
	w.dns.Fail("_smtp._tls.a.example")
	w.refuse = errors.New("no key")
	for range 2 {
		w.round()
		w.clock = w.clock.Add(time.Hour)
		w.dns.Heal("_smtp._tls.a.example")
	}
	w.expect("no queue", 0, 1)
	w.refuse = nil
	w.round()
	w.expect("all is well", 1, 1)
}

func TestADayIsGivenUpInTheEnd(t *testing.T) {
	w := newWorld(t, zone)
	w.Observe(result("a.example", sts, "", ""))
	w.status, w.refuse = http.StatusNotFound, errors.New("no key")
	for range 60 {
		w.clock = w.clock.Add(time.Hour)
		w.round()
	}
	w.expect("nothing", 0, 0)
	if files := w.store().Dates(); len(files) != 0 {
		t.Errorf("left: %q", files)
	}
}

func TestOffMeansOff(t *testing.T) {
	w := newWorld(t, zone)
	w.on = false
	w.Observe(result("a.example", sts, "", ""))
	w.round()
	if _, err := os.Stat(w.o.Dir); err == nil {
		t.Error("a directory was made")
	}
}

func TestDamagedFilesCostTheirDayAlone(t *testing.T) {
	for _, text := range []string{"", "{", `{"version":2}`, `{"version":1}`, `{"version":1,"domains":null}`, `{"version":1,"domains":{"a.example":null,"b.example":{"policies":[null]}}}`} {
		w := newWorld(t, zone)
		if err := os.MkdirAll(w.o.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, date := range []string{"2026-11-24", "2026-11-25", "notes"} {
			if err := os.WriteFile(filepath.Join(w.o.Dir, date+".json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w.Observe(result("a.example", sts, "", ""))
		w.round()
		w.clock = w.clock.Add(24 * time.Hour)
		w.round()
		w.expect(text, 1, 1)
		if files := w.store().Dates(); len(files) != 0 {
			t.Errorf("left: %q", files)
		}
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	w := newWorld(t, zone)
	w.Observe(result("da.example", sts, "", ""))
	for i := range maxDomains + 5 {
		w.Observe(result(fmt.Sprintf("d%d.example", i), sts, "", ""))
	}
	w.book.Close()
	today := must(w.store().Load("2026-11-25"))
	if n := len(today.Domains); n != maxDomains {
		t.Errorf("%d domains", n)
	}
	for i := range 3 * maxDetails {
		w.Observe(result("da.example", sts, relay.InvalidTLS, strings.Repeat("z", i)))
		w.Observe(result("da.example", relay.Published{Type: relay.STS, Text: []string{strings.Repeat("z", i)}}, "", ""))
	}
	w.book.Close()
	day := must(w.store().Load("2026-11-25")).Domains["da.example"]
	if len(day.Policies) != maxPolicies || len(day.Policies[0].Details) != maxDetails || day.Policies[0].Failure != 3*maxDetails {
		t.Errorf("%d policies, %d details, %d failures", len(day.Policies), len(day.Policies[0].Details), day.Policies[0].Failure)
	}
	if d := day.Policies[0].Details[maxDetails-1]; len(d.Reason) > maxReason {
		t.Errorf("a reason of %d bytes", len(d.Reason))
	}
}

func TestReportsGoToPublicAddressesOnly(t *testing.T) {
	c := New(Options{Resolver: must(dns.NewFake("inside.example A 127.0.0.1\ninside.example A 10.0.0.1\ninside.example AAAA fe80::1\ninside.example AAAA fd00::1\n")).Resolver(), Settings: func() Settings { return Settings{} }})
	for _, host := range []string{"inside.example", "127.0.0.1", "::1", "169.254.1.1", "nowhere.example"} {
		if conn, err := c.dial(t.Context(), "tcp", "["+host+"]:443"); err == nil {
			conn.Close()
			t.Errorf("%s was dialed", host)
		}
	}
	for a, want := range map[string]bool{"192.0.2.1": true, "2001:db8::1": true, "::ffff:127.0.0.1": false, "0.0.0.0": false} {
		if public(netip.MustParseAddr(a)) != want {
			t.Errorf("%s: %v", a, !want)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
