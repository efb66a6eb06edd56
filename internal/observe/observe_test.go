package observe

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestLoggerFormats(t *testing.T) {
	for _, tt := range []struct{ format, want string }{
		{"text", `^time=\S+ level=WARN msg=hello proto=imap user=a\n$`},
		{"json", `^\{"time":"[^"]+","level":"WARN","msg":"hello","proto":"imap","user":"a"\}\n$`},
		{"journal", `^<4>msg=hello proto=imap user=a\n$`},
	} {
		var b bytes.Buffer
		l, err := NewLogger(&b, tt.format, slog.LevelInfo)
		if err != nil {
			t.Fatal(err)
		}
		l.Debug("not shown")
		l.With("proto", "imap").Warn("hello", "user", "a")
		if !regexp.MustCompile(tt.want).MatchString(b.String()) {
			t.Errorf("%s: %q", tt.format, b.String())
		}
	}
	if _, err := NewLogger(io.Discard, "xml", slog.LevelInfo); err == nil {
		t.Error("an unknown format passed")
	}
}

func TestParseLevel(t *testing.T) {
	for s, want := range map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "WARN": slog.LevelWarn, "error": slog.LevelError} {
		if got, err := ParseLevel(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	if _, err := ParseLevel("loud"); err == nil {
		t.Error("an unknown level passed")
	}
}

func TestTracesAreUniqueAndSortByTime(t *testing.T) {
	seen := map[string]bool{}
	for range 10000 {
		id := NewTrace()
		if seen[id] || !regexp.MustCompile(`^[0-9a-z]{14}$`).MatchString(id) {
			t.Fatalf("bad id %q", id)
		}
		seen[id] = true
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if a, b := trace(at, 1<<30-1), trace(at.Add(time.Millisecond), 0); a >= b {
		t.Errorf("%s is not before %s", a, b)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func TestHTTPServesMetricsAndHealth(t *testing.T) {
	sick := errors.New("queue directory is not writable")
	var state error
	server := httptest.NewServer(Handler(NewRegistry("v1"), func() error { return state }))
	defer server.Close()
	url := server.URL
	if code, body := get(t, url+"/metrics"); code != 200 || !strings.Contains(body, `mailsrvd_build_info{version="v1"} 1`) {
		t.Errorf("metrics: %d\n%s", code, body)
	}
	if code, body := get(t, url+"/healthz"); code != 200 || body != "{\"status\":\"ok\"}\n" {
		t.Errorf("healthy: %d %s", code, body)
	}
	state = sick
	if code, body := get(t, url+"/healthz"); code != 503 || !strings.Contains(body, sick.Error()) {
		t.Errorf("sick: %d %s", code, body)
	}
	if code, body := get(t, url+"/livez"); code != 200 || body != "ok\n" {
		t.Errorf("sick, and not alive: %d %s", code, body)
	}
	if code, _ := get(t, url+"/"); code != 404 {
		t.Errorf("/: %d", code)
	}
}

func TestRegisterReturnsWhatIsThere(t *testing.T) {
	made := func(help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "mailsrvd_test_total", Help: help})
	}
	r := prometheus.NewRegistry()
	first := Register(r, made("x"))
	if again := Register(r, made("x")); again != first {
		t.Error("two counters under one name")
	}
	other := made("y") // of another kind: it counts for nobody
	if got := Register(r, other); got != other {
		t.Error("not what was given")
	}
	if got := Register(nil, other); got != other {
		t.Error("without a registry")
	}
}
