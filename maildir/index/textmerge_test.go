package index

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// makeSegment writes a segment of documents with the trigrams that they map to.
func makeSegment(t *testing.T, docs []document, has func(document) []trigram) *segment {
	t.Helper()
	a := newAccumulator()
	for _, d := range docs {
		a.add(d, has(d))
	}
	h := fileHeader{kind: textFile}
	var b bytes.Buffer
	if err := a.write(&b, h); err != nil {
		t.Fatal(err)
	}
	return reopenSegment(t, b.Bytes())
}

func reopenSegment(t *testing.T, b []byte) *segment {
	t.Helper()
	path := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := openSegment(path, fileHeader{kind: textFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.file.Close() })
	return s
}

// trigramsOf gives a document trigrams that depend on it alone.
func trigramsOf(d document) []trigram {
	r := rand.New(rand.NewPCG(uint64(d.uid), uint64(d.base)))
	var list []trigram
	for range 20 {
		list = append(list, trigram(r.IntN(1<<uint(5+r.IntN(10)))))
	}
	if d.uid%50 == 0 {
		list = append(list, anyTrigram)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func TestMergeKeepsTheLiving(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	var segments []*segment
	var all []document
	for range 5 {
		var docs []document
		for range 200 + r.IntN(400) {
			docs = append(docs, document{UID(r.IntN(1000) + 1), uint32(r.IntN(2))})
		}
		all = append(all, docs...)
		segments = append(segments, makeSegment(t, docs, trigramsOf))
	}
	for _, c := range []struct {
		name string
		live func(document) bool
	}{
		{"all", func(document) bool { return true }},
		{"some", func(d document) bool { return d.uid%3 == 0 }},
		{"few", func(d document) bool { return d.uid == all[0].uid }},
		{"none", func(document) bool { return false }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want []document
			for _, d := range all {
				if c.live(d) {
					want = append(want, d)
				}
			}
			slices.SortFunc(want, compareDocuments)
			want = slices.Compact(want)
			var b bytes.Buffer
			n, err := merge(&b, fileHeader{kind: textFile}, segments, c.live)
			if err != nil || n != len(want) {
				t.Fatalf("%v, %d documents, want %d", err, n, len(want))
			}
			if n == 0 {
				if b.Len() > 0 {
					t.Error("a segment of nothing")
				}
				return
			}
			checkSegment(t, reopenSegment(t, b.Bytes()), want)
		})
	}
}

// checkSegment fails unless s has these documents with their trigrams.
func checkSegment(t *testing.T, s *segment, want []document) {
	t.Helper()
	got := slices.Clone(s.docs)
	slices.SortFunc(got, compareDocuments)
	if !slices.Equal(got, want) {
		t.Fatalf("documents %v, want %v", got, want)
	}
	has := map[trigram]map[document]bool{}
	c := listCursor{s: s}
	last := -1
	for {
		ok, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if int(c.trigram) <= last {
			t.Fatalf("trigram %x behind %x", c.trigram, last)
		}
		last = int(c.trigram)
		ordinals, err := c.list.appendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		has[c.trigram] = map[document]bool{}
		for _, o := range ordinals {
			has[c.trigram][s.docs[o]] = true
		}
	}
	for _, d := range want {
		for _, tri := range trigramsOf(d) {
			if !has[tri][d] {
				t.Fatalf("%v has lost %x", d, tri)
			}
		}
	}
}

func TestSmallSegmentsAreMerged(t *testing.T) {
	m := openIndex(t, t.TempDir()).Mailbox("alice", "0123", 7)
	b := newTextBox(t)
	for uid := range UID(60) {
		b.add(t, uid+1, fmt.Sprintf("Subject: number %d\n\nbody %d\n", uid, uid*uid))
		if err := m.FillText(context.Background(), b.keys, b.open, nil); err != nil {
			t.Fatal(err)
		}
		set := m.openText()
		if n := len(set.segments); n > 6 {
			t.Fatalf("%d segments of %d messages", n, uid+1)
		}
		set.release()
	}
	if files, _ := filepath.Glob(filepath.Join(m.dir, "text-*")); len(files) > 6 {
		t.Errorf("files %v", files)
	}
	for _, needle := range []string{"number 7", "body 49", "3481"} {
		if maybe, unknown := b.check(t, m, needle); len(maybe) == 0 || len(maybe) > 3 || len(unknown) > 0 {
			t.Errorf("%q: %v, %v", needle, maybe, unknown)
		}
	}
	b.keys = b.keys[:3]
	if err := m.FillText(context.Background(), b.keys, b.open, nil); err != nil {
		t.Fatal(err)
	}
	set := m.openText()
	defer set.release()
	if len(set.covered) > 10 {
		t.Errorf("%d documents of expunged messages are kept", len(set.covered))
	}
}

func TestDamagedSegmentIsUnknown(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	b := newTextBox(t)
	for uid := range UID(200) {
		b.add(t, uid+1, randomMail(r))
	}
	for round := range 60 {
		m := openIndex(t, t.TempDir()).Mailbox("alice", "0123", 7)
		for _, n := range []int{50, 130, 200} {
			box := &textBox{dir: b.dir, keys: b.keys[:n], text: b.text}
			if err := m.FillText(context.Background(), box.keys, b.open, nil); err != nil {
				t.Fatal(err)
			}
		}
		files, err := filepath.Glob(filepath.Join(m.dir, "text-*"))
		if err != nil || len(files) == 0 {
			t.Fatal(err, files)
		}
		for kind, damage := range damages {
			name := files[r.IntN(len(files))]
			t.Logf("round %d: %s of %s", round, kind, filepath.Base(name))
			if err := damage(r, name); err != nil {
				t.Fatal(err)
			}
			break
		}
		if round%2 == 0 {
			m.closeFiles()
		}
		for _, needle := range []string{"strasse", "会議", "invoice", "barbaz", ".pdf"} {
			b.check(t, m, needle)
		}
		if err := m.FillText(context.Background(), b.keys[:150], b.open, nil); err != nil { // merges what is damaged, too
			t.Fatal(err)
		}
		if err := m.FillText(context.Background(), b.keys, b.open, nil); err != nil {
			t.Fatal(err)
		}
		b.check(t, m, "strasse")
		if t.Failed() {
			return
		}
	}
}

func TestTextCanBeOff(t *testing.T) {
	x, err := Open(Options{Dir: t.TempDir(), NoText: true, noSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	m := x.Mailbox("alice", "0123", 7)
	b := newTextBox(t)
	b.add(t, 1, "Subject: x\n\ntext\n")
	if err := m.FillText(context.Background(), b.keys, b.open, nil); err != nil {
		t.Fatal(err)
	}
	if maybe, unknown := b.check(t, m, "text"); len(maybe) != 0 || len(unknown) != 1 {
		t.Errorf("%v %v", maybe, unknown)
	}
	if files := cacheFiles(t, m); len(files) > 0 {
		t.Errorf("files %v", files)
	}
}

func TestLargeFoldersTakeTurns(t *testing.T) {
	x := openIndex(t, t.TempDir())
	b := newTextBox(t)
	for uid := range UID(50) {
		b.add(t, uid+1, "Subject: x\n\ntext\n")
	}
	x.texting <- struct{}{} // somebody is at work
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() { result <- x.Mailbox("alice", "0123", 7).FillText(ctx, b.keys, b.open, nil) }()
	cancel()
	if err := <-result; err == nil {
		t.Error("did not wait for its turn")
	}
	go func() {
		result <- x.Mailbox("alice", "0123", 7).FillText(context.Background(), b.keys, b.open, func(done, total int) {
			if done > total || total != 50 {
				t.Errorf("%d of %d", done, total)
			}
		})
	}()
	<-x.texting
	if err := <-result; err != nil {
		t.Error(err)
	}
}
