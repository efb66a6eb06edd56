package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/message"
)

func TestInfoCacheIsBoundedInBytes(t *testing.T) {
	var c infoCache
	small := &message.Part{Type: "text", Subtype: "plain", Summary: &message.Summary{Subject: "x"}}
	big := &message.Part{Type: "text", Subtype: "plain", Summary: &message.Summary{References: strings.Repeat("x", maxInfoBytes/8)}}
	huge := &message.Part{Summary: &message.Summary{To: strings.Repeat("x", maxInfoBytes)}}
	c.put(infoKey{1, 1}, Info{Part: small})
	c.put(infoKey{1, 2}, Info{Part: huge})
	if _, ok := c.get(infoKey{1, 2}); ok {
		t.Error("a huge structure is kept")
	}
	for i := range 20 {
		c.get(infoKey{1, 1}) // in use
		c.put(infoKey{2, UID(i + 1)}, Info{Part: big})
	}
	if _, ok := c.get(infoKey{1, 1}); !ok || c.bytes > maxInfoBytes || len(c.at) != c.order.Len() {
		t.Errorf("small one kept %v; %d bytes, %d and %d entries", ok, c.bytes, len(c.at), c.order.Len())
	}
}

func TestSizeOfAMessageWhoseNameDoesNotTell(t *testing.T) {
	s, dir := testStore(t, Options{})
	write(t, dir, "cur/1.h", "Subject: a\n\nb\n")                            // must be read
	write(t, dir, "cur/2.h,W=99", "Subject: a\n\nb\n")                       // is believed
	write(t, dir, "cur/3.h,S=14", "Subject: a\r\n\r\nb\r\n")                 // stored with CRLF
	writeList(t, dir, "5", "1 :1.h\n", "2 :2.h,W=99\n", "3 W77 :3.h,S=14\n") // the list knows
	m := open(t, s, "INBOX")
	for uid, want := range map[UID]int64{1: 17, 2: 99, 3: 77} {
		if got, err := m.Size(t.Context(), uid); err != nil || got != want {
			t.Errorf("UID %d: %d, %v", uid, got, err)
		}
	}
	if _, err := m.Size(t.Context(), 4); !errors.Is(err, ErrExpunged) {
		t.Error(err)
	}
	if st, err := s.Status(t.Context(), "INBOX", true); err != nil || st.Size != 17+99+77 {
		t.Errorf("%+v, %v", st, err)
	}
	// What was found by reading is written down with the next rewrite of the list.
	os.Remove(filepath.Join(dir, listName))
	syncNow(t, m)
	if got := read(t, dir, listName); !strings.Contains(got, "\n1 W17 :1.h\n") || !strings.Contains(got, "\n3 W77 :3.h") {
		t.Errorf("list\n%s", got)
	}
}

func TestTimesPassesOverWhatIsGone(t *testing.T) {
	m, dir := filled(t, Options{NoInotify: true}, 3)
	os.Remove(filepath.Join(dir, "cur/2.h:2,"))
	os.Rename(filepath.Join(dir, "cur/3.h:2,"), filepath.Join(dir, "cur/3.h:2,S"))
	var got []string
	err := m.Times(t.Context(), []UID{3, 2, 1, 9}, func(uid UID, tm Times, size int64) bool {
		if tm.Internal.IsZero() || tm.Saved.IsZero() {
			t.Errorf("UID %d: %+v", uid, tm)
		}
		got = append(got, fmt.Sprintf("%d:%d", uid, size))
		return true
	})
	if err != nil || strings.Join(got, " ") != "3:12 1:12" {
		t.Errorf("%q, %v", got, err)
	}
	n := 0
	if err := m.Times(t.Context(), []UID{1, 3}, func(UID, Times, int64) bool { n++; return false }); err != nil || n != 1 {
		t.Errorf("called %d times, %v", n, err)
	}
}

func TestInfoOfAMessage(t *testing.T) {
	s, _ := testStore(t, Options{})
	deliver(t, s, "INBOX", "hello")
	m := open(t, s, "INBOX")
	for range 2 { // read, then from memory
		info, err := m.Info(t.Context(), 1)
		if err != nil || info.Part.Summary.Subject != "hello" || info.Size != 25 || info.Internal.IsZero() {
			t.Errorf("%+v, %v", info, err)
		}
	}
	if _, err := m.Info(t.Context(), 2); !errors.Is(err, ErrExpunged) {
		t.Error(err)
	}
}
