package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"svc.plus/mailsrvd/internal/message"
)

// rowOf puts one message into a fresh cache and gives its row to look.
func rowOf(t *testing.T, text string, look func(Row)) {
	t.Helper()
	m := openIndex(t, t.TempDir()).Mailbox("alice", "0123", 7)
	put(t, m, 1, "base", text)
	m.flush()
	m.View(func(r *Reader) error {
		row, ok := r.Row(1, "base")
		if !ok {
			t.Fatal("no row")
		}
		look(row)
		return nil
	})
}

func TestSortKeys(t *testing.T) {
	for _, c := range []struct {
		name, header string
		want         map[SortKey]string
		reply        bool
	}{
		{"nothing", "X: y\n", map[SortKey]string{SortSubject: "", SortFrom: "", SortDisplayFrom: "", SortDisplayTo: ""}, false},
		{"reply", "Subject: Re: [list]  Fwd: Straße (fwd)\n", map[SortKey]string{SortSubject: message.FoldString("Straße")}, true},
		{"folded", "Subject: a\n\tb\n", map[SortKey]string{SortSubject: "a b"}, false},
		{"encoded", "From: =?utf-8?q?J=C3=BCrgen?= <X@Y>\n", map[SortKey]string{SortFrom: "x", SortDisplayFrom: message.FoldString("Jürgen")}, false},
		{"address alone", "From: Joe@Example.ORG\nTo: (comment) a@b\n", map[SortKey]string{SortFrom: "joe", SortDisplayFrom: "joe@example.org", SortTo: "a"}, false},
		{"group", "To: friends: Ann <ann@x>, bob@x;\nCc: empty:;, last@x\n", map[SortKey]string{SortTo: "ann", SortDisplayTo: "ann", SortCc: "last"}, false},
		{"quoted", "From: \"Doe, Joe \\\"X\\\"\" <j@x>\n", map[SortKey]string{SortDisplayFrom: `doe, joe "x"`}, false},
		{"the first counts", "From: a@x\nFrom: b@x\nSubject: one\nSubject: two\n", map[SortKey]string{SortFrom: "a", SortSubject: "one"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rowOf(t, c.header+"\nbody\n", func(row Row) {
				for k, want := range c.want {
					if got, known := row.SortKey(k); !known || string(got) != want {
						t.Errorf("key %d: %q %v, want %q", k, got, known, want)
					}
				}
				if row.IsReply() != c.reply {
					t.Errorf("reply %v", row.IsReply())
				}
			})
		})
	}
}

func TestSentDates(t *testing.T) {
	for _, c := range []struct {
		header, want string // RFC 3339; empty is none
	}{
		{"Date: Mon, 7 Feb 1994 21:52:25 -0830 (PST)\n", "1994-02-07T21:52:25-08:30"},
		{"Date: 1 Jan 2030 00:00:00 +1400\n", "2030-01-01T00:00:00+14:00"},
		{"Date: Thu, 01 Jan 1970 00:00:00 GMT\n", "1970-01-01T00:00:00Z"},
		{"Date: 31 Dec 1969 23:59:59 +0000\n", "1969-12-31T23:59:59Z"},
		{"Date: soon\n", ""},
		{"Date:\n", ""},
		{"X: y\n", ""},
		{"Date: soon\nDate: 1 Jan 2030 00:00:00 +0000\n", ""},
	} {
		rowOf(t, c.header+"\nbody\n", func(row Row) {
			got := ""
			sent, ok := row.Sent()
			if ok {
				got = sent.Format(time.RFC3339)
			}
			if got != c.want {
				t.Errorf("%q: %s, want %s", c.header, got, c.want)
			}
			if sec, known := row.SentUnix(); known != ok || ok && sec != sent.Unix() {
				t.Errorf("%q: %d %v", c.header, sec, known)
			}
		})
	}
}

func TestRepeatedFieldsAreSearchedOneByOne(t *testing.T) {
	rowOf(t, "To: a@x\nTo: b@x\nSubject:\nFrom: c@x\n\nbody\n", func(row Row) {
		for _, c := range []struct {
			f      Field
			needle string
			want   bool
		}{{To, "a@x", true}, {To, "b@x", true}, {To, "a@x b", false}, {To, "x", true}, {Subject, "", true}, {Subject, "a", false}, {Bcc, "", false}, {From, "c@x", true}} {
			if got, known := row.match(c.f, c.needle); got != c.want || !known {
				t.Errorf("%d %q: %v %v", c.f, c.needle, got, known)
			}
		}
	})
}

func TestKeptFields(t *testing.T) {
	for name, want := range map[string]bool{"From": true, "MESSAGE-ID": true, "x-priority": true, "List-Id": true, "References": true,
		"Received": false, "DKIM-Signature": false, "": false, "From:": false, strings.Repeat("x", 100): false} {
		if Keeps(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	for name := range keptFields {
		if len(name) >= maxKeptName || strings.ToLower(name) != name {
			t.Errorf("%q cannot be looked up", name)
		}
	}
	for _, name := range fieldNames {
		if !Keeps(name) {
			t.Errorf("%s is not kept", name)
		}
	}
	rowOf(t, "Received: x\nSubject: s\r\nFROM: a\n b\n\nbody\n", func(row Row) {
		w, _ := row.Wire()
		if got, ok := w.Header(); !ok || string(got) != "Subject: s\r\nFROM: a\n b\n\r\n" {
			t.Errorf("%q %v", got, ok)
		}
	})
	rowOf(t, "X: y\n\nbody\n", func(row Row) {
		w, _ := row.Wire()
		if got, ok := w.AppendHeaderFields(nil, []string{"Subject"}); !ok || string(got) != "\r\n" {
			t.Errorf("%q %v", got, ok)
		}
	})
}

// failingFile ends before its message does, or fails.
type failingFile struct {
	r   io.ReaderAt
	end int64
	err error
}

func (f failingFile) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.end {
		return 0, f.err
	}
	return f.r.ReadAt(p, off)
}

func TestPutReportsWhatItCannotRead(t *testing.T) {
	m := openIndex(t, t.TempDir()).Mailbox("alice", "0123", 7)
	part := scan(t, sample)
	bad := errors.New("bad disk")
	for _, c := range []struct {
		file failingFile
		part *message.Part
		want error
	}{
		{failingFile{strings.NewReader(sample), 10, bad}, nil, bad},
		{failingFile{strings.NewReader(sample), 10, bad}, part, bad},
		{failingFile{strings.NewReader(sample), 10, io.EOF}, part, io.ErrUnexpectedEOF},
	} {
		if err := m.Put(Message{Key: Key{1, "a"}, File: c.file, Part: c.part}); !errors.Is(err, c.want) {
			t.Errorf("%v, want %v", err, c.want)
		}
	}
	m.flush()
	if names := cacheFiles(t, m); len(names) > 0 {
		t.Errorf("files %v", names)
	}
}

func TestLongFilesAreReadInPieces(t *testing.T) {
	m := openIndex(t, t.TempDir()).Mailbox("alice", "0123", 7)
	b := newTextBox(t)
	text := "Subject: long\n\n" + strings.Repeat("a line of text\n", maxWhole/10) + "the end\n"
	b.add(t, 1, text)
	b.fillAll(t, m)
	if missing := b.checkAll(t, m); missing > 0 {
		t.Error("no row")
	}
	if maybe, _ := b.check(t, m, "text the end"); !slices.Equal(maybe, []UID{1}) {
		t.Errorf("%v", maybe)
	}
}

func TestFillOfNoFilesAtAll(t *testing.T) {
	m := openIndex(t, t.TempDir()).Mailbox("alice", "0123", 7)
	dir := t.TempDir()
	open := func(uid UID) (*os.File, error) {
		if uid == 1 {
			return os.Open(dir) // no message can be read from it
		}
		return nil, os.ErrPermission
	}
	keys := []Key{{1, "a"}, {2, "b"}}
	if err := m.Fill(context.Background(), keys, open, nil); err != nil {
		t.Error(err)
	}
	if err := m.FillText(context.Background(), keys, open, nil); err != nil {
		t.Error(err)
	}
	if left := m.Untexted(keys, nil); len(left) != 2 {
		t.Errorf("%v", left)
	}
	if err := m.Fill(context.Background(), nil, open, nil); err != nil {
		t.Error(err)
	}
}

func TestManyStatesAreSyncedAtOnce(t *testing.T) {
	dir := t.TempDir()
	x, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxSyncs + 2 {
		m := x.Mailbox("alice", fmt.Sprint(i), 7)
		m.LoadState()
		m.Reset(someState())
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Errorf("second time: %v", err)
	}
	if e, ok := lastEpoch(filepath.Join(dir, "epoch")); !ok || !e.ended {
		t.Errorf("%+v %v", e, ok)
	}
	x = openIndex(t, dir)
	for i := range maxSyncs + 2 {
		if _, ok := x.Mailbox("alice", fmt.Sprint(i), 7).LoadState(); !ok {
			t.Errorf("folder %d: not trusted", i)
		}
	}
}

func TestOpenReportsWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: filepath.Join(file, "cache")}); err == nil {
		t.Error("a directory below a file")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); err == nil {
		t.Error("a lock that is a directory")
	}
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "epoch.tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); err == nil {
		t.Error("an epoch that cannot be written")
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	x, err := Open(Options{Dir: t.TempDir(), Registerer: registry, noSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	m := x.Mailbox("alice", "0123", 7)
	b := newTextBox(t)
	b.add(t, 1, "Subject: x\n\ntext\n")
	b.fillAll(t, m)
	m.closeFiles()
	if err := overwrite(filepath.Join(m.dir, "rows"), []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	b.checkAll(t, m)
	for c, want := range map[prometheus.Counter]float64{x.metrics.rows: 1, x.metrics.texts: 1, x.metrics.segments: 1, x.metrics.rebuilt: 1, x.metrics.failed: 0} {
		if got := testutil.ToFloat64(c); got != want {
			t.Errorf("%v: %v, want %v", c.Desc(), got, want)
		}
	}
	if n, err := testutil.GatherAndCount(registry); err != nil || n != 7 {
		t.Errorf("%d metrics, %v", n, err)
	}
}

func TestFilesAreClosedWhenTooManyAreOpen(t *testing.T) {
	x, err := Open(Options{Dir: t.TempDir(), MaxOpen: 3, noSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	var boxes []*Mailbox
	for i := range 10 {
		m := x.Mailbox("alice", fmt.Sprint(i), 7)
		put(t, m, 1, "base", sample)
		m.flush()
		boxes = append(boxes, m)
	}
	for range 2 {
		open := 0
		for _, m := range boxes {
			m.mu.Lock()
			if m.files != nil {
				open++
			}
			m.mu.Unlock()
		}
		if open > 3 {
			t.Errorf("the files of %d folders are open", open)
		}
		for _, m := range boxes {
			m.View(func(r *Reader) error {
				if _, ok := r.Row(1, "base"); !ok {
					t.Error("no row")
				}
				return nil
			})
		}
	}
}

func TestSearchingCostsNoMemoryARow(t *testing.T) {
	m := openIndex(t, t.TempDir()).Mailbox("alice", "0123", 7)
	keys := make([]Key, 500)
	for i := range keys {
		keys[i] = Key{UID(i + 1), fmt.Sprint("base", i)}
		put(t, m, keys[i].UID, keys[i].Base, sample)
	}
	m.flush()
	matcher := message.NewMatcher("nowhere")
	buf := make([]byte, 0, 4096)
	look := func() {
		m.View(func(r *Reader) error {
			for _, k := range keys {
				row, ok := r.Row(k.UID, k.Base)
				if !ok {
					t.Error("no row")
				}
				row.Match(Subject, matcher)
				w, _ := row.Wire()
				buf = w.AppendBodyStructure(w.AppendEnvelope(buf[:0], false), false, false)
			}
			return nil
		})
	}
	look()
	if n := testing.AllocsPerRun(5, look); n > 20 {
		t.Errorf("%v allocations for %d rows", n, len(keys))
	}
}

func TestBaseSumsDiffer(t *testing.T) {
	seen := map[uint64]string{}
	short := map[uint32]int{}
	for i := range 20000 {
		for _, base := range []string{
			fmt.Sprintf("17000%05d.M1P1.host,S=100,W=100", i), fmt.Sprintf("1700000000.M%dP1.host,S=%d", i, i%7), strings.Repeat("a", i%300) + fmt.Sprint(i),
		} {
			sum := baseSum(base)
			if other, ok := seen[sum]; ok && other != base {
				t.Fatalf("%q and %q", base, other)
			}
			seen[sum] = base
			short[BaseHash(base)]++
		}
	}
	if len(seen)-len(short) > 5 {
		t.Errorf("%d of %d short hashes are equal", len(seen)-len(short), len(seen))
	}
	if baseSum("") == baseSum("\x00") || baseSum("a\x00") == baseSum("a") {
		t.Error("the length does not count")
	}
}

func BenchmarkBaseSum(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		baseSum("1795453934.M61701P16083.vm,S=5900,W=6500")
	}
}
