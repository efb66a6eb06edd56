package lda

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/control"
	"svc.plus/mailsrvd/maildir"
)

// mailGroup is the group that the tests' socket is open to.
const mailGroup = 20008

// daemon serves the hand-over for agent a and returns its socket.
func daemon(t *testing.T, a *Agent, o HandoverOptions, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(publicDir(t), "lda.sock")
	gid := -1
	if os.Geteuid() == 0 {
		gid = mailGroup
	}
	l, err := control.Listen(path, mode, gid)
	if err != nil {
		t.Fatal(err)
	}
	s := control.New(control.Options{Handlers: map[string]control.Handler{HandoverCall: a.Handover(o)}})
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Shutdown(context.Background()), <-done); err != nil {
			t.Error(err)
		}
	})
	return path
}

func TestHandoverReturnsTheDaemonsExitCode(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		exit int
		text string
	}{
		{"stored", []string{"-d", "alice"}, 0, ""},
		{"by address", []string{"-d", "alice+x@example.org", "-f", "eve@example.net"}, 0, ""},
		{"no such user", []string{"-d", "nobody-here"}, 67, "no such user"},
		{"no such user, reason", []string{"-d", "nobody-here", "-e"}, 67, "5.1.1 "},
		{"lookup broken", []string{"-d", "broken", "-e"}, 75, "4.3.0 "},
		{"full", []string{"-d", "bob", "-e"}, 77, "5.2.2 Mailbox is full\n"},
		{"full, passing", []string{"-d", "bob", "-e", "-o", "quota_full_tempfail=yes"}, 75, "4.2.2 Mailbox is full\n"},
		{"folder", []string{"-d", "alice", "-m", "None"}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			agent, accounts := deliverAgent(t, maildir.Options{Quota: func(_ context.Context, o asuser.Owner, _ string, _ int64) error {
				if o.Name == "bob" {
					return maildir.ErrQuota
				}
				return nil
			}})
			b := newBench(t, maildir.Options{})
			b.env.UID = 20009
			b.opts.Agent.Accounts = fakeAccounts{} // only the daemon knows
			b.opts.Socket = daemon(t, agent, HandoverOptions{Group: -1}, 0o600)
			code, text := b.run(testMail, c.args...)
			if code != c.exit || !strings.Contains(text, c.text) || (c.exit == 0) != (text == "") {
				t.Errorf("exit %d, %q", code, text)
			}
			got := mail(t, accounts["alice"].Owner.Home)
			if c.exit == 0 && !slices.Equal(got, []string{".: " + storedMail}) {
				t.Errorf("stored %q", got)
			}
			if c.exit != 0 && len(got) > 0 {
				t.Errorf("stored although it failed: %q", got)
			}
		})
	}
}

func TestHandoverPassesFolderSettings(t *testing.T) {
	agent, accounts := deliverAgent(t, maildir.Options{})
	b := newBench(t, maildir.Options{})
	b.env.UID = 20009
	b.opts.Agent.Accounts = fakeAccounts{}
	b.opts.Socket = daemon(t, agent, HandoverOptions{Group: -1}, 0o600)
	if code, text := b.run("x", "-d", "alice", "-m", "New", "-o", "lda_mailbox_autocreate=yes"); code != 0 {
		t.Fatalf("exit %d, %q", code, text)
	}
	if got := mail(t, accounts["alice"].Owner.Home); !slices.Equal(got, []string{".New: x"}) {
		t.Errorf("stored %q", got)
	}
	if !strings.Contains(b.log.String(), "saved mail to New") {
		t.Errorf("log: %q", b.log.String())
	}
}

func TestHandoverRefusesWhatItCannotTake(t *testing.T) {
	agent, accounts := deliverAgent(t, maildir.Options{})
	path := daemon(t, agent, HandoverOptions{Group: -1, Limit: 100, SpoolDir: t.TempDir()}, 0o600)
	call := func(args any, body io.Reader) (handoverReply, error) {
		var reply handoverReply
		err := control.Do(t.Context(), path, control.Request{Name: HandoverCall, Args: args, Body: body}, &reply)
		return reply, err
	}
	if r, err := call(handover{User: "alice"}, strings.NewReader(strings.Repeat("x", 101))); err != nil || r.Exit != ExitNoPerm || r.Code != 552 {
		t.Errorf("too big: %+v, %v", r, err)
	}
	if _, err := call(map[string]string{"user": "alice", "root": "yes"}, strings.NewReader("x")); err == nil {
		t.Error("an unknown argument was accepted")
	}
	boom := errors.New("boom")
	if _, err := call(handover{User: "alice"}, io.MultiReader(strings.NewReader("half"), iotest.ErrReader(boom))); !errors.Is(err, boom) {
		t.Errorf("broken body: %v", err)
	}
	if got := mail(t, accounts["alice"].Owner.Home); len(got) > 0 {
		t.Errorf("stored: %q", got)
	}
}

func TestMayDeliver(t *testing.T) {
	for _, c := range []struct {
		peer  control.Peer
		group int
		want  bool
	}{
		{control.Peer{UID: 0, GID: 0}, 8, true},
		{control.Peer{UID: 20001, GID: 8}, 8, true},
		{control.Peer{UID: 20001, GID: 20001, Groups: []int{4, 8}}, 8, true},
		{control.Peer{UID: 20001, GID: 20001, Groups: []int{4}}, 8, false},
		{control.Peer{UID: 20001, GID: 8}, -1, false},
		{control.Peer{UID: os.Geteuid()}, -1, true},
	} {
		if got := mayDeliver(c.peer, c.group); got != c.want {
			t.Errorf("%+v, group %d: %v", c.peer, c.group, got)
		}
	}
}

// command runs this test binary as `mailsrvd lda` in a process of its own.
type command struct {
	binary, socket, accounts string
}

func newCommand(t *testing.T, socket string, accounts fakeAccounts) command {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	c := command{binary: filepath.Join(publicDir(t), "lda"), socket: socket}
	if err := os.WriteFile(c.binary, b, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		c.accounts += fmt.Sprintf("%s:%d:%s ", a.Name, a.Owner.UID, a.Owner.Home)
	}
	return c
}

// run runs it with real ids and returns its exit code and stderr.
func (c command) run(t *testing.T, uid, gid int, groups []int, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command(c.binary, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"LDA_TEST_COMMAND=1", "LDA_TEST_ACCOUNTS=" + c.accounts, "LDA_TEST_SOCKET=" + c.socket}
	cmd.Stdin = strings.NewReader(testMail)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	credential := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	for _, g := range groups {
		credential.Groups = append(credential.Groups, uint32(g))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), errs.String()
}

func TestWhoMayDeliverToWhom(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name     string
		uid, gid int
		groups   []int
		mode     os.FileMode // of the socket; 0 is no daemon
		exit     int
	}{
		{"root becomes the user, without a daemon", 0, 0, []int{0, 4}, 0, 0},
		{"the user himself, without a daemon", 20001, 20001, nil, 0, 0},
		{"member of mail by primary group", 20009, mailGroup, nil, 0o660, 0},
		{"member of mail by supplementary group", 20009, 20009, []int{mailGroup}, 0o660, 0},
		{"member of mail, daemon away", 20009, mailGroup, nil, 0, 75},
		{"stranger, closed socket", 20009, 20009, []int{4}, 0o660, 77},
		{"stranger, open socket", 20009, 20009, []int{4}, 0o666, 77},
	} {
		t.Run(c.name, func(t *testing.T) {
			agent, accounts := deliverAgent(t, maildir.Options{})
			socket := filepath.Join(publicDir(t), "none")
			if c.mode != 0 {
				socket = daemon(t, agent, HandoverOptions{Group: mailGroup}, c.mode)
			}
			cmd := newCommand(t, socket, accounts)
			code, text := cmd.run(t, c.uid, c.gid, c.groups, "-d", "alice")
			if code != c.exit {
				t.Errorf("exit %d, %q", code, text)
			}
			home := accounts["alice"].Owner.Home
			got := mail(t, home)
			if c.exit != 0 {
				if len(got) > 0 {
					t.Errorf("stored %q", got)
				}
				return
			}
			if !slices.Equal(got, []string{".: " + storedMail}) {
				t.Fatalf("stored %q", got)
			}
			files, _ := filepath.Glob(filepath.Join(home, "Maildir/new/*"))
			fi, err := os.Stat(files[0])
			if err != nil {
				t.Fatal(err)
			}
			if st := fi.Sys().(*syscall.Stat_t); st.Uid != 20001 || st.Gid != 20001 {
				t.Errorf("the message is of %d:%d", st.Uid, st.Gid)
			}
		})
	}
}

func TestTheUserReachesTheDaemonForHerselfOnly(t *testing.T) {
	needRoot(t)
	agent, _ := deliverAgent(t, maildir.Options{})
	socket := daemon(t, agent, HandoverOptions{Group: mailGroup}, 0o666)
	cmd := newCommand(t, socket, fakeAccounts{}) // the command finds no accounts, so all goes to the daemon
	if code, text := cmd.run(t, 20001, 20001, nil, "-d", "alice"); code != 0 {
		t.Errorf("to herself: exit %d, %q", code, text)
	}
	one, textOne := cmd.run(t, 20001, 20001, nil, "-d", "bob")
	two, textTwo := cmd.run(t, 20001, 20001, nil, "-d", "nobody-here")
	if one != 77 || two != 77 || strings.ReplaceAll(textOne, "bob", "nobody-here") != textTwo {
		t.Errorf("to others: exit %d, %q; to nobody: exit %d, %q", one, textOne, two, textTwo)
	}
}

func TestRootDropsAllRightsBeforeItDelivers(t *testing.T) {
	needRoot(t)
	_, accounts := deliverAgent(t, maildir.Options{})
	alice, bob := accounts["alice"].Owner, accounts["bob"].Owner
	// bob's home is shut to alice: with a link there root would deliver, alice
	// cannot.
	if err := os.Symlink(bob.Home, filepath.Join(alice.Home, "Maildir")); err != nil {
		t.Fatal(err)
	}
	cmd := newCommand(t, "", accounts)
	if code, text := cmd.run(t, 0, 0, []int{0, bob.GID}, "-d", "alice"); code != ExitTempFail {
		t.Errorf("exit %d, %q", code, text)
	}
	if left, _ := os.ReadDir(bob.Home); len(left) > 0 {
		t.Errorf("bob's home has %v", left)
	}
}

func TestBecomeRefusesRoot(t *testing.T) {
	for _, o := range []asuser.Owner{{Name: "root"}, {Name: "x", UID: 20001}, {Name: "x", GID: 20001}, {Name: "x", UID: -1, GID: -1}} {
		if err := becomeUser(o); !errors.Is(err, asuser.ErrRoot) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
