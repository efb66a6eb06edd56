package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/asuser"
)

func TestMain(m *testing.M) {
	if IsHelper() {
		Help()
		return
	}
	os.Exit(m.Run())
}

// owner is another user where we may become one, else ourselves.
func owner(t *testing.T) asuser.Owner {
	if os.Geteuid() == 0 {
		return asuser.Owner{Name: "test", UID: 20031, GID: 20032, Home: "/"}
	}
	t.Log("not root: the program runs as ourselves")
	return asuser.Self("test", "/")
}

// TestRunPassesNoInheritedFileOn: files that we were started with, and that nobody
// has marked, stay with us.
func TestRunPassesNoInheritedFileOn(t *testing.T) {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0) // not to be closed on exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	got, err := Run(t.Context(), shell(t, fmt.Sprintf("[ ! -e /proc/$$/fd/%d ]", fd)))
	if err != nil || got.Exit != 0 {
		t.Errorf("%d is open: %+v, %v", fd, got, err)
	}
}

// shell is a command that runs a script; only the tests use a shell.
func shell(t *testing.T, script string) Command {
	return Command{Owner: owner(t), Dir: "/", Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "SENDER=a@b.example"}, Stdin: strings.NewReader("Subject: x\n\nbody\n")}
}

func TestRunTellsHowAProgramEnded(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		want         Outcome
	}{
		{"success", "exit 0", Outcome{}},
		{"input", "cat", Outcome{Output: "Subject: x\n\nbody\n"}},
		{"environment", `echo "$SENDER ${HOME-none} $PWD"`, Outcome{Output: "a@b.example none /\n"}},
		{"exit code", "echo no >&2; exit 67", Outcome{Exit: 67, Output: "no\n"}},
		{"both outputs", "echo one; echo two >&2; exit 1", Outcome{Exit: 1, Output: "one\ntwo\n"}},
		{"signal", "kill -TERM $$", Outcome{Signal: syscall.SIGTERM}},
		{"killed by itself", "kill -KILL $$", Outcome{Signal: syscall.SIGKILL}},
		{"no file of ours", "for n in 2 3 4 5 6 7 8 9; do [ ! -e /proc/$$/fd/$n ] || echo $n; done", Outcome{Output: "2\n"}},
		{"a session of its own", `[ "$(cut -d' ' -f6 /proc/$$/stat)" = $$ ] && umask`, Outcome{Output: "0077\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Run(t.Context(), shell(t, tt.script))
			if err != nil || got != tt.want {
				t.Errorf("%+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

// TestRunLeavesNoRight: identity, capabilities and privileges as the kernel shows
// them. As root this is what a program gets from the daemon.
func TestRunLeavesNoRight(t *testing.T) {
	o := owner(t)
	c := shell(t, "cat /proc/$$/status")
	got, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	id := func(n int) string { return strings.Repeat(`\s+`+strconv.Itoa(n), 4) + `\n` }
	want := []string{"Uid:" + id(o.UID), "Gid:" + id(o.GID), `CapPrm:\s+0+\n`, `CapEff:\s+0+\n`, `CapAmb:\s+0+\n`, `NoNewPrivs:\s+1\n`}
	if os.Geteuid() == 0 {
		want = append(want, `Groups:\s*\n`)
	}
	for _, w := range want {
		if !regexp.MustCompile(w).MatchString(got.Output) {
			t.Errorf("no %s in\n%s", w, got.Output)
		}
	}
}

func TestRunGivesNoProgramARight(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing: root, whose files a program must not read")
	}
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Run(t.Context(), shell(t, "cat "+secret+"; cat /etc/shadow; exit 0"))
	if err != nil || strings.Count(got.Output, "Permission denied") != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRunRefusesRoot(t *testing.T) {
	c := shell(t, "id")
	for _, o := range []asuser.Owner{{Name: "root"}, {Name: "a", UID: 20031}, {Name: "b", GID: 20031}} {
		c.Owner = o
		if got, err := Run(t.Context(), c); !errors.Is(err, asuser.ErrRoot) {
			t.Errorf("%+v: %+v, %v", o, got, err)
		}
	}
}

func TestRunKillsWhatTakesTooLong(t *testing.T) {
	for name, script := range map[string]string{
		"sleeping":          "echo $$; sleep 1000",
		"deaf":              "trap '' TERM INT HUP; echo $$; while :; do sleep 1; done",
		"with children":     "sleep 1000 & echo $$; wait",
		"reading no input":  "echo $$; exec sleep 1000",
		"never ending text": "echo $$; exec yes",
	} {
		t.Run(name, func(t *testing.T) {
			c := shell(t, script)
			c.Stdin = strings.NewReader(strings.Repeat("0123456789abcde\n", 1<<16)) // more than a pipe takes
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if got, err := Run(ctx, c); !errors.Is(err, ErrTime) || errors.Is(err, errStuck) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// TestRunLeavesNothingBehind: what a program has put into the background ends with
// it, and does not keep us waiting.
func TestRunLeavesNothingBehind(t *testing.T) {
	got, err := Run(t.Context(), shell(t, "sleep 1000 & echo $!; exit 3"))
	if err != nil || got.Exit != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(got.Output))
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if err = unix.Kill(pid, 0); err == unix.ESRCH || zombie(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d is still there: %v", pid, err)
}

// zombie reports whether a process has ended and waits for init to hear of it;
// some containers have an init that never does.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(b), ") Z ")
}

func TestRunBoundsOutput(t *testing.T) {
	got, err := Run(t.Context(), shell(t, "head -c 1000000 /dev/zero | tr '\\0' x; exit 65"))
	if err != nil || got.Exit != 65 || got.Output != strings.Repeat("x", MaxOutput) {
		t.Errorf("exit %d, %d bytes, %v", got.Exit, len(got.Output), err)
	}
}

func TestRunToleratesAProgramThatReadsNothing(t *testing.T) {
	c := shell(t, "exit 0")
	c.Stdin = strings.NewReader(strings.Repeat("x", 1<<20))
	if got, err := Run(t.Context(), c); err != nil || got != (Outcome{}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRunOfABrokenProgram(t *testing.T) {
	dir, err := os.MkdirTemp("", "program") // t.TempDir is for ourselves alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("#!/nowhere/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/nowhere/x": "no such file", "/etc/passwd": "permission denied", plain: "no such file"} {
		c := shell(t, "")
		c.Args = []string{path}
		if got, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v", path, got, err)
		}
	}
}

func TestRunStopsForABrokenMessage(t *testing.T) {
	c := shell(t, "cat; exit 0")
	c.Stdin = io.MultiReader(strings.NewReader("half"), broken{})
	if got, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "the disk broke") {
		t.Errorf("%+v, %v", got, err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the disk broke") }

// TestHelperWantsNothingToSpare: the helper itself refuses to go on with more than
// the named identity.
func TestHelperWantsNothingToSpare(t *testing.T) {
	for _, args := range [][]string{nil, {"x", "y", "z"}, {"0", "0", "/bin/true"}, {"20031", "20032", "/bin/true"}} {
		if cmd, err := confine(args); err == nil {
			t.Errorf("%q: %v", args, cmd)
		}
	}
}
