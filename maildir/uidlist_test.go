package maildir

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseListHeader(t *testing.T) {
	guid := "6ae4b403ee73046bd33e000083ecc375"
	for _, c := range []struct {
		line string
		want listHeader
	}{
		{"3 V1795453934 N8 G" + guid, listHeader{3, 1795453934, 8, guid, ""}},
		{"3 V1 N1 P%08Xu%08Xv G" + guid + " xfoo", listHeader{3, 1, 1, guid, " P%08Xu%08Xv xfoo"}},
		{"3 V1 N1", listHeader{3, 1, 1, "", ""}},
		{"3 V1 N1 Gshort", listHeader{3, 1, 1, "", ""}},
		{"1 1234 56", listHeader{1, 1234, 56, "", ""}},
	} {
		if h, err := parseListHeader(c.line); err != nil || h != c.want {
			t.Errorf("%q: %+v, %v", c.line, h, err)
		}
	}
	for _, line := range []string{"", "3", "3 V1", "3 N1", "3 V0 N1", "3 V1 N0", "3 Vx N1", "3 V1 N99999999999", "2 V1 N1", "1 5", "1 x 5", "4 V1 N1", "\x00\x00"} {
		if h, err := parseListHeader(line); !errors.Is(err, errCorrupt) {
			t.Errorf("%q: %+v, %v", line, h, err)
		}
	}
}

func TestListHeaderRoundTrip(t *testing.T) {
	line := "3 V1795453934 N8 G6ae4b403ee73046bd33e000083ecc375 Pabc\n"
	h, err := parseListHeader(strings.TrimSuffix(line, "\n"))
	if err != nil || string(h.append(nil)) != line {
		t.Errorf("%q, %v", h.append(nil), err)
	}
}

// lines reads a list and gives its records as text.
func lines(text string, version int, after UID) (recs []string, t listText, err error) {
	t, err = parseList(text, version, after, func(l listLine) {
		recs = append(recs, fmt.Sprintf("%d[%s]%s", l.uid, l.ext, l.base))
	})
	return recs, t, err
}

func TestParseList(t *testing.T) {
	for _, c := range []struct {
		name, text string
		version    int
		after      UID
		want       []string
		untidy     bool
		partial    bool
	}{
		{"plain", "1 :a\n5 :b:c\n7 : d e\n", 3, 0, []string{"1[]a", "5[]b", "7[] d e"}, true, false},
		{"extensions", "5 W123 Xfoo :name\n", 3, 0, []string{"5[W123 Xfoo]name"}, false, false},
		{"lower case is dropped", "5 W1 xbad Gg :n\n", 3, 0, []string{"5[W1 Gg]n"}, true, false},
		{"half a line waits", "1 :a\n2 :b", 3, 0, []string{"1[]a"}, false, true},
		{"appended", "9 :z\n", 3, 8, []string{"9[]z"}, false, false},
		{"version 1", "1 a b\n2 c\n", 1, 0, []string{"1[]a b", "2[]c"}, false, false},
		{"zeros of a crash", "1 :a\n\x00\x00\x00\x00\n9 :b\n", 3, 0, []string{"1[]a", "9[]b"}, true, false},
		{"no name", "1 :a\n2 :\n3 W5 :c\n", 3, 0, []string{"1[]a", "3[W5]c"}, true, false},
		{"a slash", "1 :../x\n2 :b\n", 3, 0, []string{"2[]b"}, true, false},
		{"a dot", "1 :.x\n2 :b\n", 3, 0, []string{"2[]b"}, true, false},
		{"empty", "", 3, 0, nil, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, st, err := lines(c.text, c.version, c.after)
			if err != nil || !slices.Equal(got, c.want) || st.untidy != c.untidy || st.partial != c.partial {
				t.Errorf("%q, %+v, %v", got, st, err)
			}
		})
	}
}

func TestParseListRefusesDisorder(t *testing.T) {
	for _, text := range []string{"2 :a\n2 :b\n", "2 :a\n1 :b\n", "0 :a\n", "4294967295 :a\n"} {
		if got, _, err := lines(text, 3, 0); !errors.Is(err, errCorrupt) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, _, err := lines("8 :a\n", 3, 8); !errors.Is(err, errCorrupt) {
		t.Errorf("an appended UID that was there before: %v", err)
	}
}

func TestNextUIDNeverComesFromAStaleHeader(t *testing.T) {
	for _, c := range []struct {
		l    listState
		want UID
	}{
		{listState{header: listHeader{next: 1}, last: 11}, 12},
		{listState{header: listHeader{next: 20}, last: 11}, 20},
		{listState{header: listHeader{next: 20}, last: 11, torn: 300}, 320}, // past all that zeros may hide
	} {
		if got := c.l.nextUID(); got != c.want {
			t.Errorf("%+v: %d, want %d", c.l, got, c.want)
		}
	}
}

// FuzzUIDList: any text is read or refused, never more; what was read reads the
// same again after it was written.
func FuzzUIDList(f *testing.F) {
	for _, s := range []string{
		"3 V1795453934 N8 G6ae4b403ee73046bd33e000083ecc375\n4 :1795453934.M61701P16083.vm,S=59,W=65\n7 W123 :1795453935.M1P2.vm\n",
		"1 1234 56\n1 name\n3 other\n", "3 V1 N1\n\x00\x00\n1 :a", "3 V1 N1\n1 x :a\n1 :b\n", "3 V1 N1 \n2 G :a :b\n", "3 V1 N1\n1  :a\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		head, rest, ok := strings.Cut(text, "\n")
		h, err := parseListHeader(head)
		if !ok || err != nil {
			return
		}
		var recs []listLine
		if _, err := parseList(rest, h.version, 0, func(l listLine) { recs = append(recs, l) }); err != nil {
			return
		}
		out := h.append(nil)
		for _, l := range recs {
			out = l.append(out)
		}
		head, rest, _ = strings.Cut(string(out), "\n")
		if h.guid != "" && h.version == 3 {
			if again, err := parseListHeader(head); err != nil || again != h {
				t.Fatalf("header %q reads as %+v, %v", head, again, err)
			}
		}
		i := 0
		st, err := parseList(rest, 3, 0, func(l listLine) {
			if i >= len(recs) || l != recs[i] {
				t.Fatalf("record %d became %+v", i, l)
			}
			i++
		})
		if err != nil || i != len(recs) || st.untidy {
			t.Fatalf("%q: %d of %d records, %+v, %v", rest, i, len(recs), st, err)
		}
	})
}
