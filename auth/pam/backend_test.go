//go:build cgo

package pam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	linuxpam "github.com/msteinert/pam/v2"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/auth/internal/backendtest"
)

const unixService = "auth required pam_unix.so nodelay\naccount required pam_unix.so\n"

// service makes a directory with one service file "test" and returns Options
// for it. Other users can read it.
func service(t testing.TB, text string) Options {
	t.Helper()
	dir, err := os.MkdirTemp("", "pam")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "test"), []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	return Options{Service: "test", ConfDir: dir}
}

func backend(t testing.TB, o Options) *Backend {
	t.Helper()
	if !linuxpam.CheckPamHasStartConfdir() {
		t.Skip("missing: pam_start_confdir (Linux-PAM 1.4)")
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// run calls one of the system's account tools. They lock the user database,
// which another test may hold.
func run(t testing.TB, stdin string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(args[0])
	if err != nil {
		t.Skipf("missing: %s", args[0])
	}
	for range 50 {
		cmd := exec.Command(path, args[1:]...)
		cmd.Stdin = strings.NewReader(stdin)
		var out []byte
		if out, err = cmd.CombinedOutput(); err == nil {
			return
		}
		if err = fmt.Errorf("%v: %w: %s", args, err, out); !strings.Contains(string(out), "lock") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal(err)
}

// newUser makes a system user for the test with the password "right"; each of
// more is a command with the user's name as its last word.
func newUser(t testing.TB, more ...[]string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to make system users")
	}
	name := fmt.Sprintf("msrvd%x", time.Now().UnixNano()&0xffffffffff)
	run(t, "", "useradd", "-M", "-d", "/home/"+name, "-s", "/usr/sbin/nologin", name)
	t.Cleanup(func() { run(t, "", "userdel", name) })
	run(t, name+":right\n", "chpasswd")
	for _, cmd := range more {
		run(t, "", append(cmd, name)...)
	}
	return name
}

var remote = netip.MustParseAddr("192.0.2.7")

func kindName(err error) string {
	if err == nil {
		return "ok"
	}
	return auth.AsError(err).Kind.String()
}

func TestVerifySystemUsers(t *testing.T) {
	b := backend(t, service(t, unixService))
	good := newUser(t)
	cases := []struct {
		name, user, password, want string
	}{
		{"right", good, "right", "ok"},
		{"wrong", good, "wrong", "refused"},
		{"empty", good, "", "refused"},
		{"longer than PAM takes", good, strings.Repeat("x", 512), "refused"},
		{"unknown", "no-such-user-here", "right", "refused"},
		{"locked", newUser(t, []string{"usermod", "-L"}), "right", "refused"},
		{"account expired", newUser(t, []string{"chage", "-E", "2020-01-01"}), "right", "expired"},
		{"account expired, wrong password", newUser(t, []string{"chage", "-E", "2020-01-01"}), "wrong", "refused"},
		{"password must be changed", newUser(t, []string{"chage", "-d", "0"}), "right", "expired"},
		{"password too old", newUser(t, []string{"chage", "-d", "2020-01-01", "-M", "1", "-I", "1"}), "right", "expired"},
		{"no password at all", newUser(t, []string{"passwd", "-d"}), "", "refused"},
		{"no password at all, some given", newUser(t, []string{"passwd", "-d"}), "x", "refused"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := b.Verify(t.Context(), c.user, c.password, remote); kindName(err) != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

func TestBackendKeepsThePromises(t *testing.T) {
	b := backend(t, service(t, unixService))
	backendtest.Run(t, b, newUser(t), "right")
	for range cap(b.workers) { // all places become free
		b.workers <- struct{}{}
	}
}

// The codes are those of Linux-PAM's own module for tests.
func TestCodesOfPAM(t *testing.T) {
	cases := []struct{ auth, acct, want string }{
		{"success", "success", "ok"},
		{"auth_err", "success", "refused"},
		{"user_unknown", "success", "refused"},
		{"maxtries", "success", "refused"},
		{"perm_denied", "success", "refused"},
		{"acct_expired", "success", "refused"},
		{"authinfo_unavail", "success", "unavailable"},
		{"cred_unavail", "success", "unavailable"},
		{"system_err", "success", "unavailable"},
		{"service_err", "success", "unavailable"},
		{"buf_err", "success", "unavailable"},
		{"success", "acct_expired", "expired"},
		{"success", "new_authtok_reqd", "expired"},
		{"success", "authtok_expired", "expired"},
		{"success", "perm_denied", "disabled"},
		{"success", "auth_err", "disabled"},
		{"success", "user_unknown", "disabled"},
		{"success", "authinfo_unavail", "unavailable"},
	}
	for _, c := range cases {
		t.Run(c.auth+" "+c.acct, func(t *testing.T) {
			b := backend(t, service(t, fmt.Sprintf("auth required pam_debug.so auth=%s\naccount required pam_debug.so acct=%s\n", c.auth, c.acct)))
			if err := b.Verify(t.Context(), "root", "x", remote); kindName(err) != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

func TestBrokenServiceIsUnavailable(t *testing.T) {
	b := backend(t, service(t, "auth required pam_no_such_module.so\naccount required pam_permit.so\n"))
	if err := b.Verify(t.Context(), "root", "x", remote); kindName(err) != "unavailable" {
		t.Errorf("no such module: %v", err)
	}
	o := service(t, unixService)
	o.Service = "absent"
	if err := backend(t, o).Verify(t.Context(), "root", "x", remote); kindName(err) != "unavailable" {
		t.Errorf("no service file: %v", err)
	}
	if _, err := New(Options{Service: "../../tmp/x"}); err == nil {
		t.Error("a service name led out of its directory")
	}
}

func TestModulesLearnUserAndRemoteHost(t *testing.T) {
	dir := t.TempDir()
	script, out := filepath.Join(dir, "script"), filepath.Join(dir, "out")
	text := fmt.Sprintf("#!/bin/sh\necho \"$PAM_USER $PAM_RHOST $PAM_SERVICE $PAM_TYPE\" >>%s\n", out)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	line := " required pam_exec.so quiet " + script + "\n"
	b := backend(t, service(t, "auth"+line+"account"+line+"session"+line))
	for _, ip := range []netip.Addr{remote, netip.MustParseAddr("::ffff:192.0.2.8"), netip.MustParseAddr("fe80::1%eth0"), {}} {
		if err := b.Verify(t.Context(), "root", "x", ip); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, ip := range []string{"192.0.2.7", "192.0.2.8", "fe80::1", ""} {
		fmt.Fprintf(&want, "root %s test auth\nroot %s test account\n", ip, ip)
	}
	if string(got) != want.String() {
		t.Errorf("got\n%swant\n%s", got, want.String())
	}
}

// oddModule builds testdata/pam_odd.c.
func oddModule(t *testing.T) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("missing: cc")
	}
	so := filepath.Join(t.TempDir(), "pam_odd.so")
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-o", so, "testdata/pam_odd.c", "-lpam").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return so
}

func TestOddModules(t *testing.T) {
	so := oddModule(t)
	cases := []struct{ name, args, want, text string }{
		{"renaming the user is refused", "rename=root", "refused", `to "root"`},
		{"a visible prompt has no answer", "ask=OTP", "unavailable", "Conversation error"},
		{"what a module says is in the log", "say=Too-late", "refused", "Too-late"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := backend(t, service(t, "auth required "+so+" "+c.args+"\naccount required pam_permit.so\n"))
			err := b.Verify(t.Context(), "alice", "x", remote)
			if kindName(err) != c.want || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestPAMDoesNotSleepAfterFailures would take minutes if it did.
func TestPAMDoesNotSleepAfterFailures(t *testing.T) {
	b := backend(t, service(t, "auth optional pam_faildelay.so delay=600000000\nauth required pam_deny.so\naccount required pam_permit.so\n"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := b.Verify(ctx, "root", "x", remote); kindName(err) != "refused" {
		t.Errorf("err = %v", err)
	}
}

func TestHungModuleKeepsOnlyItsWorker(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	run(t, "", "mkfifo", fifo)
	o := service(t, "auth required pam_exec.so quiet /bin/cat "+fifo+"\naccount required pam_permit.so\n")
	o.Workers, o.Wait = 1, 10*time.Millisecond
	b := backend(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.Verify(ctx, "root", "x", remote); kindName(err) != "unavailable" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hung: %v", err)
	}
	if err := b.Verify(t.Context(), "root", "x", remote); kindName(err) != "unavailable" || !strings.Contains(err.Error(), "busy") {
		t.Errorf("the next: %v", err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	b.o.Wait = time.Hour
	if err := b.Verify(gone, "root", "x", remote); kindName(err) != "unavailable" {
		t.Errorf("a client that left: %v", err)
	}
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // the module ends
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	b.workers <- struct{}{} // its place is free again
	<-b.workers
}

func TestLookup(t *testing.T) {
	b := backend(t, service(t, unixService))
	name := newUser(t)
	a, err := b.Lookup(t.Context(), name)
	if err != nil || a.Name != name || a.Owner.Name != name || a.Owner.UID == 0 || a.Owner.Home != "/home/"+name || a.Self {
		t.Errorf("%+v, %v", a, err)
	}
	for _, name := range []string{"no-such-user-here", "", strings.Repeat("x", 5000)} {
		if _, err := b.Lookup(t.Context(), name); !errors.Is(err, auth.ErrNoUser) {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range maxLookups {
		b.lookups <- struct{}{}
	}
	if _, err := b.Lookup(ctx, name); kindName(err) != "unavailable" {
		t.Errorf("err = %v", err)
	}
}

func TestAuthenticatorOverPAM(t *testing.T) {
	name := newUser(t)
	a, err := auth.New(auth.Options{Backend: backend(t, service(t, unixService)), Domains: []string{"svc.plus"}, FailureDelay: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ login, password, want string }{
		{name, "right", "ok"}, {name + "@svc.plus", "right", "ok"}, {name + "@example.org", "right", "refused"},
		{strings.ToUpper(name), "right", "ok"}, {name, "wrong", "refused"}, {"root", "x", "refused"}, {"daemon", "x", "refused"},
	} {
		got, err := a.Authenticate(t.Context(), auth.Credentials{Login: c.login, Password: c.password, Service: "test"})
		if kindName(err) != c.want || err == nil && got.Name != name {
			t.Errorf("%s %s: %+v %v", c.login, c.password, got, err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	be := backend(b, service(b, unixService))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := be.Lookup(b.Context(), "nobody"); err != nil {
			b.Fatal(err)
		}
	}
}
