package index

import (
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"
)

// stateModel is a State that changes as Note and the others say.
type stateModel struct {
	messages map[UID]MessageState
	vanished []Vanished
	from     ModSeq
	highest  ModSeq
	keywords []string
}

func (s *stateModel) state() State {
	messages := slices.SortedFunc(maps.Values(s.messages), func(a, b MessageState) int { return compareUID(a.UID, b.UID) })
	return State{Highest: s.highest, Messages: messages, Vanished: slices.Clone(s.vanished), VanishedFrom: s.from, Keywords: slices.Clone(s.keywords)}
}

// sameState compares states; nil and empty are the same.
func sameState(a, b State) bool {
	return a.Highest == b.Highest && a.VanishedFrom == b.VanishedFrom && slices.Equal(a.Messages, b.Messages) &&
		slices.Equal(a.Vanished, b.Vanished) && slices.Equal(a.Keywords, b.Keywords)
}

// TestStateFollowsItsModel does what may happen to a folder in any order.
func TestStateFollowsItsModel(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 55))
	dir := t.TempDir()
	x := openIndex(t, dir)
	m := x.Mailbox("alice", "0123", 7)
	m.LoadState()
	model := &stateModel{messages: map[UID]MessageState{}}
	m.Reset(model.state())
	next, seq := UID(1), ModSeq(1000)
	for step := range 4000 {
		seq++
		switch r.IntN(40) {
		default:
			uid := UID(1 + r.IntN(int(next)))
			if _, ok := model.messages[uid]; !ok {
				uid = next
				next++
			}
			c := MessageState{seq, uid, r.Uint32(), r.Uint32()}
			m.Note(c)
			model.messages[uid] = c
			model.highest = seq
		case 1, 2, 3:
			for uid := range model.messages {
				m.NoteVanished(Vanished{seq, uid})
				delete(model.messages, uid)
				model.vanished = append(model.vanished, Vanished{seq, uid})
				model.highest = seq
				break
			}
		case 4:
			model.keywords = []string{"a", "", string(rune('a' + r.IntN(26)))}
			m.NoteKeywords(model.keywords)
		case 5:
			m.flush()
		case 6:
			if r.IntN(5) == 0 {
				model = &stateModel{messages: map[UID]MessageState{1: {seq, 1, 2, 3}}, highest: seq, from: seq}
				m.Reset(model.state())
			}
		case 7:
			m.Close()
			if r.IntN(2) == 0 {
				x.Close()
				x = openIndex(t, dir)
			}
			m = x.Mailbox("alice", "0123", 7)
			got, ok := m.LoadState()
			if want := model.state(); !ok || !sameState(got, want) {
				t.Fatalf("step %d: %v\n%+v, want\n%+v", step, ok, got, want)
			}
		case 8:
			m.flush()
			kill(x)
			m.mu.Lock()
			m.removed = true // what a killed process does not do any more
			m.mu.Unlock()
			x = openIndex(t, dir)
			m = x.Mailbox("alice", "0123", 7)
			if _, ok := m.LoadState(); ok {
				t.Fatalf("step %d: a state that was not completed is trusted", step)
			}
			m.Reset(model.state())
		}
	}
	if len(model.messages) == 0 {
		t.Error("the test does nothing")
	}
}

func TestTableFollowsItsModel(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 66))
	var tab table
	model := map[UID]entry{}
	for range 500 {
		var more table
		top := 50 + r.IntN(1000)
		for range r.IntN(30) {
			more = append(more, entry{UID(1 + r.IntN(top)), uint32(1 + r.IntN(100)), r.Int64N(1e6)})
		}
		more = tableOf(more)
		before := slices.Clone(tab)
		old := tab
		sum := func() (n int64) {
			for _, e := range model {
				n += int64(e.size)
			}
			return n
		}
		size := sum()
		var gone int64
		if r.IntN(3) == 0 {
			var uids []UID
			for _, e := range more {
				uids = append(uids, e.uid)
				delete(model, e.uid)
			}
			tab, gone = tab.without(uids)
			size -= gone
		} else {
			added := int64(0)
			for _, e := range more {
				model[e.uid] = e
				added += int64(e.size)
			}
			tab, gone = tab.merge(more)
			size += added - gone
		}
		if want := sum(); size != want {
			t.Fatalf("%d bytes, want %d", size, want)
		}
		if !slices.Equal(old, before) {
			t.Fatal("the table of a reader has changed")
		}
		want := slices.SortedFunc(maps.Values(model), func(a, b entry) int { return compareUID(a.uid, b.uid) })
		if !slices.Equal(tab, want) {
			t.Fatalf("%v, want %v", tab, want)
		}
		for uid := range UID(top) {
			i, ok := tab.find(uid)
			if _, there := model[uid]; ok != there || ok && tab[i].uid != uid || !ok && i < len(tab) && tab[i].uid < uid {
				t.Fatalf("find %d: %d %v", uid, i, ok)
			}
		}
	}
}

func TestTableOfALog(t *testing.T) {
	got := tableOf([]entry{{3, 10, 0}, {1, 10, 10}, {3, 20, 20}, {2, 5, 40}, {1, 0, 0}, {4, 1, 45}, {2, 0, 0}, {2, 7, 50}})
	want := table{{2, 7, 50}, {3, 20, 20}, {4, 1, 45}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestWindowGivesWhatTheFileHas(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 77))
	content := make([]byte, 1<<20)
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	path := t.TempDir() + "/file"
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var w window
	at := 0
	for range 20000 {
		n := r.IntN(3000)
		switch r.IntN(20) {
		case 0:
			at = r.IntN(len(content) + 1000)
		case 1:
			n = r.IntN(200_000)
		}
		want := content[min(at, len(content)):min(at+n, len(content))]
		if got := w.read(f, int64(at), n); string(got) != string(want) {
			t.Fatalf("%d bytes at %d: got %d bytes", n, at, len(got))
		}
		at += n
	}
}

func TestFilesOfAnotherVersionAreMadeAnew(t *testing.T) {
	h := fileHeader{kind: rowsFile, validity: 7, owner: ownerOf("alice", "0123"), stamp: 99}
	good := h.append(nil)
	if stamp, err := h.check(good); err != nil || stamp != 99 {
		t.Fatalf("%d %v", stamp, err)
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1
		if _, err := h.check(bad); err == nil {
			t.Errorf("byte %d may be any", i)
		}
	}
	for name, other := range map[string]fileHeader{
		"kind":     {wireFile, 7, h.owner, 99},
		"validity": {rowsFile, 8, h.owner, 99},
		"user":     {rowsFile, 7, ownerOf("bob", "0123"), 99},
		"guid":     {rowsFile, 7, ownerOf("alice", "4567"), 99},
	} {
		if _, err := h.check(other.append(nil)); err == nil {
			t.Errorf("another %s counts", name)
		}
	}
	if _, err := h.check(good[:headerLen-1]); err == nil {
		t.Error("half a header counts")
	}
}

func TestEpochIsReadBack(t *testing.T) {
	e := epoch{trust: 1, ended: true, ino: 2, dev: 3, boot: "boot"}
	if got, ok := parseEpoch(e.bytes()); !ok || got != e {
		t.Errorf("%+v %v", got, ok)
	}
	b := e.bytes()
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 4
		if _, ok := parseEpoch(bad); ok {
			t.Errorf("byte %d may be any", i)
		}
		if _, ok := parseEpoch(b[:i]); ok {
			t.Errorf("%d bytes are an epoch", i)
		}
	}
}
