package index

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/message"
)

// textBox is a folder with messages on disk.
type textBox struct {
	dir  string
	keys []Key
	text map[UID]string
}

func newTextBox(t testing.TB) *textBox { return &textBox{dir: t.TempDir(), text: map[UID]string{}} }

func (b *textBox) add(t testing.TB, uid UID, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, fmt.Sprint(uid)), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.text[uid] = text
	b.keys = append(b.keys, Key{uid, fmt.Sprint("base", uid)})
}

func (b *textBox) open(uid UID) (*os.File, error) {
	return os.Open(filepath.Join(b.dir, fmt.Sprint(uid)))
}

// check fails unless Candidates is true for the needle.
func (b *textBox) check(t testing.TB, m *Mailbox, needle string) (maybe, unknown []UID) {
	t.Helper()
	matcher := message.NewMatcher(needle)
	maybe, unknown, err := m.Candidates(context.Background(), matcher, b.keys)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(maybe) || !slices.IsSorted(unknown) {
		t.Errorf("%q: not sorted: %v %v", needle, maybe, unknown)
	}
	for _, k := range b.keys {
		text := b.text[k.UID]
		found, err := scan(t, text).MatchText(strings.NewReader(text), matcher)
		if err != nil {
			t.Fatal(err)
		}
		if found && !slices.Contains(maybe, k.UID) && !slices.Contains(unknown, k.UID) {
			t.Errorf("%q: message %d is missing", needle, k.UID)
		}
	}
	return maybe, unknown
}

// randomMail makes a message of few words, so that needles are found.
func randomMail(r *rand.Rand) string {
	words := []string{"Straße", "STRASSE", "élève", "e\u0301leve", "meeting", "Invoice", "a", "zz", "会議", "x\u00ady", "foo", "barbaz"}
	var b strings.Builder
	pick := func(n int) string {
		var list []string
		for range r.IntN(n) + 1 {
			list = append(list, words[r.IntN(len(words))])
		}
		return strings.Join(list, []string{" ", "\n", "  ", ""}[r.IntN(4)])
	}
	fmt.Fprintf(&b, "Subject: %s\nFrom: a@b\n", strings.ReplaceAll(pick(4), "\n", "\n "))
	switch r.IntN(3) {
	case 0:
		fmt.Fprintf(&b, "\n%s\n", pick(20))
	case 1:
		fmt.Fprintf(&b, "MIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n<p>%s<b>%s</b>\n", pick(10), pick(5))
	default:
		fmt.Fprintf(&b, "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n%s\n--b\nContent-Type: application/x; name=\"%s.pdf\"\n\n%s\n--b--\n",
			pick(9), strings.ReplaceAll(pick(2), "\n", " "), pick(3))
	}
	return b.String()
}

func TestCandidatesMissNothing(t *testing.T) {
	dir := t.TempDir()
	x := openIndex(t, dir)
	m := x.Mailbox("alice", "0123", 7)
	b := newTextBox(t)
	r := rand.New(rand.NewPCG(1, 2))
	needles := []string{"strasse", "STRAẞE", "élève", "meet", "a", "", "zz", "議", "会議", "xy", "foo bar", "foobar", "barbazfoo", ".pdf", "subject: ", "nowhere", "g i"}
	uid := UID(1)
	for round := range 6 {
		for range 60 {
			uid += UID(r.IntN(3) + 1)
			b.add(t, uid, randomMail(r))
		}
		if round == 3 {
			b.keys = slices.DeleteFunc(b.keys, func(k Key) bool { return k.UID%3 == 0 || k.UID < 200 })
		}
		for _, needle := range needles {
			b.check(t, m, needle)
		}
		if err := m.FillText(context.Background(), b.keys, b.open, nil); err != nil {
			t.Fatal(err)
		}
		if left := m.Untexted(b.keys, nil); len(left) > 0 {
			t.Errorf("not indexed: %v", left)
		}
		if round == 4 {
			m.Close()
			x.Close()
			x = openIndex(t, dir)
			m = x.Mailbox("alice", "0123", 7)
		}
		for _, needle := range needles {
			maybe, unknown := b.check(t, m, needle)
			if short := len(message.NewMatcher(needle).Needle()) < minNeedle; short != (len(unknown) > 0) {
				t.Errorf("%q: %d unknown", needle, len(unknown))
			}
			if needle == "nowhere" && len(maybe) > 0 {
				t.Errorf("%q: %v", needle, maybe)
			}
		}
	}
	if n := len(m.openText().segments); n > 4 {
		t.Errorf("%d segments", n)
	}
}

func TestChangedBaseIsUnknown(t *testing.T) {
	m := openIndex(t, t.TempDir()).Mailbox("alice", "0123", 7)
	b := newTextBox(t)
	b.add(t, 1, "Subject: one\n\ntext\n")
	b.add(t, 2, "Subject: two\n\ntext\n")
	if err := m.FillText(context.Background(), b.keys, b.open, nil); err != nil {
		t.Fatal(err)
	}
	b.keys[0].Base = "another"
	if maybe, unknown := b.check(t, m, "two"); !slices.Equal(maybe, []UID{2}) || !slices.Equal(unknown, []UID{1}) {
		t.Errorf("maybe %v, unknown %v", maybe, unknown)
	}
}

func BenchmarkFillText(b *testing.B) {
	keys, open := benchKeys(benchMail(b, 20000))
	b.ReportAllocs()
	for b.Loop() {
		dir := b.TempDir()
		m := openIndex(b, dir).Mailbox("alice", "0123", 7)
		if err := m.FillText(context.Background(), keys, open, nil); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(measure(m.dir).size)/float64(len(keys)), "B/msg")
	}
}

func BenchmarkSearchText(b *testing.B) {
	names := benchMail(b, 100000)
	keys, open := benchKeys(names)
	dir := os.Getenv("INDEX_BENCH_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	m := openIndex(b, dir).Mailbox("alice", "0123", 7)
	if err := m.FillText(context.Background(), keys, open, nil); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d bytes, %d segments", measure(m.dir).size, len(m.openText().segments))
	for _, needle := range []string{"zyzzyva", "quarterly report", "report", "größe", "nosuchword", "bench.example.com"} {
		b.Run(needle, func(b *testing.B) {
			b.ReportAllocs()
			matcher := message.NewMatcher(needle)
			for b.Loop() {
				maybe, unknown, err := m.Candidates(context.Background(), matcher, keys)
				if err != nil || len(unknown) > 0 {
					b.Fatal(err, len(unknown))
				}
				b.ReportMetric(float64(len(maybe)), "maybe")
			}
		})
		b.Run(needle+"+verify", func(b *testing.B) {
			matcher := message.NewMatcher(needle)
			for b.Loop() {
				maybe, _, _ := m.Candidates(context.Background(), matcher, keys)
				if len(maybe) > 10000 {
					b.Skip("too common")
				}
				found := 0
				for _, uid := range maybe {
					f, _ := open(uid)
					p, _ := message.Scan(f)
					if ok, _ := p.MatchText(f, matcher); ok {
						found++
					}
					f.Close()
				}
				b.ReportMetric(float64(found), "found")
			}
		})
	}
}
