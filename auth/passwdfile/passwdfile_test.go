package passwdfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/auth/internal/backendtest"
)

// write puts text into a passwd-file. It replaces the file, as editors do.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, text string) *Backend {
	t.Helper()
	path := filepath.Join(t.TempDir(), "passwd")
	write(t, path, text)
	b, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func kind(err error) string {
	if err == nil {
		return "ok"
	}
	return auth.AsError(err).Kind.String()
}

const sample = "# accounts\r\n" +
	"alice:{PLAIN}wonder:1000:1001:Alice,,,:/home/alice:/bin/sh:userdb_mail=maildir:~/Mail\n" +
	"\n" +
	"bob:{PLAIN}b:::::/nowhere\n" +
	"carol:*:1002:1002::/home/carol\n" +
	"dave:{PLAIN}d:1003:1003::/home/dave::nologin userdb_mail=/var/mail/dave\n" +
	"erin::1004:1004::/home/erin\n"

func TestVerifyAndLookup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	write(t, path, sample)
	b, err := Open(Options{Path: path, Homes: "/srv/mail"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, password, want string }{
		{"alice", "wonder", "ok"}, {"alice", "Wonder", "refused"}, {"alice", "", "refused"}, {"Alice", "wonder", "refused"},
		{"bob", "b", "ok"}, {"carol", "*", "refused"}, {"carol", "", "refused"}, {"erin", "", "refused"},
		{"dave", "d", "disabled"}, {"dave", "x", "refused"}, {"nobody", "x", "refused"}, {"", "", "refused"}, {"# accounts", "", "refused"},
	} {
		if err := b.Verify(t.Context(), c.name, c.password, netip.Addr{}); kind(err) != c.want {
			t.Errorf("%s %s: %v", c.name, c.password, err)
		}
	}
	for _, want := range []struct {
		name, home, maildir string
		uid, gid            int
		self                bool
	}{
		{"alice", "/home/alice", "~/Mail", 1000, 1001, false},
		{"bob", "/srv/mail/bob", "", os.Geteuid(), os.Getegid(), true},
		{"carol", "/home/carol", "", 1002, 1002, false},
		{"dave", "/home/dave", "/var/mail/dave", 1003, 1003, false},
	} {
		a, err := b.Lookup(t.Context(), want.name)
		if err != nil || a.Name != want.name || a.Owner.Name != want.name || a.Owner.Home != want.home || a.Maildir != want.maildir ||
			a.Owner.UID != want.uid || a.Owner.GID != want.gid || a.Self != want.self {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if _, err := b.Lookup(t.Context(), "nobody"); !errors.Is(err, auth.ErrNoUser) {
		t.Errorf("err = %v", err)
	}
}

func TestBackendKeepsThePromises(t *testing.T) {
	field, err := HashFast("right")
	if err != nil {
		t.Fatal(err)
	}
	backendtest.Run(t, open(t, "alice:"+field+":1000:1000::/home/alice\n"), "alice", "right")
	backendtest.Run(t, open(t, "bob:{PLAIN}right::::/srv/bob\n"), "bob", "right")
}

func TestAllProblemsAreToldByLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	write(t, path, "good:{PLAIN}x:1000:1000::/home/good\n"+
		"bad:{ROT13}secret:1000:1000::/home/bad\n"+
		":{PLAIN}x:1000:1000::/h\n"+
		"a@b:{PLAIN}x:1000:1000::/h\n"+
		"a/b:{PLAIN}x:1000:1000::/h\n"+
		"one:{PLAIN}x:1000:::/h\n"+
		"two:{PLAIN}x:-1:1000::/h\n"+
		"big:{PLAIN}x:4294967295:1000::/h\n"+
		"wheel:{PLAIN}x:1000:0::/h\n"+
		"homeless:{PLAIN}x:1000:1000::\n"+
		"relative:{PLAIN}x:1000:1000::home\n"+
		"good:{PLAIN}x:1000:1000::/home/good\n"+
		"place:{PLAIN}x:1000:1000::/h::userdb_mail=mbox:~/mail\n"+
		"short\n")
	err := Options{Path: path}.Check(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, want := range []string{"2: password", "3: the user name is empty", "4: ", "5: ", "6: uid", "7: uid", "8: uid", "9: uid 1000, gid 0", "10: ", "11: ", `12: "good" stands on line 1`, "13: userdb_mail", "14: the home"} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], path+":"+want) {
			t.Errorf("problem %d: want %q in\n%s", i, want, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("a password is shown: %v", err)
	}
}

func TestRootInTheFileIsRefusedUnlessWeAreRoot(t *testing.T) {
	p := parse("root:{PLAIN}x:0:0::/root\n", "")
	if got, want := len(p.problems) > 0, os.Geteuid() != 0; got != want {
		t.Errorf("problems %q", p.problems)
	}
}

func TestWarnings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	write(t, path, "a:{PLAIN}x:::::/h\nb:*:::::/h\nc:*:1:1::/h::allow_nets=10.0.0.0/8 userdb_quota_storage_size=1G proxy=y userdb_mail=maildir:~/M:LAYOUT=fs\n")
	w := Options{Path: path, Homes: "/srv"}.Warnings()
	want := []string{":1: password: PLAIN", ":3: allow_nets", ":3: userdb_quota_storage_size", `:3: extra field "proxy"`, ":3: userdb_mail: the parameters"}
	if len(w) != len(want) {
		t.Fatalf("%q", w)
	}
	for i := range want {
		if !strings.HasPrefix(w[i], path+want[i]) {
			t.Errorf("%q, want %q", w[i], want[i])
		}
	}
}

func TestFileIsReadAgainWhenItChanges(t *testing.T) {
	var log bytes.Buffer
	path := filepath.Join(t.TempDir(), "passwd")
	write(t, path, "a:{PLAIN}1:::::/h\n")
	b, err := Open(Options{Path: path, Homes: "/srv", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	check := func(when, password, want string) {
		t.Helper()
		if err := b.Verify(t.Context(), "a", password, netip.Addr{}); kind(err) != want {
			t.Errorf("%s: %v, want %s", when, err, want)
		}
	}
	check("at first", "1", "ok")
	write(t, path, "a:{PLAIN}2:::::/h\n")
	check("changed", "2", "ok")
	check("changed", "1", "refused")
	write(t, path, "a:{ROT13}3:::::/h\n")
	check("a mistake keeps the old accounts", "2", "ok")
	check("still", "2", "ok")
	if n := strings.Count(log.String(), "passwd-file refused"); n != 1 {
		t.Errorf("the mistake was logged %d times", n)
	}
	os.Remove(path)
	check("no file keeps the old accounts", "2", "ok")
	check("still", "2", "ok")
	write(t, path, "a:{PLAIN}4:::::/h\n")
	check("mended", "4", "ok")
	if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
		t.Errorf("logged %d errors:\n%s", n, &log)
	}
}

func TestReloadsRunBesideLogins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	write(t, path, "a:{PLAIN}x:::::/h\n")
	b, err := Open(Options{Path: path, Homes: "/srv"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if err := b.Verify(t.Context(), "a", "x", netip.Addr{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 50 {
		write(t, path, fmt.Sprintf("a:{PLAIN}x:::::/h\nb%d:*:::::/h\n", i))
	}
	wg.Wait()
}

func TestOpenTellsWhatIsWrong(t *testing.T) {
	if _, err := Open(Options{Path: "/no/such/file"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
	if _, err := Open(Options{Path: t.TempDir()}); err == nil {
		t.Error("a directory was opened")
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := errors.Join(os.WriteFile(big, nil, 0o600), os.Truncate(big, maxFile+1)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Path: big}); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("err = %v", err)
	}
}

func TestVerifyWaitsNoLongerThanItsContext(t *testing.T) {
	b := open(t, "a:{PLAIN}x:1:1::/h\n")
	for range cap(b.slots) {
		b.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Verify(ctx, "a", "x", netip.Addr{}); kind(err) != "unavailable" {
		t.Errorf("err = %v", err)
	}
}

func TestEntryStringIsReadAgain(t *testing.T) {
	for _, e := range []Entry{
		{Name: "a", Password: "{PLAIN}x", UID: -1, GID: -1, Home: "/srv/a", Line: 1},
		{Name: "b", Password: "*", UID: 1000, GID: 1001, Gecos: "Bob", Home: "/home/b", Maildir: "~/Mail", NoLogin: true, Line: 1},
	} {
		p := parse(e.String()+"\n", "")
		got := p.users[e.Name]
		got.hash = nil
		if got != e || p.problems != nil {
			t.Errorf("%s became %+v %q", e, got, p.problems)
		}
	}
}

func TestAuthenticatorOverFile(t *testing.T) {
	b := open(t, "a:{PLAIN}x::::/h\nb:{PLAIN}x:999:999::/h\nc:{PLAIN}x:1000:1000::/h\n")
	a, err := auth.New(auth.Options{Backend: b, FailureDelay: -1})
	if err != nil {
		t.Fatal(err)
	}
	for login, want := range map[string]string{"a": "ok", "b": "refused", "c": "ok"} {
		if _, err := a.Authenticate(t.Context(), auth.Credentials{Login: login, Password: "x"}); kind(err) != want {
			t.Errorf("%s: %v", login, err)
		}
	}
}

// FuzzParse wants that each line is an account or a problem, and that accounts
// without problems survive writing and reading.
func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Add("a:b\n::\n\x00:{PLAIN}x:1:1::/\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		p := parse(text, "/srv")
		if len(p.problems) > 0 {
			return
		}
		names := make([]string, 0, len(p.users))
		for name := range p.users {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			e := p.users[name]
			if strings.ContainsAny(name, "/\x00") || name == ".." || !strings.HasPrefix(e.Home, "/") {
				t.Errorf("%+v", e)
			}
			if strings.ContainsAny(e.String(), "\r\n") {
				continue // a lone CR inside a field stays one
			}
			again := parse(e.String(), "").users[name]
			if again.UID != e.UID || again.Home != e.Home || again.Maildir != e.Maildir || again.Password != e.Password {
				t.Errorf("%q: %+v became %+v", e.String(), e, again)
			}
		}
	})
}
