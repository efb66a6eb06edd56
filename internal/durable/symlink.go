package durable

import (
	"errors"
	"fmt"
	"os"
	"path"
)

// Symlink makes name under root a symbolic link to target, whatever it was: durable
// when it returns nil, and at every moment the old or the new one. The temporary
// link is name plus ".tmp"; a left-over one is replaced.
func Symlink(root *os.Root, target, name string, fault Fault) error {
	tmp := name + ".tmp"
	if err := root.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing an old temporary link: %w", err)
	}
	if err := fault.at("create", tmp); err != nil {
		return fmt.Errorf("linking %s: %w", tmp, err)
	}
	if err := root.Symlink(target, tmp); err != nil {
		return fmt.Errorf("linking: %w", err)
	}
	err := fault.at("rename", name)
	if err == nil {
		err = root.Rename(tmp, name)
	}
	if err != nil {
		root.Remove(tmp)
		return fmt.Errorf("renaming to %s: %w", name, err)
	}
	return SyncDir(root, path.Dir(name), fault)
}
