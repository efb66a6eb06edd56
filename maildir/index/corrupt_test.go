package index

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/message"
)

// damages are what may happen to a file.
var damages = map[string]func(r *rand.Rand, path string) error{
	"flip": func(r *rand.Rand, path string) error {
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		for range 1 + r.IntN(3) {
			b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
		}
		return overwrite(path, b)
	},
	"truncate": func(r *rand.Rand, path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, r.Int64N(info.Size()+1))
	},
	"zero a page": func(r *rand.Rand, path string) error {
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		from := r.IntN(len(b)) &^ 511
		clear(b[from:min(from+512, len(b))])
		return overwrite(path, b)
	},
	"repeat": func(r *rand.Rand, path string) error {
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		return overwrite(path, append(b, b[r.IntN(len(b)):]...))
	},
	"move a piece": func(r *rand.Rand, path string) error {
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		copy(b[r.IntN(len(b)):], b[r.IntN(len(b)):])
		return overwrite(path, b)
	},
	"delete": func(_ *rand.Rand, path string) error { return os.Remove(path) },
	"fill with another": func(r *rand.Rand, path string) error {
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(filepath.Dir(path), entries[r.IntN(len(entries))].Name()))
		if err != nil {
			return err
		}
		return overwrite(path, b)
	},
}

// overwrite changes a file in place, so that those who have it open see it.
func overwrite(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(b)
	return err
}

// cacheFiles are the files of the folder's cache.
func cacheFiles(t testing.TB, m *Mailbox) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(m.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// checkAll fails if the cache says something wrong; it returns how many rows are
// missing.
func (b *textBox) checkAll(t testing.TB, m *Mailbox) (missing int) {
	t.Helper()
	m.View(func(r *Reader) error {
		for _, k := range b.keys {
			row, ok := r.Row(k.UID, k.Base)
			if !ok {
				missing++
				continue
			}
			text := b.text[k.UID]
			part := scan(t, text)
			if row.Size() != part.VSize() {
				t.Errorf("message %d: size %d, want %d", k.UID, row.Size(), part.VSize())
			}
			found, known := row.Match(Subject, message.NewMatcher("straße"))
			fields := message.ParseHeader([]byte(text))
			if want := message.NewMatcher("straße").MatchString(fields.Text("Subject")); known && found != want {
				t.Errorf("message %d: subject found %v, want %v", k.UID, found, want)
			}
			w, ok := row.Wire()
			if !ok {
				continue
			}
			if got, want := w.AppendBodyStructure(nil, true, false), part.AppendBodyStructure(nil, true); string(got) != string(want) {
				t.Errorf("message %d: %q, want %q", k.UID, got, want)
			}
			if got, want := w.AppendEnvelope(nil, false), part.AppendEnvelope(nil); string(got) != string(want) {
				t.Errorf("message %d: %q, want %q", k.UID, got, want)
			}
		}
		return nil
	})
	for _, needle := range []string{"strasse", "会議", "invoice", "foo bar"} {
		b.check(t, m, needle)
	}
	return missing
}

// fillAll puts all messages into the cache.
func (b *textBox) fillAll(t testing.TB, m *Mailbox) {
	t.Helper()
	m.flush() // damaged rows that were noticed are forgotten
	var missing []Key
	m.View(func(r *Reader) error { missing = r.Missing(b.keys, nil); return nil })
	if err := m.Fill(context.Background(), missing, b.open, nil); err != nil {
		t.Fatal(err)
	}
	if err := m.FillText(context.Background(), b.keys, b.open, nil); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedCacheIsNeverWrong(t *testing.T) {
	r := rand.New(rand.NewPCG(3, uint64(time.Now().UnixNano())))
	b := newTextBox(t)
	for uid := range UID(80) {
		b.add(t, uid+1, randomMail(r))
	}
	dir := t.TempDir()
	for round := range 100 {
		x := openIndex(t, dir)
		m := x.Mailbox("alice", "0123", 7)
		state, ok := m.LoadState()
		if want := someState(); ok && !reflect.DeepEqual(state, want) {
			t.Fatalf("round %d: state %+v", round, state)
		}
		m.Reset(someState())
		b.checkAll(t, m)
		live := round%2 == 0
		b.fillAll(t, m)
		if missing := b.checkAll(t, m); missing > 0 {
			t.Errorf("round %d: %d rows are not there though all was filled", round, missing)
		}
		if !live {
			m.Close()
			x.Close()
		}
		files := cacheFiles(t, m)
		name := files[r.IntN(len(files))]
		for kind, damage := range damages {
			if err := damage(r, name); err != nil {
				t.Fatal(err)
			}
			if live {
				t.Logf("round %d: %s of %s while in use", round, kind, filepath.Base(name))
				b.checkAll(t, m)
				m.Close()
				x.Close()
			}
			break
		}
		if t.Failed() {
			return
		}
	}
}

func TestDamageIsNeverWrongAfterWriting(t *testing.T) {
	r := rand.New(rand.NewPCG(4, uint64(time.Now().UnixNano())))
	b := newTextBox(t)
	for uid := range UID(60) {
		b.add(t, uid+1, randomMail(r))
	}
	for range 40 {
		x := openIndex(t, t.TempDir())
		m := x.Mailbox("alice", "0123", 7)
		b.fillAll(t, m)
		for step := range 6 {
			name := filepath.Join(m.dir, []string{"rows", "wire"}[r.IntN(2)])
			for _, damage := range damages {
				if err := damage(r, name); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
				break
			}
			if step%2 == 0 {
				m.closeFiles()
			}
			b.fillAll(t, m)
			b.checkAll(t, m)
		}
	}
}

func TestForeignFilesAreReplaced(t *testing.T) {
	b := newTextBox(t)
	for uid := range UID(20) {
		b.add(t, uid+1, fmt.Sprintf("Subject: straße %d\n\nstraße\n", uid))
	}
	dir := t.TempDir()
	x := openIndex(t, dir)
	alice, bob := x.Mailbox("alice", "0123", 7), x.Mailbox("bob", "0123", 7)
	b.fillAll(t, alice)
	other := newTextBox(t)
	for uid := range UID(20) {
		other.add(t, uid+1, "Subject: nothing\n\nnothing\n")
	}
	other.fillAll(t, bob)
	alice.Close()
	bob.Close()
	if err := os.RemoveAll(alice.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(alice.dir, os.DirFS(bob.dir)); err != nil {
		t.Fatal(err)
	}
	alice = x.Mailbox("alice", "0123", 7)
	if missing := b.checkAll(t, alice); missing != 20 {
		t.Errorf("%d rows missing", missing)
	}
	if _, unknown := b.check(t, alice, "straße"); len(unknown) != 20 {
		t.Errorf("%d messages are unknown", len(unknown))
	}
}

func TestGarbageInPlaceOfTheDirectory(t *testing.T) {
	b := newTextBox(t)
	b.add(t, 1, "Subject: x\n\nstraße\n")
	dir := t.TempDir()
	x := openIndex(t, dir)
	m := x.Mailbox("alice", "0123", 7)
	if err := os.WriteFile(filepath.Join(dir, "alice"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.LoadState()
	m.Reset(someState())
	put(t, m, 1, "base1", b.text[1])
	m.flush()
	if missing := b.checkAll(t, m); missing != 1 {
		t.Errorf("%d missing", missing)
	}
	if err := m.FillText(context.Background(), b.keys, b.open, nil); err != nil {
		t.Logf("as it should: %v", err)
	}
	m.Close()
}

func TestFullDiskLosesTheCacheOnly(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=128k"); err != nil {
		t.Skip("missing: the right to mount a small file system:", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	now := time.Now()
	x, err := Open(Options{Dir: dir, now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	r := rand.New(rand.NewPCG(8, 9))
	b := newTextBox(t)
	m := x.Mailbox("alice", "0123", 7)
	m.LoadState()
	m.Reset(someState())
	for round := range 20 {
		for range 20 {
			b.add(t, UID(len(b.keys)+1), randomMail(r))
		}
		now = now.Add(2 * retryAfter)
		var missing []Key
		m.View(func(r *Reader) error { missing = r.Missing(b.keys, nil); return nil })
		m.Fill(context.Background(), missing, b.open, nil)
		m.FillText(context.Background(), b.keys, b.open, nil)
		m.Note(MessageState{ModSeq(1000 + round), 1, 2, 3})
		m.flush()
		b.checkAll(t, m)
	}
	m.Close()
	if s, ok := x.Mailbox("alice", "0123", 7).LoadState(); ok && s.Highest != 1019 {
		t.Errorf("%+v", s)
	}
}

func TestDeletedCacheIsMadeAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	b := newTextBox(t)
	for uid := range UID(30) {
		b.add(t, uid+1, randomMail(r))
	}
	dir := t.TempDir()
	x := openIndex(t, dir)
	m := x.Mailbox("alice", "0123", 7)
	m.LoadState()
	m.Reset(someState())
	b.fillAll(t, m)
	if err := os.RemoveAll(filepath.Join(dir, "alice")); err != nil {
		t.Fatal(err)
	}
	b.checkAll(t, m)
	m.Forget([]UID{1})
	put(t, m, 1, "base1", b.text[1])
	m.flush()
	m.closeFiles()
	b.fillAll(t, m)
	if missing := b.checkAll(t, m); missing > 0 {
		t.Errorf("%d missing", missing)
	}
	if n := len(cacheFiles(t, m)); n < 3 {
		t.Errorf("files %v", cacheFiles(t, m))
	}
	m.Close()
	if _, ok := x.Mailbox("alice", "0123", 7).LoadState(); ok {
		t.Error("a state of which a part was deleted is trusted")
	}
}
