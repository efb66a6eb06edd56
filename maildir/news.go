package maildir

import (
	"context"
	"slices"

	"golang.org/x/sys/unix"
)

// What inotify names is looked at one file at a time, with the folder's disk lock
// held, so that none of our own changes is half done. A file that was renamed is
// noted, a file that is new gets its UID as a delivery of ours does; either way
// the directories are not read, and since every other change has an event of its
// own, which has been seen or will be, they count as read. Everything else (a
// file that is gone, two names of one base) is left to a reading, with all its
// precautions.

// syncNews is Sync that reads no more than the events make necessary.
func (m *Mailbox) syncNews(ctx context.Context, news *folderNews) error {
	if err := m.lockDisk(ctx); err != nil {
		return err
	}
	defer m.unlockDisk()
	if !news.all && !news.begun && m.loaded && m.takeNews(ctx, news) {
		return nil
	}
	if !m.hasWatchers() { // who comes next reads
		m.force.Store(true)
		return nil
	}
	return m.sync(ctx, syncLockWait)
}

// takeNews brings memory up to what the events say; false when that needs a
// reading. m.disk is held.
func (m *Mailbox) takeNews(ctx context.Context, news *folderNews) (done bool) {
	var fresh []namedFile
	err := m.do(ctx, func(f *folder) error {
		var times [2]int64
		if err := f.times(&times); err != nil { // before the files are looked at
			return err
		}
		if err := m.refreshKeywords(f); err != nil {
			return err
		}
		if fresh, done = m.compareNews(f, news); !done {
			return nil
		}
		for d, t := range times {
			if m.seen.times[d] != 0 { // else something waits for a reading
				m.seen.times[d] = t
			}
		}
		m.rely(f)
		return nil
	})
	if err != nil || !done || m.force.Load() {
		return false
	}
	for _, file := range fresh {
		a := &arrival{placed: true}
		a.Name, a.name, a.in = baseOf(file.name), file.name, file.in
		if a.Name == "" || !m.arrived(a) {
			return false
		}
	}
	return true
}

// compareNews notes renames and returns the files that are new; ok is false when
// something is not that simple.
func (m *Mailbox) compareNews(f *folder, news *folderNews) (fresh []namedFile, ok bool) {
	var missing []namedFile
	var at ModSeq
	for file, there := range news.names {
		if there == m.knows(file) { // our own doing, as most often
			continue
		}
		var st unix.Stat_t
		there = f.statIn(file.in, file.name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
		switch {
		case !validEntry([]byte(file.name)) || there == m.knows(file):
		case !there:
			missing = append(missing, file)
		case !m.hasBase(baseOf(file.name)):
			fresh = append(fresh, file)
		case !m.takeRename(f, file, &at):
			return nil, false
		}
	}
	for _, file := range missing { // what was renamed is known under its new name by now
		if m.knows(file) {
			return nil, false
		}
	}
	return fresh, true
}

// takeRename notes that a known message has another name now; false if its old
// name exists too.
func (m *Mailbox) takeRename(f *folder, file namedFile, at *ModSeq) bool {
	m.mu.Lock()
	r := m.recs[m.byBase[baseOf(file.name)]]
	old, in := m.fileName(&r), r.where()
	m.mu.Unlock()
	var st unix.Stat_t
	if f.statIn(in, old, &st) == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	name := []byte(file.name)
	n, flags, info, odd := splitName(name)
	if i, ok := m.byBase[string(name[:n])]; ok {
		m.found(&m.recs[i], name, file.in, flags, info, odd, at)
	}
	return true
}

// knows reports whether memory has a message in exactly this file, or is about to
// have it.
func (m *Mailbox) knows(file namedFile) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.byBase[baseOf(file.name)]
	if !ok || !m.recs[i].live() {
		return m.isPending(file)
	}
	return m.recs[i].where() == file.in && m.fileName(&m.recs[i]) == file.name
}

// isPending reports whether a file is a delivery of ours that waits for its UID.
// m.mu is held.
func (m *Mailbox) isPending(file namedFile) bool {
	return slices.ContainsFunc(m.pending, func(a *arrival) bool { return a.placed && a.in == file.in && a.name == file.name })
}
