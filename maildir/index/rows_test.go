package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

func openIndex(t testing.TB, dir string) *Index {
	t.Helper()
	x, err := Open(Options{Dir: dir, noSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

const sample = "From: =?utf-8?q?J=C3=BCrgen?= <jurgen@example.org>\nTo: Bob <BOB@example.org>, x@y\nSubject: Re: Quarterly  report\n" +
	"Date: Mon, 7 Feb 1994 21:52:25 -0830\nMessage-ID: <a@b>\nX-Odd: 1\nReceived: from x\nMIME-Version: 1.0\n" +
	"Content-Type: multipart/mixed; boundary=b\n\npre\n--b\n\nfirst (\"})\n--b\nContent-Type: application/pdf; name=\"a (b\\\").pdf\"\n" +
	"Content-Disposition: attachment; filename=\"a).pdf\"\nContent-Transfer-Encoding: base64\n\nAAEC\n--b\nContent-Type: message/rfc822\n\nSubject: inner\n\ntext\n--b--\n"

func put(t testing.TB, m *Mailbox, uid UID, base, text string) {
	t.Helper()
	err := m.Put(Message{Key: Key{uid, base}, Internal: time.Unix(1e9, 0), File: strings.NewReader(text)})
	if err != nil {
		t.Fatal(err)
	}
}

func scan(t testing.TB, text string) *message.Part {
	t.Helper()
	p, err := message.Scan(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// compareRow fails unless the row of a message says what the message does.
func compareRow(t testing.TB, row Row, text string) {
	t.Helper()
	part := scan(t, text)
	if row.Size() != part.VSize() {
		t.Errorf("size %d, want %d", row.Size(), part.VSize())
	}
	fields := message.ParseHeader([]byte(text)[:part.BodyStart])
	want, err := message.ParseDate(fields.Value("Date"))
	sent, ok := row.Sent()
	if ok != (err == nil) || ok && (!sent.Equal(want) || sent.Format(time.DateOnly) != want.Format(time.DateOnly)) {
		t.Errorf("sent %v %v, want %v %v", sent, ok, want, err)
	}
	w, ok := row.Wire()
	if !ok {
		t.Fatal("no wire")
	}
	for _, utf8 := range []bool{false, true} {
		env, bs, body := part.AppendEnvelope(nil), part.AppendBodyStructure(nil, true), part.AppendBodyStructure(nil, false)
		if utf8 {
			env, bs, body = part.AppendEnvelopeUTF8(nil), part.AppendBodyStructureUTF8(nil, true), part.AppendBodyStructureUTF8(nil, false)
		}
		for _, c := range []struct {
			what      string
			got, want []byte
		}{
			{"envelope", w.AppendEnvelope([]byte("x"), utf8), env},
			{"bodystructure", w.AppendBodyStructure([]byte("x"), true, utf8), bs},
			{"body", w.AppendBodyStructure([]byte("x"), false, utf8), body},
		} {
			if string(c.got) != "x"+string(c.want) {
				t.Errorf("%s (utf8 %v)\n %q, want\n %q", c.what, utf8, c.got[1:], c.want)
			}
		}
	}
	names := []string{"from", "Subject", "List-Id", "message-id", "Date"}
	got, ok := w.AppendHeaderFields(nil, names)
	if want := message.AppendHeaderFields(nil, []byte(text)[:part.BodyStart], names, false); !ok || !bytes.Equal(got, want) {
		t.Errorf("fields %q %v, want %q", got, ok, want)
	}
	tree, ok := w.Part()
	if !ok {
		t.Fatal("no part")
	}
	tree.Summary = part.Summary
	a, _ := tree.AppendBinary(nil)
	b, _ := part.AppendBinary(nil)
	if !bytes.Equal(a, b) {
		t.Errorf("structure differs")
	}
}

func TestRowSaysWhatTheMessageDoes(t *testing.T) {
	x := openIndex(t, t.TempDir())
	m := x.Mailbox("alice", "0123", 7)
	put(t, m, 3, "base", sample)
	m.flush()
	err := m.View(func(r *Reader) error {
		if _, ok := r.Row(3, "other"); ok {
			t.Error("a row counts for another file")
		}
		if _, ok := r.Row(4, "base"); ok {
			t.Error("a row for another UID")
		}
		row, ok := r.Row(3, "base")
		if !ok {
			t.Fatal("no row")
		}
		compareRow(t, row, sample)
		if !row.Internal().Equal(time.Unix(1e9, 0)) || !row.IsReply() {
			t.Errorf("internal %v, reply %v", row.Internal(), row.IsReply())
		}
		for _, c := range []struct {
			f      Field
			needle string
			found  bool
		}{
			{Subject, "QUARTERLY REPORT", true}, {Subject, "jürgen", false}, {From, "JÜRGEN", true}, {From, "jurgen@", true},
			{To, "bob", true}, {To, "x@y", true}, {To, "", true}, {Cc, "", false}, {Bcc, "b", false},
		} {
			if found, known := row.Match(c.f, message.NewMatcher(c.needle)); found != c.found || !known {
				t.Errorf("match %d %q: %v %v", c.f, c.needle, found, known)
			}
		}
		for k, want := range map[SortKey]string{SortSubject: "quarterly report", SortFrom: "jurgen", SortTo: "bob", SortCc: "",
			SortDisplayFrom: message.FoldString("jürgen"), SortDisplayTo: "bob"} {
			if key, known := row.SortKey(k); string(key) != want || !known {
				t.Errorf("sort key %d: %q %v", k, key, known)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRowsSurviveReopening(t *testing.T) {
	dir := t.TempDir()
	x := openIndex(t, dir)
	m := x.Mailbox("alice", "0123", 7)
	for _, uid := range []UID{5, 3, 9, 1} {
		put(t, m, uid, fmt.Sprint("base", uid), sample)
	}
	m.Forget([]UID{9})
	m.Close()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = openIndex(t, dir)
	m = x.Mailbox("alice", "0123", 7)
	m.View(func(r *Reader) error {
		missing := r.Missing([]Key{{1, "base1"}, {2, "base2"}, {3, "base3"}, {5, "base"}, {9, "base9"}}, nil)
		if !slices.Equal(missing, []Key{{2, "base2"}, {5, "base"}, {9, "base9"}}) {
			t.Errorf("missing %v", missing)
		}
		return nil
	})
}

func TestRowsAreMadeWhenAskedFor(t *testing.T) {
	x := openIndex(t, t.TempDir())
	m := x.Mailbox("alice", "0123", 7)
	b := newTextBox(t)
	for uid := range UID(2500) {
		b.add(t, uid+1, fmt.Sprintf("Subject: %d\n\nbody\n", uid+1))
	}
	opened := func(n *atomic.Int64) Opener {
		return func(uid UID) (*os.File, error) {
			n.Add(1)
			if uid == 17 {
				return nil, os.ErrNotExist
			}
			return b.open(uid)
		}
	}
	for _, want := range []int64{2500, 1} {
		var n atomic.Int64
		at := 0
		err := m.Rows(context.Background(), b.keys, opened(&n), func(k Key, row Row, ok bool) error {
			if k != b.keys[at] {
				t.Fatalf("%v at %d", k, at)
			}
			at++
			if ok != (k.UID != 17) {
				t.Errorf("message %d: %v", k.UID, ok)
			}
			if found, _ := row.match(Subject, fmt.Sprint(k.UID)); ok && !found {
				t.Errorf("message %d: the row of another", k.UID)
			}
			return nil
		})
		if err != nil || at != len(b.keys) || n.Load() != want {
			t.Errorf("%v, %d rows, %d files opened", err, at, n.Load())
		}
	}
	stop := errors.New("stop")
	if err := m.Rows(context.Background(), b.keys, b.open, func(Key, Row, bool) error { return stop }); err != stop {
		t.Error(err)
	}
	var none *Mailbox
	if err := none.Rows(context.Background(), b.keys[:3], b.open, func(_ Key, _ Row, ok bool) error {
		if ok {
			t.Error("a row out of nothing")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func (row Row) match(f Field, needle string) (found, known bool) {
	if row.b == nil {
		return false, false
	}
	return row.Match(f, message.NewMatcher(needle))
}

// benchMail returns the files of a Maildir for measuring.
func benchMail(b *testing.B, n int) []string {
	b.Helper()
	dir := os.Getenv("INDEX_BENCH_MAILDIR")
	if dir == "" {
		b.Skip("missing: INDEX_BENCH_MAILDIR, a Maildir with mail to measure with")
	}
	var names []string
	for _, sub := range []string{"new", "cur"} {
		entries, _ := os.ReadDir(filepath.Join(dir, sub))
		for _, e := range entries {
			names = append(names, filepath.Join(dir, sub, e.Name()))
		}
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	if len(names) < n {
		b.Skipf("missing: %d messages, there are %d", n, len(names))
	}
	return names[:n]
}

func benchKeys(names []string) ([]Key, Opener) {
	keys := make([]Key, len(names))
	for i, name := range names {
		base, _, _ := strings.Cut(filepath.Base(name), ":")
		keys[i] = Key{UID(i + 1), base}
	}
	return keys, func(uid UID) (*os.File, error) { return os.Open(names[uid-1]) }
}

func BenchmarkFill100k(b *testing.B) {
	keys, open := benchKeys(benchMail(b, 100000))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		x := openIndex(b, dir)
		m := x.Mailbox("alice", "0123", 7)
		b.StartTimer()
		if err := m.Fill(context.Background(), keys, open, nil); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		m.Close()
		x.Close()
		os.RemoveAll(dir)
		b.StartTimer()
	}
}

// benchIndex returns a mailbox with rows of much mail.
func benchIndex(b *testing.B) (*Mailbox, []Key) {
	keys, open := benchKeys(benchMail(b, 100000))
	x := openIndex(b, b.TempDir())
	m := x.Mailbox("alice", "0123", 7)
	if err := m.Fill(context.Background(), keys, open, nil); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d bytes of %d messages", measure(m.dir).size, len(keys))
	return m, keys
}

func BenchmarkFetch100k(b *testing.B) {
	m, keys := benchIndex(b)
	b.ReportAllocs()
	buf := make([]byte, 0, 1<<20)
	for b.Loop() {
		n := 0
		m.View(func(r *Reader) error {
			for _, k := range keys {
				row, ok := r.Row(k.UID, k.Base)
				if !ok {
					continue
				}
				w, ok := row.Wire()
				if !ok {
					continue
				}
				buf = w.AppendBodyStructure(w.AppendEnvelope(buf[:0], false), true, false)
				n++
			}
			return nil
		})
		if n != len(keys) {
			b.Fatal(n)
		}
	}
}

func BenchmarkSearchSubject100k(b *testing.B) {
	m, keys := benchIndex(b)
	b.ReportAllocs()
	matcher := message.NewMatcher("Quarterly")
	for b.Loop() {
		n := 0
		m.View(func(r *Reader) error {
			for _, k := range keys {
				row, ok := r.Row(k.UID, k.Base)
				if !ok {
					continue
				}
				if found, _ := row.Match(Subject, matcher); found {
					n++
				}
			}
			return nil
		})
		if n != 2000 {
			b.Fatal(n)
		}
	}
}

func BenchmarkLoad100k(b *testing.B) {
	m, keys := benchIndex(b)
	b.ReportAllocs()
	for b.Loop() {
		m.closeFiles()
		m.View(func(r *Reader) error {
			if _, ok := r.Row(keys[500].UID, keys[500].Base); !ok {
				b.Fatal("no row")
			}
			return nil
		})
	}
}
