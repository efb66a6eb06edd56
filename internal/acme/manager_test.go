package acme

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

func options(t *testing.T) Options {
	return Options{Directory: "http://127.0.0.1:1/dir", HTTP: true, Names: []string{"mail.example.test"},
		Dir: filepath.Join(t.TempDir(), "acme"), Logger: slog.New(slog.DiscardHandler)}
}

func TestTLSWorksBeforeTheFirstCertificate(t *testing.T) {
	o := options(t)
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := m.leaf()
	if err != nil || leaf.VerifyHostname("mail.example.test") != nil || m.due(time.Now()) == "" {
		t.Errorf("%v, %v", leaf, err)
	}
	if fi, err := os.Stat(File(m.o.Dir)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	before, _ := os.ReadFile(File(m.o.Dir))
	o.Names = append(o.Names, "imap.example.test")
	again, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(File(m.o.Dir)); string(before) != string(after) {
		t.Error("a present certificate was replaced")
	}
	if why := again.due(time.Now()); why != "it does not cover imap.example.test" {
		t.Errorf("%q", why)
	}
}

func TestWrongSetUpsAreRefused(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"no name": func(o *Options) { o.Names = nil },
		"neither": func(o *Options) { o.HTTP = false },
		"making the directory": func(o *Options) {
			os.WriteFile(filepath.Dir(o.Dir)+"/file", nil, 0o600)
			o.Dir = filepath.Dir(o.Dir) + "/file/acme"
		},
		"is no PEM file": func(o *Options) {
			os.MkdirAll(o.Dir, 0o700)
			os.WriteFile(o.Dir+"/account.pem", []byte("x"), 0o600)
		},
	} {
		o := options(t)
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestRunGivesUpWithItsContext(t *testing.T) {
	o := options(t)
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	m.client.RetryBackoff = func(int, *http.Request, *http.Response) time.Duration { return -1 }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { m.Run(ctx); close(done) }()
	cancel()
	<-done
	if err := m.Renew(t.Context()); err == nil || !strings.Contains(err.Error(), "registering at") {
		t.Errorf("a dead server: %v", err)
	}
}

func TestOnlyOpenQuestionsAreAnswered(t *testing.T) {
	m, err := New(options(t))
	if err != nil {
		t.Fatal(err)
	}
	undo := put(m, m.tokens, "/.well-known/acme-challenge/abc", "abc.thumb")
	undoTLS := put(m, m.proofs, "mail.example.test", &tls.Certificate{})
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	if code, body := get("/.well-known/acme-challenge/abc"); code != 200 || body != "abc.thumb" {
		t.Errorf("%d %q", code, body)
	}
	hello := &tls.ClientHelloInfo{ServerName: "Mail.example.test", SupportedProtos: []string{ALPN}}
	if cert, err := m.Challenge(hello); cert == nil || err != nil {
		t.Errorf("%v, %v", cert, err)
	}
	if cert, err := m.Challenge(&tls.ClientHelloInfo{ServerName: "mail.example.test", SupportedProtos: []string{"h2"}}); cert != nil || err != nil {
		t.Errorf("not a question: %v, %v", cert, err)
	}
	undo()
	undoTLS()
	if code, _ := get("/.well-known/acme-challenge/abc"); code != 404 {
		t.Errorf("%d", code)
	}
	if cert, err := m.Challenge(hello); cert != nil || err == nil {
		t.Errorf("%v, %v", cert, err)
	}
}

func TestTheOtherProofIsGivenAfterAFailure(t *testing.T) {
	web, alpn, dns := &acme.Challenge{Type: "http-01"}, &acme.Challenge{Type: "tls-alpn-01"}, &acme.Challenge{Type: "dns-01"}
	for _, tt := range []struct {
		http, tls bool
		avoid     string
		offered   []*acme.Challenge
		want      *acme.Challenge
	}{
		{true, true, "", []*acme.Challenge{dns, alpn, web}, web},
		{true, true, "", []*acme.Challenge{web, alpn}, web},
		{true, true, "http-01", []*acme.Challenge{web, alpn}, alpn},
		{true, true, "http-01", []*acme.Challenge{alpn, web}, alpn},
		{true, true, "tls-alpn-01", []*acme.Challenge{alpn, web}, web},
		{true, false, "http-01", []*acme.Challenge{alpn, web}, web},
		{false, true, "", []*acme.Challenge{web, alpn}, alpn},
		{true, true, "", []*acme.Challenge{dns}, nil},
	} {
		m := &Manager{o: Options{HTTP: tt.http, TLSALPN: tt.tls}, avoid: tt.avoid}
		if got := m.choose(tt.offered); got != tt.want {
			t.Errorf("%+v: %+v", tt, got)
		}
	}
}
