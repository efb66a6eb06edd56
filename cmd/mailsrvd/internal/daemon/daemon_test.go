package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"svc.plus/mailsrvd/auth/passwdfile"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/queue"
)

var ctx = context.Background()

// newDaemon builds one for trials, whose listeners are all sockets.
func newDaemon(t *testing.T) *Daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "dm") // the names of sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	site, err := dev.Make(dev.Options{Dir: dir, HashPassword: passwdfile.HashFast, NewDKIMKey: func() ([]byte, error) {
		k, err := dkim.GenerateKey(dkim.Ed25519)
		if err != nil {
			return nil, err
		}
		return k.MarshalPEM()
	}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(site.Config)
	if err != nil {
		t.Fatal(err)
	}
	// Sockets for all ports, which others on this machine may have.
	text := regexp.MustCompile(`127\.0\.0\.1:2(\d{3})`).ReplaceAll(b, []byte("./run/$1"))
	if err := os.WriteFile(site.Config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(site.Config)
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(ctx, Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Version: "test", FailureDelay: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d
}

// inbox counts the new messages of a user that contain text.
func inbox(t *testing.T, d *Daemon, user, text string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(d.cfg.File), "home", user, "Maildir", "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), text) {
			n++
		}
	}
	return n
}

func envelope(from string, to ...string) message.Envelope {
	env := message.Envelope{Trace: "t1", ReversePath: from}
	for _, a := range to {
		env.Recipients = append(env.Recipients, message.Recipient{Address: a})
	}
	return env
}

func content(text string) *message.Content {
	return message.FromBytes([]byte("From: <postmaster@example.test>\r\nSubject: x\r\n\r\n" + text + "\r\n"))
}

func TestReportsReachLocalSendersAndAreSignedForOthers(t *testing.T) {
	d := newDaemon(t)
	if err := d.bounce(ctx, envelope("", "alice@example.test"), content("report one")); err != nil {
		t.Fatal(err)
	}
	if inbox(t, d, "alice", "report one") != 1 {
		t.Error("alice has no report")
	}
	if err := d.bounce(ctx, envelope("", "nobody@example.test"), content("x")); err != nil {
		t.Errorf("a report to nobody must end: %v", err)
	}
	if err := d.bounce(ctx, envelope("", "friend@example.net"), content("report two")); err != nil {
		t.Fatal(err)
	}
	items, err := d.queue.List(ctx, queue.Filter{})
	if err != nil || len(items) != 1 || items[0].Recipients[0].Address != "friend@example.net" || !items[0].Held {
		t.Fatalf("%+v, %v", items, err)
	}
	c, err := d.queue.Content(items[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 16)
	if _, err := c.NewReader().Read(b); err != nil || string(b[:15]) != "DKIM-Signature:" {
		t.Errorf("begins with %q, %v", b, err)
	}
}

func TestAttemptDeliversOursAndHoldsOthers(t *testing.T) {
	d := newDaemon(t)
	env := envelope("x@example.net", "bob@example.test", "friend@example.net", "nobody@example.test")
	out := d.Attempt(ctx, env, content("deferred"), env.Recipients)
	if len(out) != 3 || out[0].Err != nil || !errors.Is(out[1].Err, errHeld) || out[2].Err == nil {
		t.Fatalf("%+v", out)
	}
	if inbox(t, d, "bob", "deferred") != 1 {
		t.Error("bob has nothing")
	}
}

func TestAliasThatLeadsOutJoinsTheQueue(t *testing.T) {
	d := newDaemon(t)
	file := filepath.Join(filepath.Dir(d.cfg.File), "aliases")
	if err := os.WriteFile(file, []byte("away: friend@example.net, bob\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	env := envelope("x@example.net", "away@example.test")
	if out := d.Attempt(ctx, env, content("by alias"), env.Recipients); out[0].Err != nil {
		t.Fatal(out[0].Err)
	}
	items, err := d.queue.List(ctx, queue.Filter{Recipient: "friend@example.net"})
	if err != nil || len(items) != 1 || inbox(t, d, "bob", "by alias") != 1 {
		t.Errorf("%+v, %v", items, err)
	}
}

func TestReloadKeepsTheAuthenticatorThatDidNotChange(t *testing.T) {
	d := newDaemon(t)
	before := d.board.live.Load()
	if err := d.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	after := d.board.live.Load()
	if before == after || before.auth != after.auth {
		t.Error("the generation stayed, or its authenticator went")
	}
	edit(t, d.cfg.File, "[aliases]", "[mail]\nmin_uid = 2000\n[aliases]")
	if err := d.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	if d.board.live.Load().auth == before.auth {
		t.Error("the authenticator stayed although min_uid changed")
	}
}

func edit(t *testing.T, path, old, with string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), old, with, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRefusedReloadChangesNothing(t *testing.T) {
	d := newDaemon(t)
	before := d.board.live.Load()
	for old, with := range map[string]string{"[relay]": "[relai]", "key.pem": "none.pem", "dkim/": "none/", `file = "aliases"`: `file = "none"`} {
		b, err := os.ReadFile(d.cfg.File)
		if err != nil {
			t.Fatal(err)
		}
		edit(t, d.cfg.File, old, with)
		if err := d.Reload(ctx); err == nil {
			t.Errorf("%s was taken over", with)
		}
		if d.board.live.Load() != before {
			t.Errorf("%s: the generation changed", with)
		}
		if err := os.WriteFile(d.cfg.File, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNeedRestartNamesWhatAReloadCannotChange(t *testing.T) {
	parse := func(text string) *config.Config {
		c, problems := config.Parse("m.toml", "hostname = \"a.example\"\ndomains = [\"a.example\"]\n"+text)
		if problems.HasErrors() && !strings.Contains(problems.Error(), "tls.certificate") {
			t.Fatal(problems)
		}
		return c
	}
	old := parse("")
	for text, want := range map[string][]string{
		"":                              nil,
		"postmaster = \"x\"":            nil,
		"[relay]\nhold = true":          nil,
		"state_dir = \"/x\"":            {"state_dir"},
		"[listen]\nmx = \":26\"":        {"[listen]"},
		"[inbound]\ndmarc = \"reject\"": {"[inbound]"},
		"[limits]\nrecipients = 200":    {"[limits]"},
		"[tls]\nmin_version = \"1.3\"":  {"tls.min_version"},
		"[imap]\nseparator = \"/\"":     {"[imap]"},
		"[queue]\nmax_age = \"3d\"":     {"[queue]"},
		"[log]\nlevel = \"debug\"":      nil,
		"[mail]\nlocation = \"~/Mail\"": {"mail.location"},
	} {
		if got := needRestart(old, parse(text)); !slices.Equal(got, want) {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestStatusAndMetricsOfWhatRuns(t *testing.T) {
	d := newDaemon(t)
	s := d.Status()
	if s.Problem != "" || s.Version != "test" || len(s.Certificates) != 1 || s.Certificates[0].Names[0] != dev.Hostname {
		t.Errorf("%+v", s)
	}
	names := map[string]bool{}
	for _, l := range s.Listeners {
		names[l.Name] = true
	}
	for _, want := range []string{"mx", "submission", "submissions", "imap", "imaps", "managesieve", "sendmail", "control", "lda", "https", "metrics", "status"} {
		if !names[want] {
			t.Errorf("no listener %s in %v", want, names)
		}
	}
	if names["lmtp"] || names["http"] {
		t.Error("a listener that is switched off")
	}
	_, err1 := d.registry.Gather()
	_, err2 := d.board.Gather()
	if err := errors.Join(err1, err2); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(d.summary(), "0 connections, 0 messages") {
		t.Error(d.summary())
	}
}

func TestBusySocketIsExplained(t *testing.T) {
	d := newDaemon(t)
	o := d.o
	c := *d.cfg
	c.StateDir += "2"
	o.Config = &c
	_, err := New(ctx, o)
	if err == nil || !strings.Contains(err.Error(), "listen.mx") || !strings.Contains(err.Error(), "another mail server") {
		t.Error(err)
	}
}

func TestQueueOfARunningDaemonIsLocked(t *testing.T) {
	d := newDaemon(t)
	c := *d.cfg
	c.RunDir += "2"
	o := d.o
	o.Config = &c
	if _, err := New(ctx, o); !errors.Is(err, queue.ErrLocked) {
		t.Error(err)
	}
}

func TestBackEndThatLetsNobodyInIsReported(t *testing.T) {
	d := newDaemon(t)
	if err := d.Health(); err != nil {
		t.Fatal(err)
	}
	edit(t, d.cfg.File, "backend = \"passwd-file\"", "backend = \"pam\"\n[auth.pam]\nservice = \"no-such-service\"")
	edit(t, d.cfg.File, "postmaster = \"alice\"", "postmaster = \"x@example.net\"")
	if err := os.WriteFile(filepath.Join(filepath.Dir(d.cfg.File), "aliases"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.Health(); err == nil || !strings.Contains(err.Error(), "logins fail") || !strings.Contains(d.summary(), "no-such-service") {
		t.Errorf("health %v, status %s", err, d.summary())
	}
}

func TestCheckAsksRelayAndQueue(t *testing.T) {
	d := newDaemon(t)
	if ps := Check(ctx, d.cfg); len(ps) > 0 {
		t.Errorf("%+v", ps)
	}
	c := *d.cfg
	c.StateDir = d.cfg.File // a file
	c.Relay.Hold = false
	c.DNS.Resolver = "not an address"
	keys := map[string]bool{}
	for _, p := range Check(ctx, &c) {
		keys[p.Key] = true
	}
	if !keys["state_dir"] || !keys["dns.resolver"] {
		t.Errorf("%v", keys)
	}
}
