package index

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

func TestManyUseAFolderAtOnce(t *testing.T) {
	x, err := Open(Options{Dir: t.TempDir(), MaxOpen: 2, noSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	r := rand.New(rand.NewPCG(1, 3))
	b := newTextBox(t)
	for uid := range UID(200) {
		b.add(t, uid+1, randomMail(r))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 4))
			for ctx.Err() == nil {
				m := x.Mailbox(fmt.Sprintf("user%d", r.IntN(2)), fmt.Sprint(r.IntN(2)), 7)
				b.step(t, ctx, m, r)
				m.Close()
			}
		})
	}
	wg.Wait()
}

// TestClosingAndOpeningAgainLosesNothing closes a folder while others open it:
// at no time may two write to its files.
func TestClosingAndOpeningAgainLosesNothing(t *testing.T) {
	x := openIndex(t, t.TempDir())
	const users, rounds = 8, 150
	text := func(uid UID) string { return fmt.Sprintf("Subject: number %d\n\n%d\n", uid, uid) }
	var wg sync.WaitGroup
	for u := range users {
		wg.Go(func() {
			for i := range rounds {
				uid := UID(u*rounds + i + 1)
				m := x.Mailbox("alice", "0123", 7)
				put(t, m, uid, "base", text(uid))
				m.Close()
			}
		})
	}
	wg.Wait()
	x.mu.Lock()
	if len(x.boxes) > 0 {
		t.Errorf("%d folders are still there", len(x.boxes))
	}
	x.mu.Unlock()
	x.Mailbox("alice", "0123", 7).View(func(r *Reader) error {
		for uid := range UID(users * rounds) {
			row, ok := r.Row(uid+1, "base")
			if !ok {
				t.Errorf("message %d is lost", uid+1)
				continue
			}
			compareRow(t, row, text(uid+1))
		}
		return nil
	})
}

// step does one of all that can be done with a folder, and checks what it says.
func (b *textBox) step(t *testing.T, ctx context.Context, m *Mailbox, r *rand.Rand) {
	k := b.keys[r.IntN(len(b.keys))]
	switch r.IntN(9) {
	case 0:
		put(t, m, k.UID, k.Base, b.text[k.UID])
	case 1:
		m.Forget([]UID{k.UID})
	case 2:
		if err := m.Fill(ctx, b.keys[r.IntN(100):], b.open, nil); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	case 3:
		if err := m.FillText(ctx, b.keys[:100+r.IntN(100)], b.open, nil); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	case 4:
		m.LoadState()
		m.Reset(someState())
		m.Note(MessageState{1000, 1, 1, 1})
	case 5:
		m.flush()
	case 6:
		b.check(t, m, "strasse")
	default:
		m.View(func(reader *Reader) error {
			for _, k := range b.keys {
				row, ok := reader.Row(k.UID, k.Base)
				if !ok {
					continue
				}
				w, ok := row.Wire()
				if part := scan(t, b.text[k.UID]); !ok || string(w.AppendEnvelope(nil, false)) != string(part.AppendEnvelope(nil)) {
					t.Errorf("message %d: wrong envelope (%v)", k.UID, ok)
				}
			}
			return nil
		})
	}
}

func TestReadersKeepTheirSnapshot(t *testing.T) {
	m := openIndex(t, t.TempDir()).Mailbox("alice", "0123", 7)
	for uid := range UID(10) {
		put(t, m, uid+1, "base", sample)
	}
	m.flush()
	m.View(func(r *Reader) error {
		m.Forget([]UID{3})
		put(t, m, 11, "base", sample)
		put(t, m, 4, "other", sample)
		m.flush()
		m.closeFiles()
		for uid, want := range map[UID]bool{3: true, 11: false, 4: true} {
			if _, ok := r.Row(uid, "base"); ok != want {
				t.Errorf("message %d: %v", uid, ok)
			}
		}
		return nil
	})
	m.View(func(r *Reader) error {
		for uid, want := range map[UID]bool{3: false, 11: true, 4: false} {
			if _, ok := r.Row(uid, "base"); ok != want {
				t.Errorf("message %d: %v", uid, ok)
			}
		}
		return nil
	})
}

func TestWriterWritesByItself(t *testing.T) {
	m := openIndex(t, t.TempDir()).Mailbox("alice", "0123", 7)
	put(t, m, 1, "base", sample)
	for found := false; !found; time.Sleep(time.Millisecond) {
		m.View(func(r *Reader) error { _, found = r.Row(1, "base"); return nil })
	}
}

func TestCopiesTakeTheirRowsAlong(t *testing.T) {
	x := openIndex(t, t.TempDir())
	src, dst := x.Mailbox("alice", "src", 7), x.Mailbox("alice", "dst", 8)
	for uid := range UID(5) {
		put(t, src, uid+1, fmt.Sprint("base", uid+1), sample)
	}
	src.flush()
	src.Copy(dst, []Pair{{Key{2, "base2"}, Key{7, "new7"}}, {Key{3, "wrong"}, Key{8, "new8"}}, {Key{9, "base9"}, Key{9, "new9"}}})
	dst.flush()
	dst.View(func(r *Reader) error {
		row, ok := r.Row(7, "new7")
		if !ok {
			t.Fatal("no row")
		}
		compareRow(t, row, sample)
		for _, k := range []Key{{8, "new8"}, {9, "new9"}, {2, "base2"}} {
			if _, ok := r.Row(k.UID, k.Base); ok {
				t.Errorf("a row of %v", k)
			}
		}
		return nil
	})
}

func TestDeadRowsAreCompacted(t *testing.T) {
	x := openIndex(t, t.TempDir())
	m := x.Mailbox("alice", "0123", 7)
	text := "Subject: " + strings.Repeat("x", 5000) + "\n\nbody\n"
	for round := range 30 {
		for uid := range UID(20) {
			put(t, m, uid+1, fmt.Sprint("base", round), text)
		}
		m.flush()
	}
	size := int64(0)
	for _, name := range []string{"rows", "wire"} {
		info, err := os.Stat(filepath.Join(m.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > 3*20*3*5000+2*minWaste {
		t.Errorf("%d bytes", size)
	}
	m.closeFiles()
	m.View(func(r *Reader) error {
		for uid := range UID(20) {
			row, ok := r.Row(uid+1, "base29")
			if !ok {
				t.Fatal("no row")
			}
			compareRow(t, row, text)
		}
		return nil
	})
}

func TestFoldersGiveWayToOthers(t *testing.T) {
	x, err := Open(Options{Dir: t.TempDir(), MaxBytes: 100 << 10, noSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	text := "Subject: " + strings.Repeat("x", 2000) + "\n\nbody\n"
	for folder := range 10 {
		m := x.Mailbox("alice", fmt.Sprint("folder", folder), 7)
		for uid := range UID(10) {
			put(t, m, uid+1, "base", text)
		}
		m.Close()
		old := time.Now().Add(time.Duration(folder-100) * time.Hour)
		for _, name := range cacheFiles(t, m) {
			if err := os.Chtimes(name, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	for folder, want := range map[int]bool{0: false, 9: true} {
		x.Mailbox("alice", fmt.Sprint("folder", folder), 7).View(func(r *Reader) error {
			if _, ok := r.Row(1, "base"); ok != want {
				t.Errorf("folder %d: %v", folder, ok)
			}
			return nil
		})
	}
	m := x.Mailbox("alice", "large", 7)
	for uid := range UID(100) {
		put(t, m, uid+1, "base", text)
		m.flush()
	}
	if size := measure(m.dir).size; size > 130<<10 {
		t.Errorf("%d bytes", size)
	}
}

func TestRemovedFoldersLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	x := openIndex(t, dir)
	m := x.Mailbox("alice", "0123", 7)
	put(t, m, 1, "base", sample)
	m.flush()
	x.Remove("alice", "0123")
	put(t, m, 2, "base", sample)
	m.Note(MessageState{1, 1, 1, 1})
	m.View(func(r *Reader) error {
		if _, ok := r.Row(1, "base"); ok {
			t.Error("a row")
		}
		return nil
	})
	m.Close()
	other := x.Mailbox("alice", "4567", 7)
	put(t, other, 1, "base", sample)
	other.flush()
	x.RemoveUser("alice")
	if _, err := os.Stat(filepath.Join(dir, "alice")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestNamesStayBelowTheirDirectory(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../x", "a/b", "A", "a\x00b", strings.Repeat("x", 300), ".hidden", "+x"} {
		got := safeName(name)
		if got == name || strings.ContainsAny(got, "/\x00") || got[0] == '.' || len(got) > 64 {
			t.Errorf("%q -> %q", name, got)
		}
	}
	for _, name := range []string{"alice", "alice@example.org", "0123456789abcdef", "a.b-c_d"} {
		if got := safeName(name); got != name {
			t.Errorf("%q -> %q", name, got)
		}
	}
}

func TestFillPassesOverWhatCannotBeRead(t *testing.T) {
	m := openIndex(t, t.TempDir()).Mailbox("alice", "0123", 7)
	b := newTextBox(t)
	for uid := range UID(100) {
		b.add(t, uid+1, fmt.Sprintf("Subject: %d\n\nbody\n", uid))
	}
	var last, total int
	var mu sync.Mutex
	err := m.Fill(context.Background(), b.keys, func(uid UID) (*os.File, error) {
		if uid%7 == 0 {
			return nil, os.ErrNotExist
		}
		return b.open(uid)
	}, func(done, of int) { mu.Lock(); last, total = max(last, done), of; mu.Unlock() })
	if err != nil || last != 100 || total != 100 {
		t.Errorf("%v, %d of %d", err, last, total)
	}
	m.View(func(r *Reader) error {
		if missing := r.Missing(b.keys, nil); len(missing) != 14 || missing[0].UID != 7 {
			t.Errorf("%v", missing)
		}
		return nil
	})
	err = m.Fill(context.Background(), b.keys, func(uid UID) (*os.File, error) {
		if uid%2 == 0 {
			panic("a bug")
		}
		return b.open(uid)
	}, nil)
	if err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	cancel(stop)
	if err := m.Fill(ctx, b.keys, b.open, nil); !errors.Is(err, stop) {
		t.Error(err)
	}
	if err := m.FillText(ctx, b.keys, b.open, nil); !errors.Is(err, stop) {
		t.Error(err)
	}
	if _, _, err := m.Candidates(ctx, message.NewMatcher("abc"), b.keys); !errors.Is(err, stop) {
		t.Error(err)
	}
}

func TestLongMessagesAreKeptInPart(t *testing.T) {
	m := openIndex(t, t.TempDir()).Mailbox("alice", "0123", 7)
	many := "From: a@b\nDate: Mon, 7 Feb 1994 21:52:25 +0000\nTo: " + strings.Repeat("someone <x@example.org>,\n ", 4000) + "y@z\nSubject: s\n\nbody\n"
	huge := "From: a@b\nX-Long: " + strings.Repeat("long ", 300_000) + "\nSubject: s\n\nbody\n"
	parts := "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\nContent-Type: text/plain; name=\"a long name\"\n\nx\n", 5000) + "--b--\n"
	for i, text := range []string{many, huge, parts} {
		put(t, m, UID(i+1), "base", text)
	}
	m.flush()
	m.View(func(r *Reader) error {
		for i, text := range []string{many, huge, parts} {
			row, ok := r.Row(UID(i+1), "base")
			if !ok {
				t.Fatalf("message %d: no row", i+1)
			}
			if row.Size() != scan(t, text).VSize() {
				t.Errorf("message %d: size %d", i+1, row.Size())
			}
			_, known := row.Match(To, message.NewMatcher("y@z"))
			w, wire := row.Wire()
			_, header := w.Header()
			if want := [][3]bool{{false, true, false}, {false, true, false}, {true, false, false}}[i]; [3]bool{known, wire, header} != want {
				t.Errorf("message %d: fields, wire, header are %v, want %v", i+1, [3]bool{known, wire, header}, want)
			}
		}
		return nil
	})
}
