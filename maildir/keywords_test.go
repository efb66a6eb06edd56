package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseKeywords(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       map[int]string
	}{
		{"plain", "0 $Forwarded\n1 NonJunk\n", map[int]string{0: "$Forwarded", 1: "NonJunk"}},
		{"gaps and no last LF", "25 unknown-25\n3 x", map[int]string{25: "unknown-25", 3: "x"}},
		{"first of two names holds", "0 Junk\n1 junk\n0 other\n", map[int]string{0: "Junk"}},
		{"odd lines", "26 x\nnospace\n -1 y\n-1 y\n2 \n\n7 two words\n8 ok\r\n9 fine\n", map[int]string{9: "fine"}},
		{"empty", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := parseKeywords(c.text)
			for i, name := range table {
				if name != c.want[i] {
					t.Errorf("%d is %q, want %q", i, name, c.want[i])
				}
			}
		})
	}
}

func TestKeywordsFillGapsButNoLettersInUse(t *testing.T) {
	table := parseKeywords("1 one\n")
	bits, grew, err := table.add([]string{"ONE", "zero", "two"}, Keyword(0)|Keyword(2))
	if err != nil || !grew || bits != Keyword(1)|Keyword(3)|Keyword(4) {
		t.Errorf("%x, %v, %v: %v", bits, grew, err, table)
	}
	if bits, _, err := table.add([]string{"unknown-2"}, Keyword(2)); err != nil || bits != Keyword(2) {
		t.Errorf("a letter without a name: %x, %v", bits, err)
	}
}

func TestThe27thKeywordIsRefused(t *testing.T) {
	s, dir := testStore(t, Options{})
	m := open(t, s, "INBOX")
	deliver(t, s, "INBOX", "x")
	if err := m.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range maxKeywords {
		if _, _, err := m.StoreFlags(t.Context(), []UID{1}, AddFlags, 0, []string{fmt.Sprint("kw", i)}, StoreOptions{}); err != nil {
			t.Fatal(i, err)
		}
	}
	_, _, err := m.StoreFlags(t.Context(), []UID{1}, AddFlags, Seen, []string{"kw26"}, StoreOptions{})
	if !errors.Is(err, ErrTooManyKeywords) || m.Messages()[0].Flags&Seen != 0 {
		t.Errorf("err = %v, message %+v", err, m.Messages()[0])
	}
	if _, _, err := m.StoreFlags(t.Context(), []UID{1}, RemoveFlags, 0, []string{"kw26", "KW3"}, StoreOptions{}); err != nil {
		t.Errorf("removing a keyword that nobody has: %v", err)
	}
	if got := m.Messages()[0].Flags; got != AllKeywords&^Keyword(3) {
		t.Errorf("flags %x", got)
	}
	text, _ := os.ReadFile(filepath.Join(dir, keywordsName))
	if n := strings.Count(string(text), "\n"); n != 26 || !strings.HasPrefix(string(text), "0 kw0\n1 kw1\n") {
		t.Errorf("table:\n%s", text)
	}
}

func TestKeywordTableGrowsInWholeSeconds(t *testing.T) {
	s, dir := testStore(t, Options{})
	m := open(t, s, "INBOX")
	deliver(t, s, "INBOX", "x")
	if err := m.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	var last time.Time
	for i := range 4 {
		if _, _, err := m.StoreFlags(t.Context(), []UID{1}, AddFlags, 0, []string{fmt.Sprint("k", i)}, StoreOptions{}); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(filepath.Join(dir, keywordsName))
		if err != nil || fi.ModTime().Unix() <= last.Unix() {
			t.Errorf("mtime %v after %v, %v", fi.ModTime(), last, err)
		}
		last = fi.ModTime()
	}
}

func TestBadKeywordsAreRefused(t *testing.T) {
	for name, want := range map[string]bool{"$Label1": true, "Füß": false, "": false, "a b": false, "a(": false, `a\`: false, "a\n": false, "NonJunk": true} {
		if validKeyword(name) != want {
			t.Errorf("validKeyword(%q) = %v", name, !want)
		}
	}
}

func TestForeignKeywordsAppear(t *testing.T) {
	s, dir := testStore(t, Options{})
	write(t, dir, "cur/1.h:2,Sbz", "x")
	m := open(t, s, "INBOX")
	if got := fmt.Sprint(m.Keywords()); got != "[ unknown-1                        unknown-25]" {
		t.Errorf("keywords %q", got)
	}
	write(t, dir, keywordsName, "1 Work\n")
	if err := m.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k := m.Keywords(); k[1] != "Work" || k[25] != "unknown-25" {
		t.Errorf("keywords %q", k)
	}
}

// FuzzKeywords: a table that was read reads the same after it was written.
func FuzzKeywords(f *testing.F) {
	for _, s := range []string{"0 $Forwarded\n1 NonJunk\n", "25 unknown-25", "26 x\n\n1  \n", "0 a\n0 b\n1 A\n", "1 a\x00b\n2 c\rd\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		table := parseKeywords(text)
		if again := parseKeywords(string(table.format())); again != table {
			t.Fatalf("%v became %v", table, again)
		}
	})
}
