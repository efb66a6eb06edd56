package asuser

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Start starts cmd as o: with his uid and gid as the real, effective and saved
// ones, no supplementary group and no capability. A process that has o's identity
// already keeps it. Root is ErrRoot; without the right to become o it is
// ErrRefused, and nothing is started.
//
// A setuid(2) from one uid to another that is not root's keeps capabilities, and
// ambient ones survive even the exec: so a thread gives its ambient capabilities
// up first, starts the program, and ends. The program should make sure by
// Confined.
func Start(o Owner, cmd *exec.Cmd) error {
	if o.UID <= 0 || o.GID <= 0 {
		return fmt.Errorf("starting a program as %s: %w", o.Name, ErrRoot)
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if o.UID != os.Geteuid() || o.GID != os.Getegid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(o.UID), Gid: uint32(o.GID)}
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread has lost what others need
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
			done <- fmt.Errorf("giving up capabilities: %w", err)
			return
		}
		done <- cmd.Start()
	}()
	err := <-done
	if errors.Is(err, os.ErrPermission) && cmd.SysProcAttr.Credential != nil {
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err != nil {
		return fmt.Errorf("starting a program as %s (uid %d, gid %d): %w", o.Name, o.UID, o.GID, err)
	}
	return nil
}

// Confined is nil if this process, its calling thread at least, has the uid and gid
// of o and nothing else: not root's, and no capability.
func Confined(o Owner) error {
	if o.UID <= 0 || o.GID <= 0 {
		return ErrRoot
	}
	for name, ids := range map[string]func() (int, int, int){"uid": unix.Getresuid, "gid": unix.Getresgid} {
		want := o.UID
		if name == "gid" {
			want = o.GID
		}
		if r, e, s := ids(); r != want || e != want || s != want {
			return fmt.Errorf("the %s is %d/%d/%d, not %d", name, r, e, s, want)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if _, _, errno := unix.RawSyscall(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return fmt.Errorf("reading the capabilities: %w", errno)
	}
	for _, d := range data {
		if d.Effective|d.Permitted != 0 {
			return errors.New("there are capabilities left")
		}
	}
	return nil
}
