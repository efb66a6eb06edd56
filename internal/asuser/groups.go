package asuser

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Groups remembers the supplementary groups that the service manager gave the
// daemon (shadow for PAM, mailsrvd for keys). They are taken from all threads
// at start, so that work done as a user never has a group that is not the
// user's, and given back to single threads for a moment by Do.
type Groups struct {
	ids     []int
	dropped bool
}

// DropGroups empties the supplementary groups of the whole process and returns
// them. Without CAP_SETGID nothing changes and Do of the result runs its work
// directly. Call it once, before the first request.
func DropGroups() (*Groups, error) {
	ids, err := os.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("reading the process's groups: %w", err)
	}
	if err := syscall.Setgroups(nil); err != nil {
		return &Groups{ids: ids}, nil
	}
	return &Groups{ids: ids, dropped: true}, nil
}

// Do runs fn on a thread that has the remembered supplementary groups. Use it
// for PAM, which reads /etc/shadow, and for key files of the daemon's group.
// fn must not start goroutines for such work.
func (g *Groups) Do(fn func() error) error {
	if g == nil || !g.dropped || len(g.ids) == 0 {
		return fn()
	}
	runtime.LockOSThread()
	if err := setThreadGroups(g.ids); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("taking the supplementary groups: %w", err)
	}
	defer func() {
		// A thread that keeps the groups must not serve others: leave it
		// locked, then it ends with this goroutine.
		if err := setThreadGroups(nil); err == nil {
			runtime.UnlockOSThread()
		}
	}()
	return fn()
}

// setThreadGroups is the raw call for this thread alone; syscall.Setgroups
// changes all threads.
func setThreadGroups(ids []int) error {
	raw := make([]uint32, len(ids), len(ids)+1) // never without an address
	for i, id := range ids {
		raw[i] = uint32(id)
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(raw)), uintptr(unsafe.Pointer(unsafe.SliceData(raw))), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
