package index

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"
)

func someState() State {
	return State{
		Highest: 900, VanishedFrom: 100, Keywords: []string{"$Junk", "", "work"},
		Messages: []MessageState{{101, 1, 4, BaseHash("a")}, {500, 3, 0, BaseHash("c")}, {700, 4, 1 << 31, BaseHash("d")}},
		Vanished: []Vanished{{300, 2}},
	}
}

// kill lets an Index go as if its process had been killed.
func kill(x *Index) { x.lock.Close() }

func TestStateSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	x := openIndex(t, dir)
	m := x.Mailbox("alice", "0123", 7)
	if _, ok := m.LoadState(); ok {
		t.Fatal("a state out of nothing")
	}
	m.Reset(someState())
	m.Note(MessageState{1000, 3, 8, BaseHash("c")}, MessageState{1001, 9, 0, BaseHash("i")})
	m.NoteVanished(Vanished{1002, 4}, Vanished{1003, 9})
	m.NoteKeywords([]string{"$Junk", "new"})
	m.Close()
	x.Close()
	want := State{
		Highest: 1003, VanishedFrom: 100, Keywords: []string{"$Junk", "new"},
		Messages: []MessageState{{101, 1, 4, BaseHash("a")}, {1000, 3, 8, BaseHash("c")}},
		Vanished: []Vanished{{300, 2}, {1002, 4}, {1003, 9}},
	}
	for range 3 { // also when nothing is noted in between
		x = openIndex(t, dir)
		m = x.Mailbox("alice", "0123", 7)
		got, ok := m.LoadState()
		if !ok || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v %+v, want\n%+v", ok, got, want)
		}
		m.Close()
		x.Close()
	}
	x = openIndex(t, dir)
	if _, ok := x.Mailbox("alice", "0123", 8).LoadState(); ok {
		t.Error("a state counts for another UIDVALIDITY")
	}
	if _, ok := x.Mailbox("alice", "0123", 7).LoadState(); ok {
		t.Error("the state of a former UIDVALIDITY is still there")
	}
}

func TestStateIsTrustedOnlyIfComplete(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(t *testing.T, x *Index, m *Mailbox)
		want bool
	}{
		{"closed", func(_ *testing.T, x *Index, m *Mailbox) { m.Close(); x.Close() }, true},
		{"index closed first", func(_ *testing.T, x *Index, m *Mailbox) { x.Close(); m.Close() }, true},
		{"noted after the index was closed", func(_ *testing.T, x *Index, m *Mailbox) { x.Close(); m.Note(MessageState{1e6, 1, 1, 1}) }, false},
		{"killed while in use", func(_ *testing.T, x *Index, m *Mailbox) { m.flush(); kill(x) }, false},
		{"killed when closed", func(_ *testing.T, x *Index, m *Mailbox) { m.Close(); kill(x) }, true},
		{"power cut", func(t *testing.T, x *Index, m *Mailbox) { m.Close(); kill(x); reboot(t, x.opt.Dir) }, false},
		{"reboot", func(t *testing.T, x *Index, m *Mailbox) { m.Close(); x.Close(); reboot(t, x.opt.Dir) }, true},
		{"restored from a backup", func(t *testing.T, x *Index, m *Mailbox) {
			m.Close()
			x.Close()
			restore(t, filepath.Join(x.opt.Dir, "epoch"))
		}, false},
		{"epoch deleted", func(_ *testing.T, x *Index, m *Mailbox) {
			m.Close()
			os.Remove(filepath.Join(x.opt.Dir, "epoch"))
			x.Close()
		}, false},
		{"state deleted", func(_ *testing.T, x *Index, m *Mailbox) {
			m.flush()
			os.Remove(m.statePath())
			m.Note(MessageState{1e6, 1, 1, 1})
			m.Close()
			x.Close()
		}, false},
		{"all deleted", func(_ *testing.T, x *Index, m *Mailbox) {
			m.flush()
			os.RemoveAll(x.opt.Dir)
			m.Note(MessageState{1e6, 1, 1, 1})
			m.Close()
			x.Close()
		}, false},
		{"cut off at a record", func(t *testing.T, x *Index, m *Mailbox) {
			m.flush()
			size := m.state.size
			m.Note(MessageState{1e6, 1, 1, 1})
			m.flush()
			if err := os.Truncate(m.statePath(), size); err != nil {
				t.Fatal(err)
			}
			m.Close()
			x.Close()
		}, false},
		{"cut off at the header", func(t *testing.T, x *Index, m *Mailbox) {
			m.flush()
			if err := os.Truncate(m.statePath(), headerLen); err != nil {
				t.Fatal(err)
			}
			m.Note(MessageState{1e6, 1, 1, 1})
			m.Close()
			x.Close()
		}, false},
		{"cut off, and loaded again", func(t *testing.T, x *Index, m *Mailbox) {
			m.flush()
			if err := os.Truncate(m.statePath(), headerLen); err != nil {
				t.Fatal(err)
			}
			x.Mailbox("alice", "0123", 7).LoadState()
			m.Close()
			x.Mailbox("alice", "0123", 7).Close()
			x.Close()
		}, false},
		{"cut off, and compacted", func(t *testing.T, x *Index, m *Mailbox) {
			m.flush()
			if err := os.Truncate(m.statePath(), headerLen); err != nil {
				t.Fatal(err)
			}
			for range 1000 {
				m.Note(slices.Repeat([]MessageState{{1e6, 1, 1, 1}}, 250)...)
			}
			m.Close()
			x.Close()
		}, false},
		{"loaded twice", func(_ *testing.T, x *Index, m *Mailbox) {
			other := x.Mailbox("alice", "0123", 7)
			other.LoadState()
			m.Close()
			other.Close()
			x.Close()
		}, true},
		{"second user left open", func(_ *testing.T, x *Index, m *Mailbox) {
			x.Mailbox("alice", "0123", 7).LoadState()
			m.Close()
			kill(x)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			x := openIndex(t, dir)
			m := x.Mailbox("alice", "0123", 7)
			m.LoadState()
			m.Reset(someState())
			c.end(t, x, m)
			got, ok := openIndex(t, dir).Mailbox("alice", "0123", 7).LoadState()
			if ok != c.want || ok && !reflect.DeepEqual(got, someState()) {
				t.Errorf("%v %+v", ok, got)
			}
		})
	}
}

// reboot makes the epoch look as if the machine had been booted since.
func reboot(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "epoch")
	e, ok := lastEpoch(path)
	if !ok {
		t.Fatal("no epoch")
	}
	e.boot = "another"
	if err := os.WriteFile(path, e.bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// restore makes a copy of a file in its place.
func restore(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".copy", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".copy", path); err != nil {
		t.Fatal(err)
	}
}

func TestStateLogIsCompacted(t *testing.T) {
	dir := t.TempDir()
	x := openIndex(t, dir)
	m := x.Mailbox("alice", "0123", 7)
	m.LoadState()
	m.Reset(someState())
	seq := ModSeq(1000)
	for range 300 {
		for range 1000 {
			seq++
			m.Note(MessageState{seq, UID(1 + seq%5*2), uint32(seq), BaseHash("x")})
		}
		m.flush()
	}
	if info, err := os.Stat(m.statePath()); err != nil || info.Size() > 17*minWaste {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	m.Close()
	s, ok := x.Mailbox("alice", "0123", 7).LoadState()
	if !ok || s.Highest != seq || len(s.Messages) != 6 || s.Messages[5].ModSeq < seq-5 {
		t.Errorf("%v %+v", ok, s)
	}
}

func TestVanishedIsBounded(t *testing.T) {
	x := openIndex(t, t.TempDir())
	m := x.Mailbox("alice", "0123", 7)
	m.LoadState()
	m.Reset(someState())
	const more = 1000
	for i := range maxVanished + more {
		m.NoteVanished(Vanished{ModSeq(10000 + i), UID(1000 + i)})
	}
	m.Close()
	s, ok := x.Mailbox("alice", "0123", 7).LoadState()
	if !ok || len(s.Vanished) != maxVanished || s.Vanished[0].ModSeq != 10000+more || s.VanishedFrom != 10000+more-1 {
		t.Errorf("%v: %d, from %d; first %v", ok, len(s.Vanished), s.VanishedFrom, s.Vanished[0])
	}
}

func TestNilKeepsNothing(t *testing.T) {
	var x *Index
	m := x.Mailbox("alice", "0123", 7)
	x.Remove("alice", "0123")
	x.RemoveUser("alice")
	if _, ok := m.LoadState(); ok {
		t.Error("state")
	}
	m.Reset(State{})
	m.Note(MessageState{})
	m.NoteVanished(Vanished{})
	m.NoteKeywords(nil)
	m.Forget([]UID{1})
	if err := m.Put(Message{}); err != nil {
		t.Error(err)
	}
	if err := m.View(func(r *Reader) error {
		if _, ok := r.Row(1, "a"); ok {
			t.Error("row")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if left := m.Untexted([]Key{{1, "a"}}, nil); len(left) != 1 {
		t.Error(left)
	}
	m.Close()
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	openIndex(t, dir)
	if _, err := Open(Options{Dir: dir}); err != ErrLocked {
		t.Errorf("%v", err)
	}
}

func FuzzState(f *testing.F) {
	s := someState()
	f.Add(s.appendItems(nil))
	f.Add([]byte("OCOMM"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r stateReader
		if r.items(b) != nil {
			return
		}
		r.finish()
		if !slices.IsSortedFunc(r.Messages, func(a, b MessageState) int { return compareUID(a.UID, b.UID) }) {
			t.Fatal("not sorted")
		}
		for i := range r.Messages[:max(0, len(r.Messages)-1)] {
			if r.Messages[i].UID == r.Messages[i+1].UID {
				t.Fatal("twice")
			}
		}
		var again stateReader
		if err := again.items(r.appendItems(nil)); err != nil {
			t.Fatal(err)
		}
		again.finish()
		if len(again.Messages) != len(r.Messages) || len(again.Vanished) != len(r.Vanished) || again.Highest != r.Highest {
			t.Fatalf("%+v\n%+v", r.State, again.State)
		}
	})
}

func BenchmarkNote(b *testing.B) {
	m := openIndex(b, b.TempDir()).Mailbox("alice", "0123", 7)
	m.LoadState()
	m.Reset(someState())
	b.ReportAllocs()
	seq := ModSeq(time.Now().UnixMicro())
	for b.Loop() {
		seq++
		m.Note(MessageState{seq, 7, 8, 9})
	}
}

func BenchmarkLoadState100k(b *testing.B) {
	x := openIndex(b, b.TempDir())
	m := x.Mailbox("alice", "0123", 7)
	m.LoadState()
	s := State{Highest: 1}
	for i := range 100000 {
		s.Messages = append(s.Messages, MessageState{ModSeq(i + 1000), UID(i + 1), 4, uint32(i)})
	}
	m.Reset(s)
	m.Close()
	b.ReportAllocs()
	for b.Loop() {
		m := x.Mailbox("alice", "0123", 7)
		if s, ok := m.LoadState(); !ok || len(s.Messages) != 100000 {
			b.Fatal(ok, len(s.Messages))
		}
		m.Close()
	}
}
