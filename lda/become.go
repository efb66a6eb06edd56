package lda

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/asuser"
)

// becomeUser turns the whole process into the owner's, for good: real,
// effective and saved ids of all threads, and no supplementary group.
func becomeUser(o asuser.Owner) error {
	if o.UID <= 0 || o.GID <= 0 {
		return fmt.Errorf("%s: %w", o.Name, asuser.ErrRoot)
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("dropping the groups: %w", err)
	}
	if err := syscall.Setgid(o.GID); err != nil {
		return fmt.Errorf("taking gid %d: %w", o.GID, err)
	}
	if err := syscall.Setuid(o.UID); err != nil {
		return fmt.Errorf("taking uid %d: %w", o.UID, err)
	}
	r, e, s := unix.Getresuid()
	if r != o.UID || e != o.UID || s != o.UID || syscall.Setuid(0) == nil {
		return fmt.Errorf("uid %d: %w", o.UID, asuser.ErrRefused)
	}
	return nil
}
