package listen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/control"
)

func TestOpenKnowsItsAddresses(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "lmtp.sock")
	for _, c := range []struct{ address, network, err string }{
		{"127.0.0.1:0", "tcp", ""},
		{":0", "tcp", ""},
		{"[::1]:0", "tcp", ""},
		{sock, "unix", ""},
		{"127.0.0.1", "", "want host:port"},
		{"lmtp.sock", "", "want host:port"},
		{"127.0.0.1:99999", "", "invalid port"},
		{"/nonexistent/dir/sock", "", "no such file"},
	} {
		l, err := Open(context.Background(), c.address, Unix{})
		if err != nil {
			if c.err == "" || !strings.Contains(err.Error(), c.err) {
				if c.address == "[::1]:0" {
					t.Log("missing: IPv6 on loopback")
					continue
				}
				t.Errorf("%s: %v", c.address, err)
			}
			continue
		}
		if c.err != "" || l.Addr().Network() != c.network {
			t.Errorf("%s: network %q, want error %q", c.address, l.Addr().Network(), c.err)
		}
		l.Close()
	}
}

func TestUnixSocketHasItsModeAndIsNotStolen(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "s")
	l, err := Open(context.Background(), sock, Unix{Mode: 0o600, Group: fmt.Sprint(os.Getgid())})
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(sock)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if _, err := Open(context.Background(), sock, Unix{}); !errors.Is(err, control.ErrInUse) {
		t.Errorf("second Open = %v", err)
	}
	l.Close()
	if _, err := Open(context.Background(), sock, Unix{Group: "no-such-group-here"}); err == nil {
		t.Error("unknown group is taken")
	}
}

func TestUnixPeersAreNotCounted(t *testing.T) {
	raw, err := Open(context.Background(), filepath.Join(t.TempDir(), "s"), Unix{})
	if err != nil {
		t.Fatal(err)
	}
	l := New(raw, Options{MaxConns: 1, MaxPerIP: 1})
	defer l.Drain(canceled())
	acceptAll(l, greet)
	for range 3 {
		readLine(t, dial(t, l))
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestSocketsJoinProblemsAndLeaveNothingOpen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	freeAddr := free.Addr().String()
	free.Close()
	_, err = new(Sockets).Open(context.Background(), "mx", []string{"", freeAddr, taken.Addr().String(), "bad"}, Unix{})
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), `"bad"`) {
		t.Errorf("err = %v", err)
	}
	ls, err := new(Sockets).Open(context.Background(), "mx", []string{freeAddr}, Unix{})
	if err != nil {
		t.Fatalf("the good address stayed open: %v", err)
	}
	ls[0].Close()
}

// TestSocketsFromSystemd runs this test binary again as the service manager
// would: sockets from descriptor 3 on, names in the environment.
func TestSocketsFromSystemd(t *testing.T) {
	if os.Getenv("LISTEN_TEST_CHILD") != "" {
		systemdChild()
		return
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// The child's pid must be in its environment: a shell can tell it.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run '^TestSocketsFromSystemd$'`, os.Args[0])
	cmd.Env = append(os.Environ(), "LISTEN_TEST_CHILD=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=mx:typo")
	cmd.ExtraFiles = []*os.File{f, f}
	out, err := cmd.CombinedOutput()
	if want := l.Addr().String() + " env= unclaimed=[typo]"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("child: %v\n%s\nwant %s", err, out, want)
	}
}

func systemdChild() {
	s, err := FromSystemd()
	if err != nil {
		fmt.Println(err)
		return
	}
	ls, err := s.Open(context.Background(), "mx", []string{"127.0.0.1:1"}, Unix{})
	if err != nil || len(ls) != 1 {
		fmt.Println(ls, err)
		return
	}
	unclaimed := s.Close()
	slices.Sort(unclaimed)
	io.WriteString(os.Stdout, fmt.Sprintf("%s env=%s unclaimed=%v\n", ls[0].Addr(), os.Getenv("LISTEN_FDS"), unclaimed))
}
