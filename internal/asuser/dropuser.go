package asuser

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// capabilities are all that the daemon keeps: to work with a user's own rights,
// and to bind ports below 1024.
var capabilities = []uintptr{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_NET_BIND_SERVICE}

// The bits of <linux/securebits.h> that we set.
const (
	secureNoRoot       = 1 << 0
	secureNoRootLocked = 1 << 1
	secureKeepCaps     = 1 << 4
)

// Target is whom a daemon started by root goes on as.
type Target struct {
	Name     string
	UID, GID int
	// Groups are the supplementary groups.
	Groups []int
}

// LookupTarget finds the system user with its groups. Root is ErrRoot.
func LookupTarget(name string) (Target, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return Target{}, fmt.Errorf("looking up the daemon's user: %w", err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return Target{}, fmt.Errorf("looking up the groups of %s: %w", name, err)
	}
	t := Target{Name: name}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	t.UID, t.GID = uid, gid
	for _, s := range ids {
		id, err := strconv.Atoi(s)
		if err != nil {
			return Target{}, fmt.Errorf("group %q of %s: %w", s, name, err)
		}
		t.Groups = append(t.Groups, id)
	}
	if err := errors.Join(err1, err2); err != nil {
		return Target{}, fmt.Errorf("identity of %s: %w", name, err)
	}
	if uid == 0 || gid == 0 {
		return Target{}, fmt.Errorf("going on as %s: %w", name, ErrRoot)
	}
	return t, nil
}

// Reexec replaces this process, which must be root's, by the program itself as
// t, with the same arguments and environment and the capabilities CAP_SETUID,
// CAP_SETGID and CAP_NET_BIND_SERVICE alone: in the ambient set, so that they
// survive the exec, and in the bounding set, so that no program regains others.
// It returns only on error; then the thread is lost to the process, which
// should end.
func Reexec(t Target) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding our own program: %w", err)
	}
	return reexec(t, exe, os.Args, os.Environ())
}

// reexec changes the identity of one locked thread with raw calls, since the
// kernel keeps identities per thread, and execs from that thread: the new
// program has its identity alone. All threads need not be brought along.
func reexec(t Target, exe string, args, env []string) error {
	runtime.LockOSThread() // never unlocked: the thread is gone or spoilt
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"limiting capabilities", dropBounding},
		// NOROOT: uid 0 means nothing special to an exec from here on.
		{"setting secure bits", func() error {
			return unix.Prctl(unix.PR_SET_SECUREBITS, secureKeepCaps|secureNoRoot|secureNoRootLocked, 0, 0, 0)
		}},
		{"setting groups", func() error { return setThreadGroups(t.Groups) }},
		{"setting the group", func() error { return rawSetres(unix.SYS_SETRESGID, t.GID) }},
		{"setting the user", func() error { return rawSetres(unix.SYS_SETRESUID, t.UID) }},
		{"keeping capabilities", keepCapabilities},
		{"forbidding new privileges", func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }},
		{"starting again", func() error { return syscall.Exec(exe, args, env) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("going on as %s: %s: %w", t.Name, step.name, err)
		}
	}
	return nil
}

// dropBounding takes all capabilities but ours out of the bounding set. The
// kernel answers EINVAL beyond the last capability that it knows.
func dropBounding() error {
	for c := uintptr(0); ; c++ {
		if wanted(c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err == unix.EINVAL {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func wanted(c uintptr) bool {
	for _, k := range capabilities {
		if c == k {
			return true
		}
	}
	return false
}

// rawSetres changes the real, effective and saved id of this thread alone.
func rawSetres(call uintptr, id int) error {
	if _, _, errno := unix.RawSyscall(call, uintptr(id), uintptr(id), uintptr(id)); errno != 0 {
		return errno
	}
	return nil
}

// keepCapabilities makes our capabilities the only ones, inheritable and
// ambient.
func keepCapabilities() error {
	var mask uint32
	for _, c := range capabilities {
		mask |= 1 << c
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: mask, Permitted: mask, Inheritable: mask}}
	if _, _, errno := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return fmt.Errorf("capset: %w", errno)
	}
	for _, c := range capabilities {
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0); err != nil {
			return fmt.Errorf("raising ambient capability %d: %w", c, err)
		}
	}
	return nil
}
