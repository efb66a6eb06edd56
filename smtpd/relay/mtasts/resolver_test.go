package mtasts

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/smtpd/relay"
)

// world is a domain example.com with its zone and web server. The certificate
// of httptest is good for *.example.com and nothing else.
type world struct {
	*Resolver
	dns   *dns.Fake
	clock time.Time
	dir   string

	mu      sync.Mutex // guards what follows
	answer  http.HandlerFunc
	fetches int
	dialed  string
}

func text(format string, args ...any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, format, args...) }
}

func policyText(mode string, age int) http.HandlerFunc {
	return text("version: STSv1\nmode: %s\nmx: mx.example.com\nmx: *.example.net\nmax_age: %d\n", mode, age)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{clock: time.Date(2026, 11, 25, 4, 0, 0, 0, time.UTC), dir: filepath.Join(t.TempDir(), "mta-sts"), answer: policyText("enforce", 86400*10)}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.fetches++
		answer := w.answer
		w.mu.Unlock()
		if r.URL.Path != "/.well-known/mta-sts.txt" {
			t.Errorf("asked for %s", r.URL)
		}
		answer(rw, r)
	}))
	srv.Config.ErrorLog = nil
	t.Cleanup(srv.Close)
	var err error
	if w.dns, err = dns.NewFake("_mta-sts.example.com TXT \"v=STSv1; id=1;\"\n_mta-sts.other.test TXT \"v=STSv1; id=1;\"\n"); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	w.Resolver = New(Options{Resolver: w.dns.Resolver(), Dir: w.dir, RootCAs: roots, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		w.mu.Lock()
		w.dialed = addr
		w.mu.Unlock()
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}})
	w.now = func() time.Time { return w.clock }
	return w
}

// restarted is a Resolver that knows only the files.
func (w *world) restarted() {
	r := New(w.o)
	r.now = w.now
	w.Resolver = r
}

func (w *world) expect(t *testing.T, what string, mode Mode, fetches int) {
	t.Helper()
	p, _ := w.Get(t.Context(), "Example.com")
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.Mode != mode || w.fetches != fetches {
		t.Errorf("%s: mode %q after %d fetches, want %q after %d", what, p.Mode, w.fetches, mode, fetches)
	}
}

func (w *world) serve(h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = h
}

func (w *world) record(t *testing.T, id string) {
	t.Helper()
	w.dns.Remove("_mta-sts.example.com")
	if err := w.dns.Add("_mta-sts.example.com TXT \"v=STSv1; id=" + id + ";\"\n"); err != nil {
		t.Fatal(err)
	}
}

func TestAPolicyIsFetchedOnceAndKept(t *testing.T) {
	w := newWorld(t)
	w.expect(t, "first", Enforce, 1)
	if w.dialed != "mta-sts.example.com:443" {
		t.Errorf("dialed %s", w.dialed)
	}
	w.expect(t, "from memory", Enforce, 1)
	w.restarted()
	w.expect(t, "from the file", Enforce, 1)
	w.clock = w.clock.Add(25 * time.Hour)
	w.serve(policyText("testing", 86400))
	w.expect(t, "refreshed after a day", Testing, 2)
	w.record(t, "2")
	w.serve(policyText("none", 86400))
	w.expect(t, "another id", None, 3)
}

func TestAKeptPolicyOutlivesTrouble(t *testing.T) {
	gone := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusNotFound) }
	w := newWorld(t)
	w.expect(t, "first", Enforce, 1)
	w.dns.Fail("_mta-sts.example.com")
	w.expect(t, "no DNS", Enforce, 1)
	w.dns.Heal("_mta-sts.example.com")
	w.dns.Remove("_mta-sts.example.com")
	w.expect(t, "no record", Enforce, 1)
	w.record(t, "2")
	w.serve(gone)
	w.expect(t, "new id, no file", Enforce, 2)
	w.expect(t, "not asked again at once", Enforce, 2)
	w.clock = w.clock.Add(pause)
	w.expect(t, "asked again", Enforce, 3)
	w.clock = w.clock.Add(10 * 24 * time.Hour)
	w.expect(t, "expired", "", 4)
}

func TestNoPolicyWithoutAProperAnswer(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"redirect":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
		"too large": text("version: STSv1\nmode: enforce\nmx: mx.example.com\nmax_age: 60\n%s", strings.Repeat("x", maxSize)),
		"no policy": text("hello"),
		"error":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			policyText("enforce", 60)(w, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serve(answer)
			w.expect(t, name, "", 1)
		})
	}
}

func TestThePolicyHostMustProveItsName(t *testing.T) {
	w := newWorld(t)
	if p, ok := w.Get(t.Context(), "other.test"); ok || w.fetches != 0 {
		t.Errorf("%+v after %d fetches", p, w.fetches)
	}
}

func TestDamagedAndForeignFilesAreFetchedAgain(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "not JSON": "{", "of the future": `{"version":2}`,
		"of another domain": `{"version":1,"domain":"x.example","id":"1","fetched":"2026-11-25T04:00:00Z","policy":{"mode":"none","max_age":600000000000}}`,
		"dated in 2099":     `{"version":1,"domain":"example.com","id":"1","fetched":"2099-11-25T04:00:00Z","policy":{"mode":"none","max_age":600000000000}}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if err := os.MkdirAll(w.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(w.dir, "example.com.json"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			w.expect(t, name, Enforce, 1)
		})
	}
}

func TestOddDomainsTouchNoFile(t *testing.T) {
	w := newWorld(t)
	for _, domain := range []string{"../x", "a/b.example", "[192.0.2.1]", "", strings.Repeat("a", 300)} {
		if p, ok := w.Get(t.Context(), domain); ok {
			t.Errorf("%q: %+v", domain, p)
		}
		if fileName(domain) != "" && strings.Contains(domain, "/") {
			t.Errorf("%q has a file", domain)
		}
	}
	if _, err := os.Stat(w.dir); err == nil {
		t.Error("a directory was made")
	}
}

func TestPolicyOfHosts(t *testing.T) {
	cases := []struct {
		mode, domain, host string
		level              relay.Level
		code               int
		flaw               relay.TLSFailure
	}{
		{"enforce", "example.com", "mx.example.com", relay.Verified, 0, ""},
		{"enforce", "example.com", "a.example.net", relay.Verified, 0, ""},
		{"enforce", "example.com", "mx.attacker.test", 0, 451, relay.InvalidTLS},
		{"testing", "example.com", "mx.attacker.test", relay.Opportunistic, 0, relay.InvalidTLS},
		{"testing", "example.com", "mx.example.com", relay.Opportunistic, 0, ""},
		{"none", "example.com", "mx.attacker.test", relay.Opportunistic, 0, ""},
		{"enforce", "unknown.test", "mx.example.com", relay.Opportunistic, 0, ""},
	}
	for _, c := range cases {
		w := newWorld(t)
		w.serve(policyText(c.mode, 600))
		q, err := w.Policy(t.Context(), c.domain, relay.Host{Name: c.host})
		code := 0
		if err != nil {
			code = status.From(err).Code
		}
		if q.Level != c.level || code != c.code || q.SecureMX != (c.level == relay.Verified) || q.Names != nil || q.Flaw != c.flaw {
			t.Errorf("%+v: %+v, %v", c, q, err)
		}
		if followed := c.mode != "none" && c.domain == "example.com"; q.Report != (c.mode == "testing") || (q.Published.Type == relay.STS) != followed ||
			followed && (q.Published.Text[1] != "mode: "+c.mode || q.Published.MX[1] != "*.example.net") {
			t.Errorf("%+v: %+v", c, q)
		}
	}
}

func TestNothingGoesOutWhenTheAttemptHasEnded(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if q, err := w.Policy(ctx, "example.com", relay.Host{Name: "mx.attacker.test"}); err == nil {
		t.Errorf("%+v without an answer", q)
	}
}

// TestAPolicyThatCannotBeHadIsReported: the mail goes on without it.
func TestAPolicyThatCannotBeHadIsReported(t *testing.T) {
	for _, c := range []struct {
		domain string
		answer http.HandlerFunc
		want   relay.TLSFailure
	}{
		{"example.com", text("no policy"), relay.InvalidSTSPolicy},
		{"example.com", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusNotFound) }, relay.NoSTSPolicy},
		{"other.test", nil, relay.UntrustedSTSHost},
	} {
		w := newWorld(t)
		w.serve(c.answer)
		for range 2 { // the second time from memory
			q, err := w.Policy(t.Context(), c.domain, relay.Host{Name: "mx.example.com"})
			if err != nil || q.Level != relay.Opportunistic || q.Flaw != c.want || q.Reason == "" || q.Published.Type != relay.STS {
				t.Errorf("%+v: %+v, %v", c, q, err)
			}
		}
	}
}

func TestExpiredPoliciesAreRemoved(t *testing.T) {
	w := newWorld(t)
	w.serve(policyText("enforce", 3600))
	w.expect(t, "first", Enforce, 1)
	file := filepath.Join(w.dir, "example.com.json")
	forgotten := filepath.Join(w.dir, "forgotten.example.json")
	kept := filepath.Join(w.dir, "kept.example.json")
	write := func(file, domain, age string) {
		b := `{"version":1,"domain":"` + domain + `","id":"1","fetched":"2026-11-25T04:00:00Z","policy":{"mode":"none","max_age":` + age + "}}"
		if err := os.WriteFile(file, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(forgotten, "forgotten.example", "3600000000000")
	write(kept, "kept.example", "864000000000000")
	exists := func(file string) bool { _, err := os.Stat(file); return err == nil }
	w.clock = w.clock.Add(25 * time.Hour)
	w.dns.Remove("_mta-sts.example.com")
	w.expect(t, "expired, and no record any more", "", 1)
	if exists(file) || len(w.entries) != 0 {
		t.Error("the expired policy is kept")
	}
	// Files that nobody asks for go with the next policy that is written.
	w.record(t, "2")
	w.expect(t, "a new one", Enforce, 2)
	if exists(forgotten) || !exists(kept) || !exists(file) {
		t.Errorf("forgotten %v, kept %v, new %v", exists(forgotten), exists(kept), exists(file))
	}
}

func TestPolicyTextIsReadAgain(t *testing.T) {
	p := Policy{Mode: Testing, MX: []string{"mx.example.com", "*.example.net"}, MaxAge: 604800 * time.Second}
	if got, err := Parse(p.String()); err != nil || got.String() != p.String() || len(got.MX) != 2 {
		t.Errorf("%q: %+v, %v", p.String(), got, err)
	}
	other := p
	other.MaxAge++
	if !validID(p.ID()) || p.ID() != other.ID() {
		t.Errorf("id %q, %q", p.ID(), other.ID()) // less than a second makes no difference
	}
	if other.Mode = Enforce; other.ID() == p.ID() {
		t.Error("another policy has the same id")
	}
}
