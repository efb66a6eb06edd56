package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Which states of earlier runs may be believed? A state is not synced when it is
// written, so after a power cut the disk may hold an older one that looks
// complete. The file epoch knows: it is synced at the beginning and end of each
// run. Trust is a number in it and in each state. It is drawn anew, so that no
// older state counts, if the last run did not end and the machine was booted
// since, or if the file is not the one we wrote (restored from a backup). If the
// last run was killed but the machine runs on, nothing written was lost, and
// each folder's own mark of completeness decides.
//
//	 0  "MSRVEPO\n"
//	 8  trust
//	16  1 if the run ended well, else 0
//	24  inode and device of this file
//	40  boot id, as /proc/sys/kernel/random/boot_id has it
//	    checksum
const epochMagic = "MSRVEPO\n"

type epoch struct {
	trust    uint64
	ended    bool
	ino, dev uint64
	boot     string
}

func (e epoch) bytes() []byte {
	b := []byte(epochMagic)
	b = binary.LittleEndian.AppendUint64(b, e.trust)
	if e.ended {
		b = binary.LittleEndian.AppendUint64(b, 1)
	} else {
		b = binary.LittleEndian.AppendUint64(b, 0)
	}
	b = binary.LittleEndian.AppendUint64(b, e.ino)
	b = binary.LittleEndian.AppendUint64(b, e.dev)
	b = append(b, e.boot...)
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

func parseEpoch(b []byte) (e epoch, ok bool) {
	if len(b) < 44 || !bytes.HasPrefix(b, []byte(epochMagic)) {
		return e, false
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if checksum(body) != sum {
		return e, false
	}
	return epoch{
		trust: binary.LittleEndian.Uint64(b[8:]),
		ended: binary.LittleEndian.Uint64(b[16:]) == 1,
		ino:   binary.LittleEndian.Uint64(b[24:]),
		dev:   binary.LittleEndian.Uint64(b[32:]),
		boot:  string(body[40:]),
	}, true
}

// beginEpoch reads and writes the file at the beginning of a run, and returns
// what states must carry to be believed.
func beginEpoch(dir string, noSync bool) (trust uint64, err error) {
	boot := bootID()
	trust = newStamp()
	if last, ok := lastEpoch(filepath.Join(dir, "epoch")); ok && (last.ended || boot != "" && last.boot == boot) {
		trust = last.trust
	}
	return trust, writeEpoch(dir, epoch{trust: trust, boot: boot}, noSync)
}

// lastEpoch reads the file, if it is the one that was written.
func lastEpoch(path string) (e epoch, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return e, false
	}
	defer f.Close()
	b := make([]byte, 256)
	n, _ := f.ReadAt(b, 0)
	if e, ok = parseEpoch(b[:n]); !ok {
		return e, false
	}
	ino, dev, err := identity(f)
	return e, err == nil && ino == e.ino && dev == e.dev
}

// identity is what a copy of a file does not have.
func identity(f *os.File) (ino, dev uint64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, 0, fmt.Errorf("reading the attributes of %s: %w", f.Name(), err)
	}
	return st.Ino, uint64(st.Dev), nil
}

// writeEpoch writes the file durably.
func writeEpoch(dir string, e epoch, noSync bool) error {
	tmp := filepath.Join(dir, "epoch.tmp")
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing the epoch: %w", err)
	}
	defer f.Close()
	if e.ino, e.dev, err = identity(f); err != nil {
		return err
	}
	if _, err := f.Write(e.bytes()); err != nil {
		return fmt.Errorf("writing the epoch: %w", err)
	}
	if !noSync {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("syncing the epoch: %w", err)
		}
	}
	if err := os.Rename(tmp, filepath.Join(dir, "epoch")); err != nil {
		return fmt.Errorf("writing the epoch: %w", err)
	}
	if noSync {
		return nil
	}
	if err := syncPath(dir); err != nil {
		return fmt.Errorf("syncing the cache directory: %w", err)
	}
	return nil
}

// maxSyncs is how many states are synced one by one; if there are more, the
// whole file system is.
const maxSyncs = 64

// endEpoch syncs the states in folders, which are those written in the run, and
// then says that it ended.
func endEpoch(dir string, folders []string, noSync bool) error {
	if noSync {
		folders = nil
	}
	if len(folders) > maxSyncs {
		if err := syncAll(dir); err != nil {
			return err
		}
		folders = nil
	}
	for _, folder := range folders {
		for _, path := range []string{filepath.Join(folder, "state"), folder} {
			if err := syncPath(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("syncing the cache: %w", err)
			}
		}
	}
	e, ok := lastEpoch(filepath.Join(dir, "epoch"))
	if !ok {
		return nil // someone has deleted or replaced it: then nothing is believed
	}
	e.ended = true
	return writeEpoch(dir, e, noSync)
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func syncAll(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening the cache directory: %w", err)
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("syncing the cache: %w", err)
	}
	return nil
}

// bootID names the time since the machine was booted; empty if unknown.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
