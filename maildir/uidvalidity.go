package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dovecot-uidvalidity hands out the UIDVALIDITY of new folders: strictly rising
// and unique in a Maildir, so that a folder that is deleted and made again has
// another one. The truth is an empty marker file, dovecot-uidvalidity.<8 hex>,
// whose rename to the next value is atomic between processes, Dovecot's
// included; dovecot-uidvalidity repeats the value for people to read.

const validityName = "dovecot-uidvalidity"

// nextValidity takes the next UIDVALIDITY; f is the Maildir itself.
func (f *folder) nextValidity() (uint32, error) {
	f.store.validities.Lock() // many threads at once would be faster than each of them
	defer f.store.validities.Unlock()
	for range 10 {
		cur, err := f.currentValidity()
		if err != nil {
			return 0, err
		}
		var next uint32
		if cur == 0 {
			next, err = f.firstValidity()
		} else {
			if next = cur + 1; next == 0 {
				next = 1
			}
			err = f.root.Rename(validityMarker(cur), validityMarker(next))
		}
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist):
			continue // somebody else took it
		case err != nil:
			return 0, fmt.Errorf("taking a UIDVALIDITY: %w", err)
		}
		f.noteValidity(next)
		return next, nil
	}
	return 0, errors.New("taking a UIDVALIDITY: others are always faster")
}

func validityMarker(v uint32) string { return fmt.Sprintf("%s.%08x", validityName, v) }

// currentValidity reads the markers; of several the greatest holds and the
// others are removed. 0 means that there is none.
func (f *folder) currentValidity() (uint32, error) {
	all, err := f.markers()
	if err != nil {
		return 0, err
	}
	var cur uint32
	for _, v := range all {
		if cur != 0 {
			f.root.Remove(validityMarker(min(cur, v)))
		}
		cur = max(cur, v)
	}
	return cur, nil
}

// markers lists the values of all markers.
func (f *folder) markers() (all []uint32, err error) {
	names, err := f.names()
	for _, name := range names {
		if v, ok := parseMarker(name); ok {
			all = append(all, v)
		}
	}
	return all, err
}

func parseMarker(name string) (uint32, bool) {
	digits, ok := strings.CutPrefix(name, validityName+".")
	if !ok || len(digits) != 8 || strings.ToLower(digits) != digits {
		return 0, false
	}
	v, err := strconv.ParseUint(digits, 16, 32)
	return uint32(v), err == nil && v != 0
}

// firstValidity starts with the clock, or with the readable file if its marker
// was lost.
func (f *folder) firstValidity() (uint32, error) {
	v := uint32(f.now().Unix())
	if text, err := f.readFile(validityName, 64); err == nil {
		if old, err := strconv.ParseUint(strings.TrimSpace(text), 16, 32); err == nil && uint32(old) >= v && old < 1<<32-1 {
			v = uint32(old) + 1
		}
	}
	file, err := f.root.OpenFile(validityMarker(v), os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o444)
	if err != nil {
		return 0, err
	}
	file.Close()
	// Another process may have made this marker, and renamed it since we looked:
	// then the value is taken, and there is another marker.
	if all, err := f.markers(); err != nil || len(all) != 1 || all[0] != v {
		f.root.Remove(validityMarker(v))
		return 0, errors.Join(err, fs.ErrExist)
	}
	return v, nil
}

// noteValidity repeats the value for people; a failure loses nothing.
func (f *folder) noteValidity(v uint32) {
	file, err := checkRegular(f.root.OpenFile(validityName, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, f.fileMode))
	if err != nil {
		return
	}
	defer file.Close()
	_, _ = file.WriteAt(fmt.Appendf(nil, "%08x", v), 0)
}
