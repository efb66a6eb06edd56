package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const aGUID = "6ae4b403ee73046bd33e000083ecc375"

// state gives a mailbox as text: UID, base and flag letters of each message.
func state(m *Mailbox) (lines []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.recs {
		if r := &m.recs[i]; r.live() {
			lines = append(lines, fmt.Sprintf("%d %s %s", r.uid, r.base, r.flags.appendLetters(nil, "")))
		}
	}
	return lines
}

func wantState(t *testing.T, m *Mailbox, want ...string) {
	t.Helper()
	for i := range want {
		if strings.Count(want[i], " ") == 1 {
			want[i] += " "
		}
	}
	if got := state(m); !slices.Equal(got, want) {
		t.Errorf("state %q, want %q", got, want)
	}
}

// writeList writes a version 3 uidlist.
func writeList(t *testing.T, dir, next string, records ...string) {
	t.Helper()
	write(t, dir, listName, "3 V1700000000 N"+next+" G"+aGUID+"\n"+strings.Join(records, ""))
}

func TestOpenReadsDovecotsList(t *testing.T) {
	for _, c := range []struct {
		name    string
		list    string
		files   string
		want    []string
		next    UID
		newList bool // another UIDVALIDITY than 1700000000
	}{
		{"stale next UID", "3 V1700000000 N1 G" + aGUID + "\n1 :a\n7 :b\n", "cur/a:2,S cur/b", []string{"1 a S", "7 b "}, 8, false},
		{"next UID beyond the records", "3 V1700000000 N50 G" + aGUID + "\n1 :a\n", "cur/a cur/b", []string{"1 a ", "50 b "}, 51, false},
		{"records without a file stay used", "3 V1700000000 N1 G" + aGUID + "\n1 :a\n9 :gone\n", "cur/a new/b", []string{"1 a ", "10 b "}, 11, false},
		{"of two records the later holds", "3 V1700000000 N1 G" + aGUID + "\n1 :a\n2 :b\n3 :a\n", "cur/a cur/b", []string{"2 b ", "3 a "}, 4, false},
		{"version 1 of Courier", "1 1700000000 5\n1 a\n4 b\n", "cur/a:2,S cur/b:2, cur/c", []string{"1 a S", "4 b ", "5 c "}, 6, false},
		{"no GUID", "3 V1700000000 N2\n1 :a\n", "cur/a", []string{"1 a "}, 2, false},
		{"half a line of a crash", "3 V1700000000 N1 G" + aGUID + "\n1 :a\n2 :b", "cur/a cur/b", []string{"1 a ", "2 b "}, 3, false},
		{"a block of zeros", "3 V1700000000 N1 G" + aGUID + "\n1 :a\n" + strings.Repeat("\x00", 99) + "\n", "cur/a cur/b", []string{"1 a ", "102 b "}, 103, false},
		{"corrupt order", "3 V1700000000 N1 G" + aGUID + "\n2 :a\n1 :b\n", "cur/1.a cur/2.b", []string{"1 1.a ", "2 2.b "}, 3, true},
		{"corrupt header", "3 N5\n", "cur/a", []string{"1 a "}, 2, true},
		{"empty file", "", "cur/a", []string{"1 a "}, 2, true},
		{"header alone without an index", "3 V1700000000 N1 G" + aGUID + "\n", "cur/a", []string{"1 a "}, 2, false},
		{"header alone beside Dovecot's index", "3 V1700000000 N1 G" + aGUID + "\n", "cur/a dovecot.index.log", []string{"1 a "}, 2, true},
		{"header alone, new mail only", "3 V1700000000 N1 G" + aGUID + "\n", "new/a dovecot.index.log", []string{"1 a "}, 2, false},
		{"order of UIDs is that of names", "3 V1700000000 N1 G" + aGUID + "\n", "new/10.M5P1.h new/9.M9P1.h cur/10.M12P1.h:2,S", []string{"1 9.M9P1.h ", "2 10.M5P1.h ", "3 10.M12P1.h S"}, 4, false},
		{"odd names", "3 V1700000000 N1 G" + aGUID + "\n", "cur/.hidden cur/a:2,XS cur/b:2,S,rest cur/c:1,e new/d:2,Fa", []string{"1 a S", "2 b S", "3 c ", "4 d Fa"}, 5, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, dir := testStore(t, Options{})
			write(t, dir, listName, c.list)
			for _, name := range strings.Fields(c.files) {
				write(t, dir, name, "Subject: x\n\nx\n")
			}
			m := open(t, s, "INBOX")
			wantState(t, m, c.want...)
			if m.UIDNext() != c.next || (m.UIDValidity() != 1700000000) != c.newList {
				t.Errorf("UIDNEXT %d, UIDVALIDITY %d", m.UIDNext(), m.UIDValidity())
			}
			if len(m.GUID()) != 32 {
				t.Errorf("GUID %q", m.GUID())
			}
			// Another process reads the same from what is on disk now.
			other := NewStores(Options{})
			defer other.Close()
			again := open(t, other.Store(s.owner, dir), "INBOX")
			wantState(t, again, c.want...)
			if again.UIDValidity() != m.UIDValidity() || again.UIDNext() < m.UIDNext() || again.GUID() != m.GUID() {
				t.Errorf("another reader: %d %d %s", again.UIDValidity(), again.UIDNext(), again.GUID())
			}
		})
	}
}

func TestCorruptListIsKeptAside(t *testing.T) {
	s, dir := testStore(t, Options{})
	text := "3 V1700000000 N1\n5 :a\n5 :b\n"
	write(t, dir, listName, text)
	open(t, s, "INBOX")
	kept, _ := filepath.Glob(filepath.Join(dir, listName+".corrupt.*"))
	if len(kept) != 1 {
		t.Fatalf("kept %q", kept)
	}
	if got, _ := os.ReadFile(kept[0]); string(got) != text {
		t.Errorf("%q", got)
	}
}

func TestUnknownWordsSurviveARewrite(t *testing.T) {
	s, dir := testStore(t, Options{})
	write(t, dir, listName, "3 V1700000000 N1 G"+aGUID+" P%08Xu\n1 :gone\n2 W123 Xfoo :a\n3 zbad :b\n")
	write(t, dir, "cur/a", "x")
	write(t, dir, "cur/b", "x")
	write(t, dir, "new/c", "x")
	open(t, s, "INBOX")
	want := "3 V1700000000 N5 G" + aGUID + " P%08Xu\n2 W123 Xfoo :a\n3 :b\n4 :c\n"
	if got := read(t, dir, listName); got != want {
		t.Errorf("list\n%s\nwant\n%s", got, want)
	}
}

func TestNewMailIsAppendedAndOldRecordsLeft(t *testing.T) {
	s, dir := testStore(t, Options{})
	writeList(t, dir, "1", "1 :a\n", "2 :b\n", "3 :c\n", "4 :d\n", "5 :gone\n")
	for _, name := range []string{"a", "b", "c", "d"} {
		write(t, dir, "cur/"+name, "x")
	}
	write(t, dir, "new/e", "x")
	before := read(t, dir, listName)
	m := open(t, s, "INBOX")
	if got := read(t, dir, listName); got != before+"6 :e\n" {
		t.Errorf("list\n%s", got)
	}
	// Once a quarter of the records is dead, the next new UID rewrites the list.
	if _, _, err := m.StoreFlags(t.Context(), []UID{1, 2}, AddFlags, Deleted, nil, StoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Expunge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	uid, err := m.Append(t.Context(), content("x"), Delivery{})
	if err != nil || uid != 7 {
		t.Fatalf("%d, %v", uid, err)
	}
	if got := read(t, dir, listName); !strings.HasPrefix(got, "3 V1700000000 N8 G"+aGUID+"\n3 :c\n4 :d\n6 :e\n7 :") {
		t.Errorf("list\n%s", got)
	}
}

func TestLinesOfAnotherProgramAreTaken(t *testing.T) {
	s, dir := testStore(t, Options{})
	writeList(t, dir, "1", "1 :a\n")
	write(t, dir, "cur/a", "x")
	m := open(t, s, "INBOX")
	write(t, dir, "new/b", "x")
	appendTo(t, dir, listName, "50 :b\n") // as Dovecot does
	syncNow(t, m)
	wantState(t, m, "1 a", "50 b")
	if uid, err := m.Append(t.Context(), content("x"), Delivery{}); err != nil || uid != 51 {
		t.Errorf("%d, %v", uid, err)
	}
}

func appendTo(t *testing.T, dir, name, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestAppendMendsHalfALine(t *testing.T) {
	s, dir := testStore(t, Options{})
	writeList(t, dir, "1", "1 :a\n")
	write(t, dir, "cur/a", "x")
	m := open(t, s, "INBOX")
	appendTo(t, dir, listName, "2 :123.M4") // a crash of another program
	for want := UID(2); want < 4; want++ {
		if uid, err := m.Append(t.Context(), content("x"), Delivery{}); err != nil || uid != want {
			t.Fatalf("%d, %v", uid, err)
		}
	}
	if got := read(t, dir, listName); strings.Contains(got, "M42") || strings.Count(got, "\n") != 4 {
		t.Errorf("list\n%s", got)
	}
}

func TestListReplacedOrLostWhileOpen(t *testing.T) {
	for _, c := range []struct {
		name string
		list string // "" removes it
		want []string
		gone bool
	}{
		{"rewritten without a record", "3 V1700000000 N9 G" + aGUID + "\n1 :a\n3 :c\n", []string{"1 a ", "3 c ", "9 b "}, false},
		{"rewritten with a new UID", "3 V1700000000 N9 G" + aGUID + "\n1 :a\n3 :c\n8 :b\n", []string{"1 a ", "3 c ", "8 b "}, false},
		{"an old UID for a file", "3 V1700000000 N9 G" + aGUID + "\n1 :b\n2 :a\n3 :c\n", []string{"3 c ", "9 a ", "10 b "}, false},
		{"a lower next UID", "3 V1700000000 N2 G" + aGUID + "\n1 :a\n", []string{"1 a ", "4 b ", "5 c "}, false},
		{"lost", "", []string{"1 a ", "2 b ", "3 c "}, false},
		{"corrupt", "3 V1700000000 N9 G" + aGUID + "\n1 :a\n1 :b\n", []string{"1 a ", "2 b ", "3 c "}, false},
		{"another UIDVALIDITY", "3 V1800000000 N9 G" + aGUID + "\n1 :c\n2 :b\n3 :a\n", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, dir := testStore(t, Options{})
			writeList(t, dir, "4", "1 :a\n", "2 :b\n", "3 :c\n")
			for _, name := range []string{"a", "b", "c"} {
				write(t, dir, "cur/"+name, "x")
			}
			m := open(t, s, "INBOX")
			if c.list == "" {
				os.Remove(filepath.Join(dir, listName))
			} else {
				write(t, dir, listName, c.list)
			}
			err := m.Sync(t.Context())
			if c.gone {
				if !errors.Is(err, ErrRemoved) {
					t.Errorf("err = %v", err)
				}
				again := open(t, s, "INBOX")
				wantState(t, again, "1 c", "2 b", "3 a")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantState(t, m, c.want...)
			if uid, err := m.Append(t.Context(), content("x"), Delivery{}); err != nil || uid < 4 {
				t.Errorf("%d, %v", uid, err)
			}
			other := NewStores(Options{})
			defer other.Close()
			if again := open(t, other.Store(s.owner, dir), "INBOX"); !slices.Equal(state(again), state(m)) || again.UIDValidity() != 1700000000 {
				t.Errorf("another reader has %q, we %q", state(again), state(m))
			}
		})
	}
}

func TestFileThatComesBackHasANewUID(t *testing.T) {
	s, dir := testStore(t, Options{})
	writeList(t, dir, "3", "1 :a\n", "2 :b\n")
	write(t, dir, "cur/a", "x")
	write(t, dir, "cur/b", "x")
	m := open(t, s, "INBOX")
	os.Rename(filepath.Join(dir, "cur/a"), filepath.Join(dir, "away"))
	syncNow(t, m)
	wantState(t, m, "2 b")
	os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, "cur/a"))
	syncNow(t, m)
	wantState(t, m, "2 b", "3 a")
}

func TestTwoFilesOfOneBase(t *testing.T) {
	s, dir := testStore(t, Options{})
	writeList(t, dir, "2", "1 :1.h,S=1,W=1\n")
	write(t, dir, "cur/1.h,S=1,W=1:2,S", "x")
	write(t, dir, "cur/1.h,S=1,W=1:2,", "y")
	m := open(t, s, "INBOX")
	if m.Len() != 2 {
		t.Fatalf("%q", state(m))
	}
	seen := map[string]bool{}
	for _, msg := range m.Messages() {
		f, err := m.OpenMessage(t.Context(), msg.UID)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 2)
		n, _ := f.Read(b)
		f.Close()
		seen[string(b[:n])] = true
	}
	if !seen["x"] || !seen["y"] {
		t.Errorf("contents %v", seen)
	}
	syncNow(t, m)
	if m.Len() != 2 {
		t.Errorf("%q", state(m))
	}
}

func TestTwoNamesOfOneFile(t *testing.T) {
	s, dir := testStore(t, Options{})
	write(t, dir, "new/1.h", "x")
	if err := os.Link(filepath.Join(dir, "new/1.h"), filepath.Join(dir, "cur/1.h:2,S")); err != nil {
		t.Fatal(err)
	}
	m := open(t, s, "INBOX")
	if m.Len() != 1 {
		t.Fatalf("%q", state(m))
	}
	time.Sleep(30 * time.Millisecond) // until the directories are at rest
	m.force.Store(true)
	syncNow(t, m)
	if n := len(files(t, filepath.Join(dir, "new"))) + len(files(t, filepath.Join(dir, "cur"))); n != 1 {
		t.Errorf("%d names left", n)
	}
	if _, err := m.OpenMessage(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

func TestNameThatBeginsWithAColonGetsABase(t *testing.T) {
	s, dir := testStore(t, Options{})
	write(t, dir, "cur/:2,S", "x")
	m := open(t, s, "INBOX")
	syncNow(t, m)
	if m.Len() != 1 || m.Messages()[0].Flags != Seen {
		t.Errorf("%q", state(m))
	}
}

// A change in the same second or kernel tick as the last look does not change the
// directory's time: the next look after that must find it.
func TestSameSecondChangeIsFoundLater(t *testing.T) {
	now := time.Now()
	s, dir := testStore(t, Options{clock: func() time.Time { return now }, NoInotify: true})
	cur := filepath.Join(dir, "cur")
	second := now.Truncate(time.Second)
	settle := func() {
		for _, d := range []string{cur, filepath.Join(dir, "new")} {
			if err := os.Chtimes(d, second, second); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, dir, "cur/1.a", "x")
	settle()
	m := open(t, s, "INBOX")
	settle() // the file system has whole seconds
	m.seen.times = [2]int64{second.UnixNano(), second.UnixNano()}
	write(t, dir, "cur/2.b", "x")
	settle()
	syncNow(t, m)
	wantState(t, m, "1 1.a")
	now = now.Add(3 * time.Second)
	syncNow(t, m)
	wantState(t, m, "1 1.a", "2 2.b")
}

// What another program does between our two looks at the directory's time, while
// we rename, is found by the later reading.
func TestChangeBesideOurOwnIsFoundLater(t *testing.T) {
	now := time.Now()
	var beside func()
	s, dir := testStore(t, Options{clock: func() time.Time { return now }, NoInotify: true, Fault: func(step, _ string) error {
		if step == "rename" && beside != nil {
			beside()
		}
		return nil
	}})
	write(t, dir, "cur/1.a", "x")
	now = now.Add(time.Minute)
	m := open(t, s, "INBOX")
	beside = func() { write(t, dir, "cur/2.b", "x"); beside = nil }
	if _, _, err := m.StoreFlags(t.Context(), []UID{1}, AddFlags, Seen, nil, StoreOptions{}); err != nil {
		t.Fatal(err)
	}
	syncNow(t, m)
	wantState(t, m, "1 1.a S")
	now = now.Add(settleAfter)
	syncNow(t, m)
	wantState(t, m, "1 1.a S", "2 2.b")
}

func TestOurOwnChangesAreNoReasonToRead(t *testing.T) {
	s, dir := testStore(t, Options{NoInotify: true})
	write(t, dir, "cur/1.a", "x")
	m := open(t, s, "INBOX")
	time.Sleep(30 * time.Millisecond)
	syncNow(t, m)
	gen := m.gen
	for i := range 5 {
		if _, _, err := m.StoreFlags(t.Context(), []UID{1}, FlagOp(1+i%2), Seen, nil, StoreOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Append(t.Context(), content("x"), Delivery{Flags: Seen}); err != nil {
			t.Fatal(err)
		}
		syncNow(t, m)
	}
	if m.gen != gen {
		t.Errorf("the directories were read %d times", m.gen-gen)
	}
}

// A session that only looks leaves nothing behind that makes the next one read the
// directories; nor does one that changes something, since its watch stays until
// inotify has told all that memory relied on.
func TestShortSessionsAreNoReasonToRead(t *testing.T) {
	s, dir := testStore(t, Options{})
	write(t, dir, "cur/1.a:2,", "x")
	m := open(t, s, "INBOX")
	long := time.Now().Add(-time.Minute)
	for _, sub := range []string{"cur", "new"} {
		if err := os.Chtimes(filepath.Join(dir, sub), long, long); err != nil {
			t.Fatal(err)
		}
	}
	syncNow(t, m)
	session := func(work func()) (read uint32) {
		before := m.gen
		w := m.Watch(nil)
		if !m.watched.Load() {
			t.Skip("missing: inotify")
		}
		work()
		w.Close()
		syncNow(t, m)
		return m.gen - before
	}
	store := func(how FlagOp) {
		if _, _, err := m.StoreFlags(t.Context(), []UID{1}, how, Seen, nil, StoreOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		if n := session(func() {}); n != 0 {
			t.Fatalf("a session that only looked: %d readings", n)
		}
	}
	if n := session(func() { store(AddFlags) }); n != 0 || !m.lingers() {
		t.Errorf("after a session that changed a flag: %d readings, lingers: %t", n, m.lingers())
	}
	// Nobody watches, but inotify still does: a change is not taken in, but noted.
	write(t, dir, "cur/2.b:2,", "x")
	for deadline := time.Now().Add(10 * time.Second); !m.force.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the change of another program was not heard of")
		}
	}
	if syncNow(t, m); m.Len() != 2 {
		t.Errorf("%d messages after another program's change", m.Len())
	}
	if n := session(func() { store(RemoveFlags) }); n != 0 {
		t.Errorf("after another session that changed a flag: %d readings", n)
	}
	for deadline := time.Now().Add(10 * time.Second); m.lingers(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("lingers for ever")
		}
	}
	before := m.gen
	if syncNow(t, m); m.gen != before || m.watched.Load() {
		t.Errorf("afterwards: %d readings, watched: %t", m.gen-before, m.watched.Load())
	}
	if n := session(func() { write(t, dir, "cur/3.c:2,", "x") }); n == 0 || m.Len() != 3 {
		t.Errorf("after another program's change: %d readings, %d messages", n, m.Len())
	}
}

func (m *Mailbox) lingers() bool {
	m.following.Lock()
	defer m.following.Unlock()
	return m.lingering
}

// With inotify, what other programs rename or deliver is taken without reading
// the directories, and the next NOOP need not read them either.
func TestNamedChangesAreNoReasonToRead(t *testing.T) {
	s, dir := testStore(t, Options{})
	write(t, dir, "cur/1.a:2,", "x")
	m := open(t, s, "INBOX")
	w := m.Watch(nil)
	defer w.Close()
	if !m.watched.Load() {
		t.Skip("missing: inotify")
	}
	time.Sleep(50 * time.Millisecond)
	syncNow(t, m)
	gen := m.gen
	write(t, dir, keywordsName, "0 Work\n")
	os.Rename(filepath.Join(dir, "cur/1.a:2,"), filepath.Join(dir, "cur/1.a:2,Sa"))
	if c := await(t, w, FlagsChanged); c.Flags != Seen|Keyword(0) || m.Keywords()[0] != "Work" {
		t.Errorf("%+v, %q", c, m.Keywords())
	}
	tmp, file := filepath.Join(dir, "tmp/x"), filepath.Join(dir, "new/2.b")
	if err := errors.Join(os.WriteFile(tmp, []byte("x"), 0o600), os.Rename(tmp, file)); err != nil {
		t.Fatal(err)
	}
	if c := await(t, w, Arrived); c.UID != 2 {
		t.Errorf("%+v", c)
	}
	deliver(t, s, "INBOX", "ours")
	await(t, w, Arrived)
	os.Rename(file, filepath.Join(dir, "cur/2.b:2,F"))
	await(t, w, FlagsChanged)
	time.Sleep(20 * time.Millisecond) // until the events of our own delivery are seen
	syncNow(t, m)
	if m.gen != gen {
		t.Errorf("the directories were read %d times", m.gen-gen)
	}
}

func TestOpenGoesOnWhileTheListIsLocked(t *testing.T) {
	s, dir := testStore(t, Options{LockWait: 300 * time.Millisecond})
	writeList(t, dir, "2", "1 :a\n")
	write(t, dir, "cur/a", "x")
	write(t, dir, "new/b", "x")
	write(t, dir, listLock, "1:otherhost")
	m := open(t, s, "INBOX")
	wantState(t, m, "1 a") // b has no UID yet
	if _, _, err := m.StoreFlags(t.Context(), []UID{1}, AddFlags, Seen, nil, StoreOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := m.Append(t.Context(), content("x"), Delivery{}); !errors.Is(err, ErrLocked) {
		t.Errorf("Append: %v", err)
	}
	if left := files(t, filepath.Join(dir, "tmp")); len(left) != 1 { // the lock source
		t.Errorf("left in tmp: %q", left)
	}
	os.Remove(filepath.Join(dir, listLock))
	syncNow(t, m)
	wantState(t, m, "1 a S", "2 b")
}

// Another program holds the lock for long while mail comes in: it is delivered at
// once, and announced when the lock is free, without anybody asking.
func TestMailWaitsForALockedListByItself(t *testing.T) {
	s, dir := testStore(t, Options{LockWait: 100 * time.Millisecond})
	m := open(t, s, "INBOX")
	w := m.Watch(nil)
	defer w.Close()
	write(t, dir, listLock, "1:otherhost")
	deliver(t, s, "INBOX", "x")
	time.Sleep(300 * time.Millisecond)
	if m.Len() != 0 {
		t.Error("a UID was given without the lock")
	}
	os.Remove(filepath.Join(dir, listLock))
	await(t, w, Arrived)
}

func TestReadOnlyFolderCanBeRead(t *testing.T) {
	o, on := failAt("lock", errors.New("read-only file system"))
	s, dir := testStore(t, o)
	writeList(t, dir, "2", "1 :a\n")
	write(t, dir, "cur/a", "x")
	write(t, dir, "new/b", "x")
	*on = true
	m := open(t, s, "INBOX")
	wantState(t, m, "1 a")
}
