package lda

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/maildir"
)

// bench is one user and the command in front of her Maildir.
type bench struct {
	*testing.T
	alice auth.Account
	opts  CommandOptions
	env   Env
	log   bytes.Buffer
}

// newBench calls the command as alice herself; only alice and broken exist.
func newBench(t *testing.T, o maildir.Options) *bench {
	b := &bench{T: t, alice: newAccount(t, "alice", 20001)}
	b.opts = CommandOptions{Agent: Options{
		Accounts: fakeAccounts{"alice": b.alice}, Stores: newStores(t, o), RecipientDelimiter: "+", Logger: logTo(&b.log)}}
	environment := map[string]string{"USER": "alice", "HOME": b.alice.Owner.Home}
	b.env = Env{
		UID: b.alice.Owner.UID, GID: b.alice.Owner.GID,
		Getenv: func(name string) string { return environment[name] },
		Configure: func(context.Context, string, bool) (CommandOptions, error) {
			return b.opts, nil
		},
	}
	return b
}

// run runs the command and returns exit code and stderr.
func (b *bench) run(stdin string, args ...string) (int, string) {
	b.Helper()
	b.log.Reset()
	var out, errs bytes.Buffer
	code := Run(b.Context(), args, strings.NewReader(stdin), &out, &errs, b.env)
	if out.Len() > 0 {
		b.Errorf("stdout: %q", out.String())
	}
	return code, errs.String()
}

func TestCommandStoresTheBytesOfItsInput(t *testing.T) {
	big := "Subject: big\n\n" + strings.Repeat("0123456789\n", 30_000)
	for _, c := range []struct{ name, in, stored string }{
		{"CRLF becomes LF", "Subject: x\r\n\r\nbody\r\n", "Subject: x\n\nbody\n"},
		{"LF stays", "Subject: x\n\nbody\n", "Subject: x\n\nbody\n"},
		{"no last line end", "Subject: x\n\nbody", "Subject: x\n\nbody"},
		{"From_ line goes", "From a@b Thu Jan  1 00:00:00 1970\nSubject: x\n\nFrom here\n", "Subject: x\n\nFrom here\n"},
		{"empty", "", ""},
		{"larger than memory", big, big},
		{"8-bit and NUL", "Subject: \xff\x00\n\n\x00\n", "Subject: \xff\x00\n\n\x00\n"},
		{"no loop check", "Delivered-To: alice\n\n", "Delivered-To: alice\n\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, maildir.Options{})
			if code, text := b.run(c.in); code != 0 || text != "" {
				t.Fatalf("exit %d, %q", code, text)
			}
			if got := mail(t, b.alice.Owner.Home); !slices.Equal(got, []string{".: " + c.stored}) {
				t.Errorf("stored %.200q", got)
			}
		})
	}
}

func TestCommandChoosesTheFolder(t *testing.T) {
	b := newBench(t, maildir.Options{})
	store := b.opts.Agent.Stores.Store(b.alice.Owner, "~/Maildir")
	if err := errors.Join(store.Prepare(t.Context()), store.Create(t.Context(), "Lists")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		dir  string
		log  string
	}{
		{[]string{"-m", "Lists"}, ".Lists", "saved mail to Lists"},
		{[]string{"-m", ""}, ".", "saved mail to INBOX"},
		{[]string{"-m", "None"}, ".", "save failed to open mailbox None"},
		{[]string{"-m", "../x"}, ".", "save failed to open mailbox ../x"},
		{[]string{"-m", "inbox"}, ".", "saved mail to inbox"},
		{[]string{"-m", "New.Sub", "-o", "lda_mailbox_autocreate=yes"}, ".New.Sub", "saved mail to New.Sub"},
		{[]string{"-m", "New.Sub"}, ".New.Sub", "saved mail to New.Sub"},
		{[]string{"-m", "Sub2", "-o", "lda_mailbox_autocreate=1", "-o", "lda_mailbox_autosubscribe=YES"}, ".Sub2", "saved mail to Sub2"},
		{[]string{"-m", "x/y\x01", "-o", "lda_mailbox_autocreate=yes"}, ".", "save failed to open mailbox"},
	} {
		mark := fmt.Sprintf("mark %q", c.args)
		if code, text := b.run(mark, c.args...); code != 0 || text != "" {
			t.Errorf("%q: exit %d, %q", c.args, code, text)
		}
		if !slices.Contains(mail(t, b.alice.Owner.Home), c.dir+": "+mark) {
			t.Errorf("%q: not in %s", c.args, c.dir)
		}
		if !strings.Contains(b.log.String(), c.log) || !strings.Contains(b.log.String(), "msgid=unspecified: saved mail to ") {
			t.Errorf("%q: log %q", c.args, b.log.String())
		}
	}
	subscribed, err := store.Subscriptions(t.Context())
	if err != nil || !slices.Equal(subscribed, []string{"Sub2"}) {
		t.Errorf("subscribed: %q, %v", subscribed, err)
	}
}

func TestCommandExitCodes(t *testing.T) {
	none := func(*bench) {}
	full := func(b *bench) {
		b.opts.Agent.Stores = newStores(b.T, maildir.Options{Quota: func(context.Context, asuser.Owner, string, int64) error { return maildir.ErrQuota }})
	}
	asRoot := func(b *bench) { b.env.UID = 0 }
	for _, c := range []struct {
		name  string
		setUp func(*bench)
		args  []string
		exit  int
		text  string
	}{
		{"usage", none, []string{"-Z"}, 64, "invalid option"},
		{"bad -a", none, []string{"-a", "@@"}, 64, "lda: Fatal: Invalid -a parameter"},
		{"bad -m", none, []string{"-m", "\xff"}, 75, "not UTF-8"},
		{"bad -o", none, []string{"-o", "quota_full_tempfail=maybe"}, 75, "neither yes nor no"},
		{"unknown -o", none, []string{"-o", "plugin/sieve=~/x"}, 0, ""},
		{"broken -f", none, []string{"-f", "@@"}, 0, ""},
		{"no configuration", func(b *bench) {
			b.env.Configure = func(context.Context, string, bool) (CommandOptions, error) {
				return CommandOptions{}, errors.New("line 1: nonsense")
			}
		}, nil, 75, "Error reading configuration: line 1: nonsense"},
		{"root without -d", asRoot, nil, 64, "-d user"},
		{"root, unknown user", asRoot, []string{"-d", "nobody-here"}, 67, "no such user"},
		{"root, broken lookup", asRoot, []string{"-d", "broken"}, 75, "the directory server is away"},
		{"root, root's own mail, no daemon", func(b *bench) {
			asRoot(b)
			b.opts.Agent.Accounts = fakeAccounts{"root": {Name: "root", Owner: asuser.Owner{Name: "root", Home: "/root"}}}
		}, []string{"-d", "root"}, 75, "no socket"},
		{"no accounts", func(b *bench) { asRoot(b); b.opts.Agent.Accounts = nil }, []string{"-d", "alice"}, 75, "no list of accounts"},
		{"root cannot become the user", func(b *bench) {
			asRoot(b)
			b.env.Become = func(asuser.Owner) error { return asuser.ErrRefused }
		}, []string{"-d", "alice"}, 75, "Can't act as alice"},
		{"herself by name", none, []string{"-d", "alice"}, 0, ""},
		{"herself by address", none, []string{"-d", "alice+x@example.org"}, 0, ""},
		{"somebody else, no socket configured", none, []string{"-d", "bob"}, 75, "no socket of it is configured"},
		{"somebody else, daemon away", func(b *bench) { b.opts.Socket = filepath.Join(b.TempDir(), "none") }, []string{"-d", "bob"}, 75, "no daemon is listening"},
		{"no environment", func(b *bench) { b.env.Getenv = func(string) string { return "" } }, nil, 75, "neither USER and HOME"},
		{"relative home", func(b *bench) {
			b.env.Getenv = func(n string) string { return map[string]string{"USER": "alice", "HOME": "x"}[n] }
			b.env.Self = func() (asuser.Owner, error) { return asuser.Owner{}, errors.New("unknown uid") }
		}, nil, 75, "unknown uid"},
		{"from the user list", func(b *bench) {
			b.env.Getenv = func(string) string { return "" }
			b.env.Self = func() (asuser.Owner, error) { return b.alice.Owner, nil }
		}, nil, 0, ""},
		{"LOGNAME", func(b *bench) {
			home := b.alice.Owner.Home
			b.env.Getenv = func(n string) string { return map[string]string{"LOGNAME": "alice", "HOME": home}[n] }
		}, nil, 0, ""},
		{"missing file", none, []string{"-p", "/nonexistent"}, 75, "/nonexistent"},
		{"directory as file", none, []string{"-p", "/"}, 75, "is a directory"},
		{"full", full, nil, 77, "lda(alice): Error: msgid=<1@example.net>: 552 5.2.2 Mailbox is full"},
		{"full, reason", full, []string{"-e"}, 77, "5.2.2 Mailbox is full\n"},
		{"full, passing", full, []string{"-e", "-o", "quota_full_tempfail=yes"}, 75, "4.2.2 Mailbox is full\n"},
		{"full, with a folder", full, []string{"-m", "None"}, 77, "5.2.2"},
		{"disk broken", func(b *bench) {
			b.opts.Agent.Stores = newStores(b.T, maildir.Options{Fault: func(string, string) error { return errors.New("boom") }})
		}, []string{"-e"}, 75, "4.3.0 "},
		{"location", none, []string{"-o", "mail_location=maildir:~/Elsewhere"}, 0, ""},
		{"mbox location", none, []string{"-o", "mail_location=mbox:~/mail:INBOX=/x"}, 75, "only maildir:"},
		{"relative location", none, []string{"-o", "mail_location=mail"}, 75, "must begin with"},
		{"no agent", func(b *bench) { b.opts.Agent.Stores = nil }, nil, 75, "Stores are needed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, maildir.Options{})
			c.setUp(b)
			code, text := b.run(testMail, c.args...)
			if code != c.exit || !strings.Contains(text, c.text) || (c.exit == 0) != (text == "") {
				t.Errorf("exit %d, %q", code, text)
			}
			if got := len(mail(t, b.alice.Owner.Home)); c.exit != 0 && got != 0 {
				t.Errorf("%d messages are stored although it failed", got)
			}
		})
	}
}

func TestCommandReadsAFileAndFailsOnABrokenPipe(t *testing.T) {
	b := newBench(t, maildir.Options{})
	path := write(t, "mail", testMail)
	if code, text := b.run("not this", "-p", path); code != 0 {
		t.Errorf("exit %d, %q", code, text)
	}
	if got := mail(t, b.alice.Owner.Home); !slices.Equal(got, []string{".: " + storedMail}) {
		t.Errorf("stored %q", got)
	}
	var errs bytes.Buffer
	stdin := io.MultiReader(strings.NewReader("Subject: half"), iotest.ErrReader(errors.New("the pipe broke")))
	if code := Run(t.Context(), nil, stdin, io.Discard, &errs, b.env); code != ExitTempFail || !strings.Contains(errs.String(), "the pipe broke") {
		t.Errorf("exit %d, %q", code, errs.String())
	}
	if got := len(mail(t, b.alice.Owner.Home)); got != 1 {
		t.Errorf("half a message is stored: %d", got)
	}
}

func TestCommandPassesConfigurationOptionsOn(t *testing.T) {
	b := newBench(t, maildir.Options{})
	var got []string
	b.env.Configure = func(_ context.Context, path string, ignore bool) (CommandOptions, error) {
		got = append(got, fmt.Sprintf("%s %v", path, ignore))
		return b.opts, nil
	}
	b.run("x", "-c", "/etc/x.toml")
	b.run("x", "-O")
	b.run("x", "--config", "/etc/y.toml")
	if !slices.Equal(got, []string{"/etc/x.toml false", " true", "/etc/y.toml false"}) {
		t.Errorf("%q", got)
	}
}

func TestCommandLogsTheSenderOfTheFromLineUnlessToldOtherwise(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "from=a@b.example"},
		{[]string{"-f", "c@d.example"}, "from=c@d.example"},
		{[]string{"-f", ""}, `from=""`},
	} {
		b := newBench(t, maildir.Options{})
		b.run("From a@b.example Thu Jan  1 00:00:00 1970\n"+testMail, c.args...)
		if !strings.Contains(b.log.String(), `msg="msgid=<1@example.net>: saved mail to INBOX" proto=lda user=alice `+c.want) {
			t.Errorf("%q: log %q", c.args, b.log.String())
		}
	}
}

func TestCommandUsesTheFolderOfTheDetail(t *testing.T) {
	for _, args := range [][]string{{"-r", "alice+Lists@example.org"}, {"-a", "alice+Lists@example.org"}, {"-d", "alice+Lists"}} {
		b := newBench(t, maildir.Options{})
		b.opts.Agent.DetailFolder = true
		store := b.opts.Agent.Stores.Store(b.alice.Owner, "~/Maildir")
		if err := errors.Join(store.Prepare(t.Context()), store.Create(t.Context(), "Lists")); err != nil {
			t.Fatal(err)
		}
		b.run("x", args...)
		if got := mail(t, b.alice.Owner.Home); !slices.Equal(got, []string{".Lists: x"}) {
			t.Errorf("%q: %q", args, got)
		}
	}
}

func TestCommandWarnsOfABrokenSenderAfterTheReason(t *testing.T) {
	b := newBench(t, maildir.Options{Quota: func(context.Context, asuser.Owner, string, int64) error { return maildir.ErrQuota }})
	var errs bytes.Buffer
	b.opts.Agent.Logger = logTo(&errs)
	Run(t.Context(), []string{"-e", "-f", "a b"}, strings.NewReader(testMail), io.Discard, &errs, b.env)
	if text := errs.String(); !strings.HasPrefix(text, "5.2.2 Mailbox is full\n") || !strings.Contains(text, "Broken address in -f parameter, using <> instead: a b") {
		t.Errorf("%q", text)
	}
}

func TestCommandHelp(t *testing.T) {
	var out, errs bytes.Buffer
	if code := Run(t.Context(), []string{"--help"}, nil, &out, &errs, Env{}); code != 0 || out.String() != usage || errs.Len() > 0 {
		t.Errorf("exit %d, %q, %q", code, out.String(), errs.String())
	}
	for line := range strings.Lines(usage) {
		if len(line) > 81 {
			t.Errorf("too wide: %q", line)
		}
	}
}

func TestCommandLeavesNoSpoolFile(t *testing.T) {
	b := newBench(t, maildir.Options{})
	b.env.SpoolDir = t.TempDir()
	if code, text := b.run(strings.Repeat("x", 2*spoolMemory)); code != 0 {
		t.Errorf("exit %d, %q", code, text)
	}
	if left, _ := os.ReadDir(b.env.SpoolDir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	b.env.SpoolDir = filepath.Join(b.env.SpoolDir, "none")
	if code, _ := b.run(strings.Repeat("x", 2*spoolMemory)); code != ExitTempFail {
		t.Errorf("exit %d without a spool directory", code)
	}
}
