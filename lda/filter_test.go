package lda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/lda/sieve"
	"svc.plus/mailsrvd/maildir"
)

// writeAs writes a file of a user, with the directories above it.
func writeAs(t *testing.T, acct auth.Account, name, text string) {
	t.Helper()
	path := filepath.Join(acct.Owner.Home, name)
	for _, dir := range []string{filepath.Dir(path)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, acct.Owner.UID, acct.Owner.GID); err != nil && os.Geteuid() == 0 {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chown(path, acct.Owner.UID, acct.Owner.GID)); err != nil {
		t.Fatal(err)
	}
}

// outbox records what leaves.
type outbox struct {
	list []string
	err  error
}

func (o *outbox) take(kind string) func(context.Context, message.Envelope, *message.Content) error {
	return func(_ context.Context, env message.Envelope, c *message.Content) error {
		b, err := io.ReadAll(c.NewReader())
		r := env.Recipients[0]
		o.list = append(o.list, fmt.Sprintf("%s <%s> to %s %v\n%s", kind, env.ReversePath, r.Address, r.Notify, b))
		return errors.Join(err, o.err)
	}
}

// filtering makes an Agent whose filters may send to the outbox.
func filtering(t *testing.T, change ...func(*Sieve)) (*Agent, auth.Account, *outbox) {
	t.Helper()
	out := &outbox{}
	a, accounts := deliverAgent(t, maildir.Options{}, func(o *Options) {
		o.RecipientDelimiter, o.Hostname = "+", "mx.example.org"
		o.Sieve = &Sieve{Redirect: out.take("redirect"), Respond: out.take("answer")}
		for _, c := range change {
			c(o.Sieve)
		}
	})
	return a, accounts["alice"], out
}

func send(t *testing.T, a *Agent, text string) error {
	t.Helper()
	env := message.Envelope{Trace: "t1", ReversePath: "eve@example.net", Trusted: true}
	return a.Deliver(t.Context(), env, content(text), []message.Local{to("alice")})[0]
}

const subject = "From: eve@example.net\r\nTo: alice@example.org\r\nSubject: %s\r\n\r\nhello\r\n"

func TestFiltersDecideWhereMailGoes(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		folders      []string // where it is then
		sent         []string // what has left, the beginnings
		refused      string
	}{
		{"none", "", []string{"."}, nil, ""},
		{"keep", "keep;", []string{"."}, nil, ""},
		{"fileinto, made", `require ["fileinto","mailbox"]; fileinto :create "Lists.go";`, []string{".Lists.go"}, nil, ""},
		{"fileinto, missing", `require "fileinto"; fileinto "Nowhere";`, []string{"."}, nil, ""},
		{"two copies", `require ["fileinto","mailbox","copy"]; fileinto :copy :create "Copy";`, []string{".", ".Copy"}, nil, ""},
		{"discard", "discard;", nil, nil, ""},
		{"redirect", `redirect "friend@example.com";`, nil, []string{"redirect <eve@example.net> to friend@example.com []\nX-Sieve-Redirected-From: alice@example.org\r\nDelivered-To: alice@example.org\r\nFrom: eve"}, ""},
		{"redirect a copy", `require "copy"; redirect :copy "friend@example.com";`, []string{"."}, []string{"redirect <eve@example.net> to friend@example.com"}, ""},
		{"reject", "require \"reject\"; reject \"I do\r\nnot want ünis\";", nil, nil, "550 5.7.1 I do not want nis"},
		{"vacation", `require "vacation"; vacation :addresses "alice@example.org" "away";`, []string{"."}, []string{"answer <> to eve@example.net [NEVER]\n"}, ""},
		{"a mistake", "keep", []string{"."}, nil, ""},
		{"stopped", `require "include"; include "none";`, []string{"."}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, alice, out := filtering(t)
			if tt.script != "" {
				writeAs(t, alice, ".dovecot.sieve", tt.script)
			}
			err := send(t, a, fmt.Sprintf(subject, "x"))
			if s := status.From(err); (s == nil) != (tt.refused == "") || s != nil && fmt.Sprintf("%d %s %s", s.Code, s.Enhanced, s.Text) != tt.refused {
				t.Errorf("answer: %v", err)
			}
			var folders []string
			for _, m := range mail(t, alice.Owner.Home) {
				folder, _, _ := strings.Cut(m, ":")
				folders = append(folders, folder)
			}
			if !slices.Equal(folders, tt.folders) {
				t.Errorf("stored in %q, want %q", folders, tt.folders)
			}
			if len(out.list) != len(tt.sent) || len(out.list) > 0 && !strings.HasPrefix(out.list[0], tt.sent[0]) {
				t.Errorf("sent %q, want %q", out.list, tt.sent)
			}
		})
	}
}

// A script that is mended counts at the next delivery, an include as well, and its
// mistakes are told to the user.
func TestScriptsAreReadAgainWhenTheyChange(t *testing.T) {
	a, alice, _ := filtering(t)
	deliver := func(want string) {
		t.Helper()
		if err := send(t, a, fmt.Sprintf(subject, "x")); err != nil {
			t.Fatal(err)
		}
		list := mail(t, alice.Owner.Home)
		if folder, _, _ := strings.Cut(list[len(list)-1], ":"); len(list) == 0 || folder != want {
			t.Errorf("it is in %q, want %q", folder, want)
		}
		if err := os.RemoveAll(filepath.Join(alice.Owner.Home, "Maildir")); err != nil {
			t.Fatal(err)
		}
	}
	writeAs(t, alice, "sieve/part.sieve", `require ["fileinto","mailbox"]; fileinto :create "One";`)
	writeAs(t, alice, "sieve/main.sieve", `require "include"; include :personal "part";`)
	if err := os.Symlink("sieve/main.sieve", filepath.Join(alice.Owner.Home, ".dovecot.sieve")); err != nil {
		t.Fatal(err)
	}
	deliver(".One")
	deliver(".One")
	writeAs(t, alice, "sieve/part.sieve", `require ["fileinto","mailbox"]; fileinto :create "Two1";`)
	deliver(".Two1")
	writeAs(t, alice, "sieve/part.sieve", `fileinto "x";`)
	deliver(".")
	log, err := os.ReadFile(filepath.Join(alice.Owner.Home, ".dovecot.sieve.log"))
	if err != nil || !strings.Contains(string(log), "part:1:1: error") {
		t.Errorf("%v: %s", err, log)
	}
	if err := os.Remove(filepath.Join(alice.Owner.Home, ".dovecot.sieve")); err != nil {
		t.Fatal(err)
	}
	deliver(".")
}

// What stands in the place of a script must not hold up or harm a delivery.
func TestOddScriptsKeepTheMail(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"a FIFO":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"a huge file": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 10<<20)) },
		"a loop":      func(path string) error { return os.Symlink(".dovecot.sieve", path) },
		"a device":    func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		a, alice, _ := filtering(t)
		if err := make(filepath.Join(alice.Owner.Home, ".dovecot.sieve")); err != nil {
			t.Fatal(err)
		}
		if err := send(t, a, fmt.Sprintf(subject, "x")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(mail(t, alice.Owner.Home)); n != 1 {
			t.Errorf("%s: %d messages", name, n)
		}
	}
}

// The kernel checks the rights: what the user may not read is no script.
func TestScriptsAreReadAsTheUser(t *testing.T) {
	needRoot(t)
	a, alice, _ := filtering(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := errors.Join(os.WriteFile(secret, []byte("discard;"), 0o600), os.Symlink(secret, filepath.Join(alice.Owner.Home, ".dovecot.sieve"))); err != nil {
		t.Fatal(err)
	}
	if err := send(t, a, fmt.Sprintf(subject, "x")); err != nil || len(mail(t, alice.Owner.Home)) != 1 {
		t.Errorf("%v, %q", err, mail(t, alice.Owner.Home))
	}
}

func TestRedirectEndsWhereItCameFrom(t *testing.T) {
	a, alice, out := filtering(t)
	writeAs(t, alice, ".dovecot.sieve", `redirect "friend@example.com";`)
	if err := send(t, a, "X-Sieve-Redirected-From: alice@example.org\r\n"+fmt.Sprintf(subject, "x")); err != nil {
		t.Fatal(err)
	}
	if len(out.list) != 0 || len(mail(t, alice.Owner.Home)) != 1 {
		t.Errorf("sent %q, kept %d", out.list, len(mail(t, alice.Owner.Home)))
	}
	out.err = errors.New("the queue is full")
	if err := send(t, a, fmt.Sprintf(subject, "x")); !status.IsTemporary(err) {
		t.Errorf("a redirect that fails: %v", err)
	}
}

func TestAdministratorsScriptsRunAround(t *testing.T) {
	dir := publicDir(t)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	before := write("before.sieve", `if header :contains "subject" "virus" { discard; }`)
	after := write("after.sieve", `require ["fileinto","mailbox"]; if header :contains "subject" "bulk" { fileinto :create "Bulk"; }`)
	usual := write("default.sieve", `require ["fileinto","mailbox"]; if header :contains "subject" "news" { fileinto :create "News"; }`)
	a, alice, _ := filtering(t, func(s *Sieve) {
		s.Before, s.After, s.Default, s.GlobalDir = []string{before}, []string{after}, usual, dir
	})
	for _, tt := range []struct{ script, subject, want string }{
		{"", "virus", ""}, {"", "bulk", ".Bulk"}, {"", "news", ".News"}, {"", "x", "."},
		{"keep;", "news", "."}, {`require "include"; include :global "default";`, "news", ".News"},
		{`require ["fileinto","mailbox"]; fileinto :create "Mine"; stop;`, "bulk", ".Mine"},
	} {
		if tt.script != "" {
			writeAs(t, alice, ".dovecot.sieve", tt.script)
		}
		if err := send(t, a, fmt.Sprintf(subject, tt.subject)); err != nil {
			t.Fatal(err)
		}
		folder := ""
		if list := mail(t, alice.Owner.Home); len(list) > 0 {
			folder, _, _ = strings.Cut(list[0], ":")
		}
		if folder != tt.want {
			t.Errorf("%q, subject %s: in %q, want %q", tt.script, tt.subject, folder, tt.want)
		}
		os.RemoveAll(filepath.Join(alice.Owner.Home, "Maildir"))
	}
	wrong := write("wrong.sieve", "keep")
	if _, err := newFilters(&Sieve{Before: []string{wrong, "/nonexistent"}}); err == nil || !strings.Contains(err.Error(), "wrong.sieve:1") || !strings.Contains(err.Error(), "nonexistent") {
		t.Errorf("mistakes: %v", err)
	}
}

// Nobody is answered twice, and what is over is forgotten.
func TestVacationRemembers(t *testing.T) {
	a, alice, out := filtering(t)
	writeAs(t, alice, ".dovecot.sieve", `require "vacation"; vacation :days 3 "away";`)
	out.err = errors.New("the queue is away") // an answer that was not given is none
	if err := send(t, a, fmt.Sprintf(subject, "x")); err != nil {
		t.Fatal(err)
	}
	out.list, out.err = nil, nil
	for range 3 {
		if err := send(t, a, fmt.Sprintf(subject, "x")); err != nil {
			t.Fatal(err)
		}
	}
	if len(out.list) != 1 {
		t.Errorf("answers: %q", out.list)
	}
	now := time.Now()
	var many []sieve.Memory
	for i := range 30_000 {
		many = append(many, sieve.Memory{ID: fmt.Sprint(i), For: time.Minute})
	}
	if err := errors.Join(remember(t.Context(), alice.Owner, now.Add(-time.Hour), many), remember(t.Context(), alice.Owner, now, many[:1])); err != nil {
		t.Fatal(err)
	}
	m := &memory{owner: alice.Owner}
	for id, want := range map[string]bool{"0": true, "1": false} {
		if seen, err := m.seen(t.Context(), id); err != nil || seen != want {
			t.Errorf("%s: %v, %v", id, seen, err)
		}
	}
	if fi, err := os.Stat(filepath.Join(alice.Owner.Home, memoryFile)); err != nil || fi.Size() > 1000 || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
}

func FuzzMemory(f *testing.F) {
	f.Add("1 abc\n2 def\n")
	f.Add("x\n\n99999999999999999999 a\n")
	f.Fuzz(func(t *testing.T, text string) {
		until, err := readMemory(strings.NewReader(text))
		if err == nil && len(until) > len(text) {
			t.Errorf("%d from %d bytes", len(until), len(text))
		}
	})
}

// TestFiltersDoWhatPigeonholeDoes gives scripts and messages to the real
// dovecot-lda and to ours, and compares what lies in the Maildirs.
func TestFiltersDoWhatPigeonholeDoes(t *testing.T) {
	if _, err := os.Stat("/usr/lib/dovecot/modules/lib90_sieve_plugin.so"); err != nil {
		t.Skip("missing: Dovecot's sieve plugin (Debian package dovecot-sieve)")
	}
	const settings = "protocol lda {\n mail_plugins = sieve\n}\nplugin {\n sieve = file:~/sieve;active=~/.dovecot.sieve\n sieve_extensions = +editheader\n}"
	texts := []string{
		"Message-ID: <1@x>\r\nFrom: Eve <eve@example.net>\r\nTo: alice+list@example.org\r\nSubject: a report\r\n\r\nbody text\r\n",
		"Message-ID: <2@x>\r\nFrom: bob@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nX-Spam: yes\r\nContent-Type: text/html\r\n\r\n<p>buy <b>now</b></p>\r\n",
	}
	for i, script := range []string{
		"keep;", "discard;", "", "if true { stop; }",
		`require ["fileinto","mailbox"]; fileinto :create "Lists";`,
		`require "fileinto"; fileinto "Missing";`,
		`require ["fileinto","mailbox"]; if address :domain "from" "example.net" { fileinto :create "Net"; } else { fileinto :create "Other"; }`,
		`require ["imap4flags"]; setflag ["\\Seen","\\Flagged"]; keep;`,
		`require ["fileinto","imap4flags","mailbox"]; fileinto :flags ["\\Seen","$Label1"] :create "F";`,
		`require ["fileinto","copy","mailbox"]; fileinto :copy :create "A"; fileinto :create "B";`,
		`require ["editheader"]; addheader "X-Seen" "yes"; deleteheader "X-Spam"; keep;`,
		`require ["editheader","fileinto","mailbox"]; addheader :last "X-Last" "l"; fileinto :create "E"; deleteheader "Subject"; keep;`,
		`require ["envelope","fileinto","mailbox"]; if envelope :is "from" "eve@example.net" { fileinto :create "Eve"; }`,
		`require ["variables","fileinto","mailbox"]; if header :matches "subject" "a *" { fileinto :create "${1}"; }`,
		`require ["body","fileinto","mailbox"]; if body :text :contains "now" { fileinto :create "Now"; }`,
		`require ["mailbox","fileinto"]; if mailboxexists "INBOX" { fileinto :create "There"; }`,
		`require ["fileinto","mailbox"]; fileinto :create "Deep.er.est"; keep;`,
		"keep", `require "nonsense"; keep;`, `redirect;`,
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			real := newAccount(t, "alice", 20001)
			b := newBench(t, maildir.Options{})
			b.opts.Agent.Sieve = &Sieve{}
			b.opts.Agent.Domains = []string{"example.org"}
			for _, acct := range []auth.Account{real, b.alice} {
				writeAs(t, acct, ".dovecot.sieve", script)
			}
			for _, text := range texts {
				args := []string{"-f", "eve@example.net", "-a", "alice+list@example.org"}
				wantCode, wantText := dovecot(t, real, text, args, settings)
				if code, said := b.run(text, args...); code != wantCode {
					t.Errorf("exit %d (%s)\nDovecot: %d (%s)", code, said, wantCode, wantText)
				}
			}
			got := slices.DeleteFunc(stored(t, b.alice), func(s string) bool { return strings.HasPrefix(s, "tmp ") }) // of our lock
			if want := stored(t, real); !slices.Equal(got, want) {
				t.Errorf("%s\nstored  %q\nDovecot %q", script, got, want)
			}
		})
	}
}
