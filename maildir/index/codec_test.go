package index

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

// FuzzRow makes a row of any message and compares it with the message.
func FuzzRow(f *testing.F) {
	f.Add(sample)
	f.Add(strings.ReplaceAll(sample, "\n", "\r\n"))
	f.Add("")
	f.Add("Subject: =?utf-8?q?=E2=82=AC?= x\nSubject: second\nFrom: \xff\xfe <a@b>\nDate: now\n\n")
	f.Add("From: \"a\\\"b\" <c@d>\nSubject: 8-bit \xc3\xa9\nContent-Type: text/plain; name=\"\xc3\xa9{3}\"\n\nx")
	f.Add("Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n\n--x\nContent-Type: message/rfc822\n\nSubject: a)(\"\n\n--x\nContent-Description: )\n\n--x--")
	f.Add(" continued\nFrom\nSubject : odd\nno field\nTo: " + strings.Repeat("x@y, ", 2000) + "\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		var b builder
		part := scan(t, text)
		if err := b.build(Message{Key: Key{1, "a"}, File: strings.NewReader(text), Part: part, Internal: time.Unix(7, 0)}); err != nil {
			t.Fatal(err)
		}
		if !validRow(b.row) {
			t.Fatal("row is not valid")
		}
		row := Row{b: b.row}
		fields := message.ParseHeader([]byte(text)[:part.BodyStart])
		if want, err := message.ParseDate(fields.Value("Date")); err == nil {
			if got, ok := row.Sent(); !ok || got.Unix() != want.Unix() {
				t.Errorf("sent %v, want %v", got, want)
			}
		}
		for _, needle := range []string{"", "a", "x@y", "é", "second"} {
			m := message.NewMatcher(needle)
			for f, name := range fieldNames {
				want := slices.ContainsFunc(fields, func(f message.Field) bool { return f.Is(name) && m.MatchString(f.Text()) })
				if got, known := row.Match(Field(f), m); known && got != want {
					t.Errorf("%s %q: %v, want %v", name, needle, got, want)
				}
			}
		}
		base, reply := message.BaseSubject(fields.Text("Subject"))
		if got, known := row.SortKey(SortSubject); known && (string(got) != message.FoldString(base) || row.IsReply() != reply) {
			t.Errorf("sort key %q, want %q", got, base)
		}
		if len(b.wire) == 0 {
			return
		}
		w, ok := parseWire(b.wire)
		if !ok {
			t.Fatal("wire is not valid")
		}
		compareWire(t, w, part, []byte(text)[:part.BodyStart])
	})
}

// compareWire fails unless w says what the message does.
func compareWire(t *testing.T, w Wire, part *message.Part, header []byte) {
	t.Helper()
	for _, c := range []struct{ got, want []byte }{
		{w.AppendEnvelope(nil, false), part.AppendEnvelope(nil)},
		{w.AppendEnvelope(nil, true), part.AppendEnvelopeUTF8(nil)},
		{w.AppendBodyStructure(nil, true, false), part.AppendBodyStructure(nil, true)},
		{w.AppendBodyStructure(nil, true, true), part.AppendBodyStructureUTF8(nil, true)},
		{w.AppendBodyStructure(nil, false, false), part.AppendBodyStructure(nil, false)},
		{w.AppendBodyStructure(nil, false, true), part.AppendBodyStructureUTF8(nil, false)},
	} {
		if !bytes.Equal(c.got, c.want) {
			t.Errorf("%q, want\n%q", c.got, c.want)
		}
	}
	for _, names := range [][]string{{"Subject"}, {"FROM", "to", "Cc"}, {"list-id", "X-Priority", "References"}} {
		got, ok := w.AppendHeaderFields(nil, names)
		if want := message.AppendHeaderFields(nil, header, names, false); ok && !bytes.Equal(got, want) {
			t.Errorf("fields %v: %q, want\n%q", names, got, want)
		}
	}
	if _, ok := w.AppendHeaderFields(nil, []string{"Subject", "X-Nobody-Keeps"}); ok {
		t.Error("a field that is not kept")
	}
}

// FuzzWire reads any bytes as a long part.
func FuzzWire(f *testing.F) {
	var b builder
	if err := b.build(Message{File: strings.NewReader(sample)}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.wire)
	f.Fuzz(func(t *testing.T, in []byte) {
		w, ok := parseWire(in)
		if !ok {
			return
		}
		w.AppendEnvelope(nil, true)
		w.AppendBodyStructure(nil, false, false)
		w.AppendBodyStructure(nil, false, true)
		w.AppendHeaderFields(nil, []string{"to"})
		w.Part()
		if !bytes.Equal(appendWire(nil, &w.sections), in) && len(in) > 0 && len(appendWire(nil, &w.sections)) > len(in) {
			t.Error("grows")
		}
	})
}

// FuzzRowRecord reads any bytes as a row.
func FuzzRowRecord(f *testing.F) {
	var b builder
	if err := b.build(Message{File: strings.NewReader(sample)}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.row)
	f.Fuzz(func(t *testing.T, in []byte) {
		if !validRow(in) {
			return
		}
		row := Row{b: in}
		row.Sent()
		for f := range numFields {
			row.Match(f, message.NewMatcher("x"))
		}
		for k := range numSortKeys {
			row.SortKey(k)
		}
	})
}

// FuzzRecords reads any bytes as a file of records.
func FuzzRecords(f *testing.F) {
	b := append(beginRecord(nil), "abc"...)
	endRecord(b, 0)
	f.Add(append(b, b...))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := recordReader{r: bytes.NewReader(in)}
		n := 0
		for {
			p, at, err := r.next()
			if err != nil {
				break
			}
			if !bytes.Equal(in[at+recordHead:][:len(p)], p) {
				t.Fatal("not what the file has")
			}
			n++
		}
		if n > len(in)/recordHead {
			t.Fatal("too many")
		}
	})
}

func TestCutsGiveBody(t *testing.T) {
	for _, c := range []struct {
		full, body string
		ok         bool
	}{
		{`("text" "plain" NIL NIL NIL "7bit" 3 1 NIL NIL NIL NIL)`, `("text" "plain" NIL NIL NIL "7bit" 3 1)`, true},
		{`(("a" 1 NIL ("x" (")" "\")")) NIL)("b" 2 {3}` + "\r\n))) NIL" + `) "mixed" ("b" "c") NIL)`, `(("a" 1)("b" 2) "mixed")`, true},
		{`("a" NIL)`, `("b")`, false},
		{`("a" NIL)`, `("a" NIL) x`, false},
		{`("a" {9}` + "\r\nx)", `("a")`, false},
		{`("a"`, `("a")`, false},
		{`("a")`, `("a"`, false},
		{``, ``, true},
	} {
		cuts := bodyCuts(nil, []byte(c.full), []byte(c.body))
		if !c.ok {
			if len(cuts) > 0 {
				t.Errorf("%s -> %s: %v", c.full, c.body, cuts)
			}
			continue
		}
		if got, ok := appendUncut(nil, []byte(c.full), cuts); !ok || string(got) != c.body {
			t.Errorf("%q %v, want %q", got, ok, c.body)
		}
	}
}

func FuzzCuts(f *testing.F) {
	f.Add([]byte(`("a" NIL)`), []byte(`("a")`), []byte{4, 4})
	f.Fuzz(func(t *testing.T, full, body, cuts []byte) {
		if cuts := bodyCuts(nil, full, body); len(cuts) > 0 {
			if got, ok := appendUncut(nil, full, cuts); !ok || !bytes.Equal(got, body) {
				t.Fatalf("%q, want %q", got, body)
			}
		}
		appendUncut(nil, full, cuts)
	})
}

func TestPostingListsComeBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, docs := range []int{1, 2, 7, 8, 9, 1000, 40000} {
		for _, share := range []float64{0, 0.0001, 0.01, 0.2, 0.5, 0.9, 1} {
			var ordinals []uint32
			for o := range uint32(docs) {
				if r.Float64() < share {
					ordinals = append(ordinals, o)
				}
			}
			if len(ordinals) == 0 {
				ordinals = append(ordinals, uint32(r.IntN(docs)))
			}
			b := appendList(nil, ordinals, docs)
			if len(b) > (docs+7)/8+10 {
				t.Errorf("%d of %d: %d bytes", len(ordinals), docs, len(b))
			}
			l, err := parseList(b, docs)
			if err != nil {
				t.Fatal(err)
			}
			got, err := l.appendTo(nil)
			if err != nil || !slices.Equal(got, ordinals) {
				t.Fatalf("%d of %d: %v", len(ordinals), docs, err)
			}
			var some, want []uint32
			for o := range uint32(docs) {
				if r.IntN(3) == 0 {
					some = append(some, o)
					if slices.Contains(ordinals, o) {
						want = append(want, o)
					}
				}
				if len(some) > 300 {
					break
				}
			}
			if got, err := l.intersect(some); err != nil || !slices.Equal(got, want) {
				t.Fatalf("%d of %d: %v, want %v, %v", len(ordinals), docs, got, want, err)
			}
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			if _, err := parseList(b, docs); err == nil {
				t.Error("a flipped bit was not seen")
			}
		}
	}
}

// FuzzPostings reads any bytes as a posting list, and any numbers as one to be
// written.
func FuzzPostings(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3}, uint16(9))
	f.Add(appendList(nil, []uint32{0, 5, 6, 7, 900}, 1000), uint16(1000))
	f.Add(appendList(nil, []uint32{0, 2, 3}, 5), uint16(5))
	f.Fuzz(func(t *testing.T, in []byte, docs uint16) {
		withSum := binary.LittleEndian.AppendUint32(slices.Clone(in), checksum(in))
		if l, err := parseList(withSum, int(docs)); err == nil {
			got, err := l.appendTo(nil)
			if err == nil && (!slices.IsSorted(got) || len(got) > 0 && got[len(got)-1] >= uint32(docs)) {
				t.Fatal("wrong ordinals")
			}
			if kept, err2 := l.intersect(slices.Clone(got)); err == nil && (err2 != nil || !slices.Equal(kept, got)) {
				t.Fatalf("%v and itself: %v, %v", got, kept, err2)
			}
		}
		var ordinals []uint32
		next := uint32(0)
		for _, c := range in {
			next += uint32(c) * uint32(c)
			ordinals = append(ordinals, next)
			next++
		}
		if len(ordinals) == 0 {
			return
		}
		l, err := parseList(appendList(nil, ordinals, int(next)), int(next))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := l.appendTo(nil); err != nil || !slices.Equal(got, ordinals) {
			t.Fatalf("%v, want %v, %v", got, ordinals, err)
		}
	})
}

func TestAccumulatorKeepsEachDocument(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	var a accumulator = *newAccumulator()
	for range 2 { // it is used again
		want := map[trigram][]uint32{}
		for o := range 1500 {
			var list []trigram
			for range 40 {
				list = append(list, trigram(r.IntN(1<<uint(4+r.IntN(21)))))
			}
			slices.Sort(list)
			list = slices.Compact(list)
			a.add(document{UID(o + 1), 7}, list)
			for _, t := range list {
				want[t] = append(want[t], uint32(o))
			}
		}
		path := filepath.Join(t.TempDir(), "segment")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		h := fileHeader{kind: textFile, validity: 9}
		if err := a.write(f, h); err != nil {
			t.Fatal(err)
		}
		f.Close()
		s, err := openSegment(path, h)
		if err != nil {
			t.Fatal(err)
		}
		for tri, ordinals := range want {
			l, ok, err := s.list(tri)
			if err != nil || !ok {
				t.Fatalf("%x: %v %v", tri, ok, err)
			}
			if got, err := l.appendTo(nil); err != nil || !slices.Equal(got, ordinals) {
				t.Fatalf("%x: %v", tri, err)
			}
		}
		for range 1000 {
			tri := trigram(r.IntN(1 << 24))
			if _, ok, err := s.list(tri); ok != (want[tri] != nil) || err != nil {
				t.Fatalf("%x: %v %v", tri, ok, err)
			}
		}
		s.file.Close()
	}
}

func TestTooManyTrigramsMatchAll(t *testing.T) {
	x := newExtractor()
	r := rand.New(rand.NewPCG(1, 1))
	text := make([]byte, 2<<20)
	for i := range text {
		text[i] = byte(r.Uint32())
	}
	x.add(text, true)
	if list := x.take(nil); !slices.Equal(list, []trigram{anyTrigram}) {
		t.Fatalf("%d trigrams", len(list))
	}
	x.add([]byte("ab"), true)
	x.add([]byte("cd"), false)
	x.add([]byte("xy"), true)
	x.add([]byte("z"), false)
	list := x.take(nil)
	slices.Sort(list)
	if want := slices.Sorted(slices.Values(append(trigrams([]byte("abcd")), trigrams([]byte("xyz"))...))); !slices.Equal(list, want) {
		t.Errorf("%x, want %x", list, want)
	}
}
