// Package asuser does file work with the rights of the user who owns the
// files. It is the only place of the daemon that changes an identity.
//
// The daemon runs as an unprivileged user with CAP_SETUID and CAP_SETGID. Do
// locks the goroutine to its thread, sets that thread's fsuid and fsgid (see
// setfsuid(2)), runs the work and changes back. The kernel then checks the
// user's own rights: a link that a user planted gives that user nothing he
// could not open himself, and a forgotten Do opens nothing at all.
//
// Two rules bind the callers of Do: the work must not start goroutines for
// file calls (they would run on other threads, without the rights), and it
// must not wait for a network peer (threads that work as users are few).
package asuser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Owner is the system identity that owns files. It is a plain value.
type Owner struct {
	// Name is the login name, for messages and logs only.
	Name string
	// UID and GID are what the kernel checks.
	UID, GID int
	// Home is the absolute path of the home directory.
	Home string
}

// Self returns the identity of this process with the given name and home: what
// a set-up without privileges uses for every mailbox.
func Self(name, home string) Owner {
	return Owner{Name: name, UID: os.Geteuid(), GID: os.Getegid(), Home: home}
}

// ErrRefused means that the kernel did not give the thread the identity of the
// owner; no file was touched.
var ErrRefused = errors.New("cannot act as the user (CAP_SETUID and CAP_SETGID are needed)")

// ErrRoot means that the owner is root, as whom no mail is ever touched.
var ErrRoot = errors.New("mail is not handled as root")

// maxThreads bounds the threads that are at work as some user at one time. A
// thread can hang on a dead network file system; the others go on.
const maxThreads = 64

var slots = make(chan struct{}, maxThreads)

// Do runs fn with file system rights of o and returns its error. It waits for
// a free thread until ctx ends. When the process already has o's identity, fn
// runs directly. A failure to take the identity is ErrRefused, and fn is not
// run.
func Do(ctx context.Context, o Owner, fn func() error) error {
	if o.UID == os.Geteuid() && o.UID != 0 {
		return fn()
	}
	if o.UID == 0 || o.GID == 0 {
		if os.Geteuid() != 0 || o.UID != 0 {
			return fmt.Errorf("acting as %s: %w", o.Name, ErrRoot)
		}
		// A daemon that an administrator runs as root on purpose, in a
		// container with a passwd-file: its own identity is all there is.
		return fn()
	}
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting to act as %s: %w", o.Name, context.Cause(ctx))
	}
	defer func() { <-slots }()
	return switched(o, fn)
}

// switched runs fn on a thread with o's identity. If the thread cannot be
// brought back, it stays locked, so that the runtime destroys it together with
// the goroutine instead of handing the user's rights to other work.
func switched(o Owner, fn func() error) error {
	runtime.LockOSThread()
	base, err := takeBase()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("acting as %s: %w", o.Name, err)
	}
	// The group first: as another fsuid we could still change it, but going
	// back the order is the reverse, so that no moment has foreign groups
	// together with the daemon's uid.
	setfsgid(o.GID)
	setfsuid(o.UID)
	if setfsuid(o.UID) != o.UID || setfsgid(o.GID) != o.GID {
		base.restore()
		return fmt.Errorf("acting as %s (uid %d, gid %d): %w", o.Name, o.UID, o.GID, ErrRefused)
	}
	defer base.restore()
	return fn()
}

// base is the identity of a thread before it works as a user.
type base struct {
	uid, gid int
	groups   []int
}

// takeBase notes the thread's identity and empties its supplementary groups.
// A daemon that called DropGroups has none, which spares two system calls; one
// that forgot still gives users no group that is not theirs.
func takeBase() (base, error) {
	groups, err := unix.Getgroups()
	if err != nil {
		return base{}, fmt.Errorf("reading the thread's groups: %w", err)
	}
	if len(groups) > 0 {
		if err := setThreadGroups(nil); err != nil {
			return base{}, fmt.Errorf("%w: setgroups: %w", ErrRefused, err)
		}
	}
	return base{uid: os.Geteuid(), gid: os.Getegid(), groups: groups}, nil
}

// restore brings the thread back to the daemon's own identity and unlocks it
// only if that worked.
func (b base) restore() {
	setfsuid(b.uid)
	setfsgid(b.gid)
	if setfsuid(b.uid) != b.uid || setfsgid(b.gid) != b.gid {
		return
	}
	if len(b.groups) > 0 && setThreadGroups(b.groups) != nil {
		return
	}
	runtime.UnlockOSThread()
}

// setfsuid sets the thread's file system uid and returns the one before; the
// call has no error return, so that calling it twice is the way to verify it.
func setfsuid(id int) int {
	prev, _ := unix.SetfsuidRetUid(id)
	return prev
}

func setfsgid(id int) int {
	prev, _ := unix.SetfsgidRetGid(id)
	return prev
}
