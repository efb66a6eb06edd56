package asuser

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestStartPassesNoCapabilityOn: the daemon has CAP_SETUID in its ambient set,
// which an exec does not take away.
func TestStartPassesNoCapabilityOn(t *testing.T) {
	needRoot(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ASUSER_TEST_START=daemon")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`Uid:\s+20011\s+20011\s+20011\s+20011\n`, `Gid:\s+20012\s+20012\s+20012\s+20012\n`, `Groups:\s*\n`,
		`CapPrm:\s+0+\n`, `CapEff:\s+0+\n`, `CapAmb:\s+0+\n`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("no %s in:\n%s", want, out)
		}
	}
}

func TestStartRefusesRootAndWhatItMayNot(t *testing.T) {
	for _, o := range []Owner{{Name: "root"}, {Name: "x", UID: 20011}, {Name: "y", GID: 20011}, {Name: "z", UID: -1, GID: -1}} {
		if err := Start(o, exec.Command("/bin/true")); !errors.Is(err, ErrRoot) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	needRoot(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ASUSER_TEST_START=nobody special")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), ErrRefused.Error()) {
		t.Errorf("without capabilities: %v: %s", err, out)
	}
}

func TestConfined(t *testing.T) {
	me := Self("me", "/")
	switch err := Confined(me); {
	case os.Geteuid() == 0 && !errors.Is(err, ErrRoot):
		t.Errorf("root is confined: %v", err)
	case os.Geteuid() != 0 && err != nil:
		t.Error(err)
	}
	if err := Confined(Owner{UID: 20011, GID: 20012}); err == nil {
		t.Error("another identity is taken for ours")
	}
}
