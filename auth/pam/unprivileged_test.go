//go:build cgo

package pam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/asuser"
)

// childVar makes the test binary run as the daemon would: not as root, with the
// group shadow and two capabilities.
const childVar = "MAILSRVD_TEST_PAM_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childVar); job != "" {
		child(job)
		return
	}
	os.Exit(m.Run())
}

// job is what the child checks.
type job struct{ ConfDir, User string }

// child prints one line per question.
func child(text string) {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		fmt.Println(err)
		return
	}
	groups, err := asuser.DropGroups()
	if err != nil {
		fmt.Println(err)
		return
	}
	left, _ := os.Getgroups()
	fmt.Printf("uid0 %v groups %d\n", os.Geteuid() == 0, len(left))
	for name, g := range map[string]*asuser.Groups{"with": groups, "without": nil} {
		o := Options{Service: "test", ConfDir: j.ConfDir, Groups: g}
		b, err := New(o)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, password := range []string{"right", "wrong"} {
			err := b.Verify(context.Background(), j.User, password, remote)
			fmt.Printf("%s %s %s\n", name, password, kindName(err))
		}
		fmt.Printf("%s check %v\n", name, strings.ReplaceAll(fmt.Sprint(o.Check(context.Background())), "\n", " "))
	}
}

// startChild runs this test binary with another identity. The binary lies in a
// directory that only root can enter, so that a copy is run.
func startChild(t *testing.T, j job) string {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	nobody, shadow := numeric(t, "nobody"), numeric(t, "@shadow")
	cmd := exec.Command(copyOfSelf(t))
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), childVar+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobody, Gid: 8, Groups: []uint32{shadow}},
		AmbientCaps: []uintptr{unix.CAP_SETUID, unix.CAP_SETGID},
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("missing: the right to give ambient capabilities")
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func numeric(t *testing.T, name string) uint32 {
	t.Helper()
	var id string
	if group, ok := strings.CutPrefix(name, "@"); ok {
		g, err := user.LookupGroup(group)
		if err != nil {
			t.Skipf("missing: group %s", group)
		}
		id = g.Gid
	} else {
		u, err := user.Lookup(name)
		if err != nil {
			t.Skipf("missing: user %s", name)
		}
		id = u.Uid
	}
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func copyOfSelf(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "pamchild")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	in, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	path := filepath.Join(dir, "child")
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close(), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDaemonWithoutRootLendsShadowToPAM(t *testing.T) {
	name := newUser(t)
	o := service(t, unixService)
	got := strings.Split(strings.TrimSpace(startChild(t, job{o.ConfDir, name})), "\n")
	slices.Sort(got)
	want := []string{
		"uid0 false groups 0",
		"with check <nil>",
		"with right ok",
		"with wrong refused",
		"without check pam_unix will refuse everybody: open /etc/shadow: permission denied: add SupplementaryGroups=shadow to the unit",
		"without right unavailable", // never "wrong password" for a fault of ours
		"without wrong unavailable",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
