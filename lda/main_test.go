package lda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/program"
	"svc.plus/mailsrvd/maildir"
)

// TestMain lets the test binary be the command itself, for the tests that need
// a process of its own.
func TestMain(m *testing.M) {
	if program.IsHelper() {
		program.Help()
		os.Exit(0)
	}
	if os.Getenv("LDA_TEST_COMMAND") != "" {
		os.Exit(commandMain())
	}
	os.Exit(m.Run())
}

// commandMain is `mailsrvd lda` with accounts and socket from the environment.
func commandMain() int {
	accounts := fakeAccounts{}
	for line := range strings.FieldsSeq(os.Getenv("LDA_TEST_ACCOUNTS")) {
		f := strings.Split(line, ":")
		uid, _ := strconv.Atoi(f[1])
		accounts[f[0]] = auth.Account{Name: f[0], Owner: asuser.Owner{Name: f[0], UID: uid, GID: uid, Home: f[2]}}
	}
	return Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, Env{
		UID: os.Geteuid(), GID: os.Getegid(), Getenv: os.Getenv,
		Configure: func(context.Context, string, bool) (CommandOptions, error) {
			return CommandOptions{
				Agent:  Options{Accounts: accounts, Stores: maildir.NewStores(maildir.Options{NoInotify: true})},
				Socket: os.Getenv("LDA_TEST_SOCKET"),
			}, nil
		},
	})
}

// rewrite replaces a file's text.
func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// needRoot skips where identities cannot be changed; CI runs as root.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to act as several users")
	}
}

// publicDir is a directory that other users may pass through, which t.TempDir
// is not.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lda")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newAccount makes an account with a private home. As root it is uid's, else
// our own.
func newAccount(t *testing.T, name string, uid int) auth.Account {
	t.Helper()
	home := filepath.Join(publicDir(t), name)
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return auth.Account{Name: name, Owner: asuser.Self(name, home)}
	}
	if err := os.Chown(home, uid, uid); err != nil {
		t.Fatal(err)
	}
	return auth.Account{Name: name, Owner: asuser.Owner{Name: name, UID: uid, GID: uid, Home: home}}
}

// newStores makes Stores that end with the test.
func newStores(t *testing.T, o maildir.Options) *maildir.Stores {
	t.Helper()
	s := maildir.NewStores(o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// mail reads all messages below a home: "folder: text", sorted.
func mail(t *testing.T, home string) []string {
	t.Helper()
	var all []string
	root := filepath.Join(home, "Maildir")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == root {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		dir, sub := filepath.Split(filepath.Dir(path))
		if sub != "cur" && sub != "new" {
			return nil
		}
		b, err := os.ReadFile(path)
		folder, _ := filepath.Rel(root, dir)
		all = append(all, fmt.Sprintf("%s: %s", folder, b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// content makes a message.
func content(text string) *message.Content { return message.FromBytes([]byte(text)) }

// logTo is a logger that writes bare messages with their attributes.
func logTo(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "dur" {
			return slog.Attr{}
		}
		return a
	}}))
}
