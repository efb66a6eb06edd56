package maildir

import (
	"fmt"
	"maps"
	"path/filepath"
)

// What must hold after each step of a history.

// check compares a folder, as process i sees it, with what must be there.
func (w *world) check(i int, name string) {
	m := w.mailbox(i, name)
	list := m.Messages()
	have, bases := map[string]int{}, w.basesOf(m, name)
	onDisk := w.diskFlags(name)
	now := map[UID]bool{}
	for k, msg := range list {
		if k > 0 && list[k-1].UID >= msg.UID || msg.UID >= m.UIDNext() {
			w.fail("%s: UIDs %v, next %d", name, uidsOf(list), m.UIDNext())
		}
		base := w.base(m, msg.UID)
		if old, ok := bases[msg.UID]; ok && old != base {
			w.fail("%s: UID %d was %s and is %s", name, msg.UID, old, base)
		} else if !ok && msg.UID <= w.top[name] {
			w.fail("%s: UID %d is new and below %d", name, msg.UID, w.top[name])
		} else if ok && !w.before[name][msg.UID] {
			w.fail("%s: UID %d came back", name, msg.UID)
		}
		bases[msg.UID], now[msg.UID] = base, true
		if flags, ok := onDisk[base]; !ok || flags != msg.Flags {
			w.fail("%s: UID %d (%s) has flags %x, its file %x (%v); on disk %v, a second time %v", name, msg.UID, base, msg.Flags, flags, ok, onDisk, w.diskFlags(name))
		}
		have[w.subjectOf(m, msg.UID)]++
	}
	maps.DeleteFunc(w.want[name], func(_ string, n int) bool { return n == 0 })
	if !maps.Equal(have, w.want[name]) || len(onDisk) != len(list) {
		w.fail("%s, process %d: have %v, want %v; %d files", name, i, have, w.want[name], len(onDisk))
	}
	if n := len(list); n > 0 {
		w.top[name] = max(w.top[name], list[n-1].UID)
	}
	w.before[name] = now
	w.checkSession(i, name, list)
	if w.rnd.IntN(3) == 0 {
		w.resync(i, name, m)
	}
}

// resync is a client that comes back: what it knew and what it is told since must
// be what is there.
func (w *world) resync(i int, name string, m *Mailbox) {
	c := w.clients[i][name]
	list, highest := m.Messages(), m.HighestModSeq()
	if c == nil {
		c = &client{flags: map[UID]Flags{}}
		w.clients[i][name] = c
	}
	vanished, ok := m.ExpungedSince(c.highest)
	now := map[UID]Flags{}
	for _, msg := range list {
		now[msg.UID] = msg.Flags
		if msg.ModSeq > c.highest {
			c.flags[msg.UID] = msg.Flags
		}
		if msg.ModSeq > highest || msg.ModSeq == 0 {
			w.fail("%s: UID %d has modseq %d, the highest is %d", name, msg.UID, msg.ModSeq, highest)
		}
	}
	for _, uid := range vanished {
		if _, there := now[uid]; there {
			w.fail("%s: UID %d vanished and is there", name, uid)
		}
		delete(c.flags, uid)
	}
	if !ok { // all that it names and that is not there counts as vanished
		maps.DeleteFunc(c.flags, func(uid UID, _ Flags) bool { _, there := now[uid]; return !there })
	}
	if !maps.Equal(c.flags, now) {
		w.fail("%s, process %d: since %d (%v) the client has %v, there is %v", name, i, c.highest, ok, c.flags, now)
	}
	if highest < c.highest {
		w.fail("%s: the highest modseq fell from %d to %d", name, c.highest, highest)
	}
	c.highest = highest
}

// checkSession replays the changes that a session got.
func (w *world) checkSession(i int, name string, list []Message) {
	s := w.watch[i][name]
	for _, c := range s.w.Changes() {
		switch c.Kind {
		case Arrived:
			if c.UID <= s.last {
				w.fail("%s: UID %d arrived after %d", name, c.UID, s.last)
			}
			s.last, s.flags[c.UID] = c.UID, c.Flags
		case FlagsChanged:
			if _, ok := s.flags[c.UID]; !ok {
				w.fail("%s: flags of UID %d, which the session does not have", name, c.UID)
			}
			s.flags[c.UID] = c.Flags
		case Expunged:
			if _, ok := s.flags[c.UID]; !ok {
				w.fail("%s: UID %d expunged, which the session does not have", name, c.UID)
			}
			delete(s.flags, c.UID)
		}
	}
	want := map[UID]Flags{}
	for _, msg := range list {
		want[msg.UID] = msg.Flags
	}
	if !maps.Equal(s.flags, want) {
		w.fail("%s, process %d: the session believes %v, there is %v", name, i, s.flags, want)
	}
}

// basesOf is what each UID was ever given to.
func (w *world) basesOf(m *Mailbox, name string) map[UID]string {
	key := fmt.Sprint(name, m.UIDValidity())
	if w.given[key] == nil {
		if len(w.given) >= len(historyFolders) {
			w.fail("%s has a new UIDVALIDITY, %d", name, m.UIDValidity())
		}
		w.given[key] = map[UID]string{}
		w.before[name] = map[UID]bool{}
	}
	return w.given[key]
}

func (w *world) base(m *Mailbox, uid UID) string {
	_, name, err := m.guess(uid)
	if err != nil {
		w.fail("%v", err)
	}
	return baseOf(name)
}

// diskFlags reads the flags of all files by their base.
func (w *world) diskFlags(name string) map[string]Flags {
	all := map[string]Flags{}
	for _, sub := range []string{"new", "cur"} {
		for _, file := range files(w.t, filepath.Join(w.path(name), sub)) {
			_, flags, _, _ := splitName([]byte(file))
			if _, twice := all[baseOf(file)]; twice {
				w.fail("%s has two names", baseOf(file))
			}
			all[baseOf(file)] = flags
		}
	}
	return all
}
