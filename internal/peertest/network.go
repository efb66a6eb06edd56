package peertest

import (
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Network is a network namespace: a host of its own, as far as addresses and
// ports go.
type Network struct {
	t    testing.TB
	file *os.File
}

// NewNetworks makes two hosts joined by a cable, the first with the address
// 192.0.2.200, the second with the addresses 192.0.2.1 to 192.0.2.126. The
// calling goroutine is on the first of them from then on, and stays bound to its
// thread: what it starts, listens on or dials is there; other goroutines are
// not. It needs root.
func NewNetworks(t testing.TB) (here, there *Network) {
	t.Helper()
	ip := NeedProgram(t, "ip", "iproute2")
	if os.Geteuid() != 0 {
		t.Skip("missing: root, which makes network namespaces")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	there, here = newNetwork(t), newNetwork(t)
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(ip, args...)
		cmd.ExtraFiles = []*os.File{there.file}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ip %q: %v: %s", args, err, out)
		}
	}
	run("link", "set", "lo", "up")
	run("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", "/proc/self/fd/3")
	run("address", "add", "192.0.2.200/24", "dev", "cable")
	run("link", "set", "cable", "up")
	there.Do(func() {
		run("link", "set", "lo", "up")
		run("address", "add", "192.0.2.1/24", "dev", "cable")
		run("link", "set", "cable", "up")
		run("route", "add", "local", "192.0.2.0/25", "dev", "lo")
	})
	return here, there
}

// newNetwork moves the calling thread into a new namespace.
func newNetwork(t testing.TB) *Network {
	t.Helper()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("missing: the right to make network namespaces: %v", err)
	}
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &Network{t, f}
}

// Do does what is to be done on another host. Only the goroutine that called
// NewNetworks may call it.
func (n *Network) Do(what func()) {
	n.t.Helper()
	back, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		n.t.Fatal(err)
	}
	defer back.Close()
	n.enter(n.file)
	defer n.enter(back)
	what()
}

func (n *Network) enter(f *os.File) {
	n.t.Helper()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		n.t.Fatal(err)
	}
}
