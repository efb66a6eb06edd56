package asuser

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
)

// TestMain lets the test binary play the daemon that root starts: it turns
// itself into uid 20001, and the new image shows its identity.
func TestMain(m *testing.M) {
	if os.Getenv("ASUSER_TEST_REEXEC") != "" {
		err := reexec(Target{Name: "test", UID: 20001, GID: 20002, Groups: []int{20003}}, "/bin/cat", []string{"cat", "/proc/self/status"}, nil)
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if who := os.Getenv("ASUSER_TEST_START"); who != "" {
		if err := playStart(who); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// playStart lets the test binary call Start: as a daemon with its capabilities, or
// as somebody without any.
func playStart(who string) error {
	switch who {
	case "daemon":
		os.Setenv("ASUSER_TEST_START", "started")
		return reexec(Target{Name: "test", UID: 20001, GID: 20002, Groups: []int{20003}}, "/proc/self/exe", os.Args, os.Environ())
	case "nobody special":
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(20002), syscall.Setuid(20001)); err != nil {
			return err
		}
	}
	cmd := exec.Command("/bin/cat", "/proc/self/status")
	cmd.Stdout = os.Stdout
	if err := Start(Owner{Name: "other", UID: 20011, GID: 20012}, cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

func TestReexecKeepsThreeCapabilitiesAndNothingElse(t *testing.T) {
	needRoot(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ASUSER_TEST_REEXEC=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	for _, want := range []string{
		`Uid:\s+20001\s+20001\s+20001\s+20001\n`, `Gid:\s+20002\s+20002\s+20002\s+20002\n`, `Groups:\s+20003 \n`,
		`CapInh:\s+0+4c0\n`, `CapPrm:\s+0+4c0\n`, `CapEff:\s+0+4c0\n`, `CapBnd:\s+0+4c0\n`, `CapAmb:\s+0+4c0\n`, `NoNewPrivs:\s+1\n`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("no %s in:\n%s", want, out)
		}
	}
}

func TestLookupTarget(t *testing.T) {
	if _, err := LookupTarget("root"); !errors.Is(err, ErrRoot) {
		t.Errorf("root: %v", err)
	}
	if _, err := LookupTarget("no-such-user-here"); err == nil {
		t.Error("an unknown user was found")
	}
	got, err := LookupTarget("daemon")
	if err != nil {
		t.Skip("missing: the system user daemon")
	}
	if got.UID == 0 || got.GID == 0 || len(got.Groups) == 0 {
		t.Errorf("%+v", got)
	}
}
