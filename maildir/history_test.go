package maildir

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/maildir/index"
)

// A long history of single steps by two processes of ours and by other programs,
// one after the other, so that after each step it is known exactly what must be
// there. (The storms do the same work at one time, and can only check the end.)

// world is one Maildir and what must be in it.
type world struct {
	t       *testing.T
	options Options
	rnd     *rand.Rand
	dir     string
	stores  [2]*Stores
	indexes [2]*index.Index
	clients [2]map[string]*client
	box     [2]map[string]*Mailbox
	watch   [2]map[string]*session

	next   int                       // number of the next message
	want   map[string]map[string]int // folder -> subject -> how often
	given  map[string]map[UID]string // folder and UIDVALIDITY -> UID -> base, for ever
	top    map[string]UID            // the greatest UID known
	before map[string]map[UID]bool   // UIDs that were there at the last look
	log    []string
}

// session follows a mailbox by its changes alone.
type session struct {
	w     *Watcher
	flags map[UID]Flags
	last  UID
}

// client remembers a folder as one that speaks QRESYNC does, over connections and
// restarts of the server (RFC 7162 section 3.2).
type client struct {
	highest ModSeq
	flags   map[UID]Flags
}

var historyFolders = []string{"INBOX", "A", "B.C"}

func newWorld(t *testing.T, seed uint64, o Options) *world {
	o.NoInotify = true
	w := &world{
		t: t, options: o, rnd: rand.New(rand.NewPCG(seed, 3)), dir: filepath.Join(t.TempDir(), "Maildir"),
		want: map[string]map[string]int{}, given: map[string]map[UID]string{}, top: map[string]UID{}, before: map[string]map[UID]bool{},
	}
	for i := range w.stores {
		w.clients[i] = map[string]*client{}
		w.start(i)
	}
	for _, name := range historyFolders[1:] {
		if err := w.stores[0].Store(testOwner(), w.dir).Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range historyFolders {
		w.want[name] = map[string]int{}
	}
	return w
}

// start begins process i, with nothing in memory.
func (w *world) start(i int) {
	o := w.options
	x, err := index.Open(index.Options{Dir: filepath.Join(filepath.Dir(w.dir), fmt.Sprint("cache", i)), NoText: true})
	if err != nil {
		w.t.Fatal(err)
	}
	o.Index, w.indexes[i] = x, x
	w.stores[i] = NewStores(o)
	w.box[i], w.watch[i] = map[string]*Mailbox{}, map[string]*session{}
	if err := w.stores[i].Store(testOwner(), w.dir).Prepare(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stop(i int) {
	for name, m := range w.box[i] {
		w.watch[i][name].w.Close()
		m.Close()
	}
	if err := errors.Join(w.stores[i].Close(), w.indexes[i].Close()); err != nil {
		w.t.Error(err)
	}
}

// mailbox is a folder as process i has it, brought up to date.
func (w *world) mailbox(i int, name string) *Mailbox {
	m := w.box[i][name]
	if m == nil {
		m = w.must1(w.stores[i].Store(testOwner(), w.dir).Open(w.t.Context(), name))
		s := &session{w: m.Watch(nil), flags: map[UID]Flags{}}
		w.box[i][name], w.watch[i][name] = m, s
		for _, msg := range s.w.Snapshot() {
			s.flags[msg.UID], s.last = msg.Flags, msg.UID
		}
		return m
	}
	m.force.Store(true) // steps follow each other faster than directory times tell
	if err := m.Sync(w.t.Context()); err != nil {
		w.fail("Sync of %s: %v", name, err)
	}
	return m
}

func (w *world) must1(m *Mailbox, err error) *Mailbox {
	if err != nil {
		w.fail("%v", err)
	}
	return m
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf(format+"\nhistory:\n%s", append(args, strings.Join(w.log[max(0, len(w.log)-25):], "\n"))...)
}

func (w *world) path(name string) string {
	if name == "INBOX" {
		return w.dir
	}
	return filepath.Join(w.dir, "."+name)
}

func (w *world) subject() string { w.next++; return fmt.Sprint("s", w.next) }

// foreignLock takes the lock of the uidlist as a living program on another host.
func (w *world) foreignLock(name string) (unlock func()) {
	lock := filepath.Join(w.path(name), listLock)
	for {
		f, err := os.OpenFile(lock, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			fmt.Fprint(f, "1:otherhost")
			f.Close()
			return func() { os.Remove(lock) }
		}
		if !errors.Is(err, os.ErrExist) {
			w.fail("%v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// lastUID reads the end of the uidlist; the lock is held.
func (w *world) lastUID(name string) (uid UID) {
	head, rest, _ := strings.Cut(read(w.t, w.path(name), listName), "\n")
	h, err := parseListHeader(head)
	if err != nil {
		w.fail("%v", err)
	}
	st, err := parseList(rest, 3, 0, func(listLine) {})
	if err != nil || st.partial {
		w.fail("%+v, %v", st, err)
	}
	return max(h.next-1, st.last)
}

// pick chooses a message of a folder.
func (w *world) pick(m *Mailbox) (Message, bool) {
	list := m.Messages()
	if len(list) == 0 {
		return Message{}, false
	}
	return list[w.rnd.IntN(len(list))], true
}

// file chooses a message file on disk.
func (w *world) file(name string) (path string, ok bool) {
	var all []string
	for _, sub := range []string{"new", "cur"} {
		for _, f := range files(w.t, filepath.Join(w.path(name), sub)) {
			all = append(all, filepath.Join(w.path(name), sub, f))
		}
	}
	if len(all) == 0 {
		return "", false
	}
	return all[w.rnd.IntN(len(all))], true
}

func (w *world) subjectOf(m *Mailbox, uid UID) string { return subject(w.t, m, uid) }

// steps are what can happen. Each knows what it changes.
var steps = map[string]func(w *world, i int, name string) string{
	"deliver": func(w *world, i int, name string) string {
		s := w.subject()
		var d Delivery
		if w.rnd.IntN(3) == 0 {
			d = Delivery{Flags: Seen, Keywords: []string{fmt.Sprint("kw", w.rnd.IntN(4))}}
		}
		if _, err := w.stores[i].Store(testOwner(), w.dir).Deliver(w.t.Context(), name, content(s), d); err != nil {
			w.fail("%v", err)
		}
		w.want[name][s]++
		return s
	},
	"append": func(w *world, i int, name string) string {
		s := w.subject()
		m := w.mailbox(i, name)
		uid, err := m.Append(w.t.Context(), content(s), Delivery{Flags: Flagged})
		if err != nil || w.subjectOf(m, uid) != s {
			w.fail("append gave %d, %v", uid, err)
		}
		w.want[name][s]++
		return s
	},
	"drop": func(w *world, _ int, name string) string {
		s := w.subject()
		file := []string{"new/%d.f%d.h", "cur/%d.f%d.h:2,S", "cur/%d.f%d.h", "new/%d.f%d.h:2,F", "cur/%d.f%d.h:2,XSz,more"}[w.rnd.IntN(5)]
		write(w.t, w.path(name), fmt.Sprintf(file, w.rnd.IntN(1e9), w.next), "Subject: "+s+"\n\n")
		w.want[name][s]++
		return file
	},
	"foreign flags": func(w *world, _ int, name string) string {
		path, ok := w.file(name)
		if !ok {
			return "none"
		}
		_, flags, _, _ := splitName([]byte(filepath.Base(path)))
		to := filepath.Join(w.path(name), "cur", withFlags(filepath.Base(path), flags^Flagged^Keyword(w.rnd.IntN(3))))
		if err := os.Rename(path, to); err != nil {
			w.fail("%v", err)
		}
		return filepath.Base(to)
	},
	"foreign removal": func(w *world, _ int, name string) string {
		path, ok := w.file(name)
		if !ok {
			return "none"
		}
		s := strings.TrimSpace(strings.TrimPrefix(strings.SplitN(read(w.t, filepath.Dir(path), filepath.Base(path)), "\n", 2)[0], "Subject: "))
		if err := os.Remove(path); err != nil {
			w.fail("%v", err)
		}
		w.want[name][s]--
		return s
	},
	"foreign UID": func(w *world, _ int, name string) string { // as Dovecot's delivery does
		list, err := os.ReadFile(filepath.Join(w.path(name), listName))
		if err != nil || len(list) == 0 {
			return "no list"
		}
		s := w.subject()
		base := fmt.Sprintf("%d.M1P1.dovecot,S=%d", w.next, len(s)+11)
		unlock := w.foreignLock(name)
		write(w.t, w.path(name), "new/"+base, "Subject: "+s+"\n\n")
		uid := w.lastUID(name) + 1 + UID(w.rnd.IntN(3))
		appendTo(w.t, w.path(name), listName, fmt.Sprintf("%d :%s\n", uid, base))
		unlock()
		w.want[name][s]++
		return fmt.Sprint(uid)
	},
	"store": func(w *world, i int, name string) string {
		m := w.mailbox(i, name)
		msg, ok := w.pick(m)
		if !ok {
			return "none"
		}
		op, kw := FlagOp(w.rnd.IntN(3)), fmt.Sprint("kw", w.rnd.IntN(4))
		stored, _, err := m.StoreFlags(w.t.Context(), []UID{msg.UID}, op, Seen, []string{kw}, StoreOptions{})
		if err != nil || len(stored) != 1 || op == AddFlags && stored[0].Flags&Seen == 0 {
			w.fail("stored %+v, %v", stored, err)
		}
		return fmt.Sprint(msg.UID, op)
	},
	"expunge": func(w *world, i int, name string) string {
		m := w.mailbox(i, name)
		msg, ok := w.pick(m)
		if !ok {
			return "none"
		}
		s := w.subjectOf(m, msg.UID)
		if _, _, err := m.StoreFlags(w.t.Context(), []UID{msg.UID}, AddFlags, Deleted, nil, StoreOptions{}); err != nil {
			w.fail("%v", err)
		}
		gone, err := m.Expunge(w.t.Context(), []UID{msg.UID})
		if err != nil || !slices.Equal(gone, []UID{msg.UID}) {
			w.fail("expunged %v, %v", gone, err)
		}
		w.want[name][s]--
		return fmt.Sprint(msg.UID)
	},
	"copy": func(w *world, i int, name string) string { return w.transfer(i, name, false) },
	"move": func(w *world, i int, name string) string { return w.transfer(i, name, true) },
	"list lost": func(w *world, i int, name string) string {
		if w.rnd.IntN(4) > 0 {
			return "not now"
		}
		w.mailbox(i, name) // this process has all UIDs in memory and will write them
		if err := os.Remove(filepath.Join(w.path(name), listName)); err != nil {
			w.fail("%v", err)
		}
		w.mailbox(i, name)
		return "removed"
	},
	"restart": func(w *world, i int, _ string) string {
		w.stop(i)
		w.start(i)
		return ""
	},
	"claim": func(w *world, i int, name string) string {
		w.mailbox(i, name)
		if err := w.watch[i][name].w.ClaimRecent(w.t.Context()); err != nil {
			w.fail("%v", err)
		}
		return ""
	},
	"rename there and back": func(w *world, i int, name string) string {
		s := w.stores[i].Store(testOwner(), w.dir)
		if name == "INBOX" {
			return "not INBOX"
		}
		if m := w.box[1-i][name]; m != nil { // the other process may look in between, and find it removed
			w.watch[1-i][name].w.Close()
			m.Close()
			delete(w.box[1-i], name)
		}
		if err := errors.Join(s.Rename(w.t.Context(), name, "Elsewhere"), s.Rename(w.t.Context(), "Elsewhere", name)); err != nil {
			w.fail("%v", err)
		}
		return ""
	},
}

func (w *world) transfer(i int, name string, move bool) string {
	to := historyFolders[w.rnd.IntN(len(historyFolders))]
	src, dst := w.mailbox(i, name), w.mailbox(i, to)
	msg, ok := w.pick(src)
	if !ok || move && src == dst {
		return "none"
	}
	s := w.subjectOf(src, msg.UID)
	fn := src.Copy
	if move {
		fn = src.Move
	}
	from, uids, err := fn(w.t.Context(), []UID{msg.UID}, dst)
	if err != nil || len(from) != 1 || len(uids) != 1 || w.subjectOf(dst, uids[0]) != s {
		w.fail("%v to %v, %v", from, uids, err)
	}
	w.want[to][s]++
	if move {
		w.want[name][s]--
	}
	return fmt.Sprintf("%s:%d to %s:%d", name, msg.UID, to, uids[0])
}

func TestHistory(t *testing.T) {
	names := slices.Sorted(maps.Keys(steps))
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed, Options{})
			for n := range 120 {
				i, folder := w.rnd.IntN(2), historyFolders[w.rnd.IntN(len(historyFolders))]
				step := names[w.rnd.IntN(len(names))]
				w.log = append(w.log, fmt.Sprintf("%d: process %d, %s: %s", n, i, folder, step))
				w.log[n] += " " + steps[step](w, i, folder)
				for _, name := range historyFolders {
					w.check(w.rnd.IntN(2), name)
				}
			}
			for i := range w.stores {
				for _, name := range historyFolders {
					w.check(i, name)
				}
				w.stop(i)
			}
		})
	}
}

// A delivery got its file; before it gets its UID, another program removes or
// renames the file.
func TestDeliveredFileThatIsGoneGetsNoUID(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(path, dir string) error
		want      []string
	}{
		"removed": {func(path, _ string) error { return os.Remove(path) }, nil},
		"renamed": {func(path, dir string) error { return os.Rename(path, filepath.Join(dir, "cur/1.h:2,S")) }, []string{"1 1.h S"}},
		"waits":   {func(string, string) error { return nil }, []string{"1 1.h "}},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := testStore(t, Options{NoInotify: true})
			m := open(t, s, "INBOX")
			w := m.Watch(nil)
			defer w.Close()
			write(t, dir, "new/1.h", "x")
			if err := c.meanwhile(filepath.Join(dir, "new/1.h"), dir); err != nil {
				t.Fatal(err)
			}
			m.disk <- struct{}{}
			m.assignBatch([]*arrival{{stored: stored{Delivered: Delivered{Name: "1.h"}, name: "1.h", in: inNew}, placed: true}})
			m.unlockDisk()
			wantState(t, m, c.want...)
		})
	}
}
