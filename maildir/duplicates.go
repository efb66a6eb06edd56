package maildir

import (
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// One reading of the directories can show a base twice:
//
//   - A rename went on while we read: one of the names is gone when we look
//     again, and the other is believed.
//   - A copying tool (rsync without --delete, a restore) left two files: the
//     second gets a base, hence a UID, of its own. Dovecot does the same.
//   - Two names are links to one file, left by a program that crashed between
//     link and unlink. The second name is removed, but only from a quiet
//     reading: beside renames, two looks at one file under its old and its new
//     name look the same, and removing either could lose the message.

// duplicate is a second name with the base of a record that this reading has
// seen already.
type duplicate struct {
	index int
	name  string
	in    subdir
}

// resolveDuplicates deals with the names seen twice; again asks for another
// reading.
func (sw *sweep) resolveDuplicates(f *folder) (again bool, err error) {
	for _, d := range sw.dups {
		more, err := sw.resolveDuplicate(f, d)
		if err != nil {
			return false, err
		}
		again = again || more
	}
	return again, nil
}

func (sw *sweep) resolveDuplicate(f *folder, d duplicate) (again bool, err error) {
	m := sw.m
	m.mu.Lock()
	r := m.recs[d.index]
	first, firstIn := m.fileName(&r), r.where()
	m.mu.Unlock()
	if first == d.name && firstIn == d.in {
		return false, nil
	}
	var a, b unix.Stat_t
	errA, errB := f.statIn(firstIn, first, &a), f.statIn(d.in, d.name, &b)
	switch {
	case errB != nil:
		return false, nil
	case errA != nil:
		sw.take(d)
		return false, nil
	case a.Ino != b.Ino || a.Dev != b.Dev:
		f.log.Warn("two files of one name: the second gets a new one", "user", f.owner, "file", d.name)
		return true, f.rebase(d.in, d.name)
	case a.Nlink < 2 || !sw.quiet:
		return false, nil
	}
	var now [2]int64
	if err := f.times(&now); err != nil || now != sw.state.times {
		return false, err
	}
	f.log.Info("removing a second name of a message", "user", f.owner, "file", d.name)
	f.remove(d.in, d.name)
	return false, nil
}

// take believes the second name.
func (sw *sweep) take(d duplicate) {
	sw.m.mu.Lock()
	defer sw.m.mu.Unlock()
	_, flags, info, odd := splitName([]byte(d.name))
	sw.m.found(&sw.m.recs[d.index], []byte(d.name), d.in, flags, info, odd, &sw.modseq)
}

// rebase renames a message file to a base of ours; sizes and flags are kept.
func (f *folder) rebase(in subdir, name string) error {
	base := newBase(f.opt.Hostname, f.now())
	old := baseOf(name)
	if s, ok := sizeField(old, 'S'); ok {
		if w, ok := sizeField(old, 'W'); ok {
			base = addSizes(base, s, w)
		}
	}
	err := f.move(in, name, in, base+strings.TrimPrefix(name, old))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
