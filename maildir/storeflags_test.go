package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// filled is an INBOX of n messages in cur/, base 1.h and so on.
func filled(t *testing.T, o Options, n int) (*Mailbox, string) {
	t.Helper()
	s, dir := testStore(t, o)
	var recs []string
	for i := range n {
		write(t, dir, fmt.Sprintf("cur/%d.h:2,", i+1), fmt.Sprintf("Subject: %d\n\n", i+1))
		recs = append(recs, fmt.Sprintf("%d :%d.h\n", i+1, i+1))
	}
	writeList(t, dir, fmt.Sprint(n+1), recs...)
	return open(t, s, "INBOX"), dir
}

func TestFlagOps(t *testing.T) {
	for _, c := range []struct {
		op   FlagOp
		have string
		give Flags
		want string
	}{
		{AddFlags, "FS", Deleted, "FST"},
		{AddFlags, "FS", Seen, "FS"},
		{RemoveFlags, "FST", Seen | Draft, "FT"},
		{SetFlags, "FST", Answered, "R"},
		{SetFlags, "PS", Answered, "PR"}, // IMAP has no word for P, so it does not mean to remove it
		{RemoveFlags, "PS", Passed, "S"},
		{SetFlags, "FSX", 0, "X"}, // nor for letters that nobody knows
		{SetFlags, "Sab", Keyword(1) | Flagged, "Fb"},
	} {
		s, dir := testStore(t, Options{})
		write(t, dir, "cur/1.h:2,"+c.have, "x")
		m := open(t, s, "INBOX")
		before := m.Messages()[0]
		stored, _, err := m.StoreFlags(t.Context(), []UID{1}, c.op, c.give, nil, StoreOptions{})
		if err != nil || len(stored) != 1 {
			t.Fatal(stored, err)
		}
		if got := onlyFile(t, filepath.Join(dir, "cur")); got != "1.h:2,"+c.want {
			t.Errorf("%s %d %x: %s", c.have, c.op, c.give, got)
		}
		if changed := stored[0].ModSeq != before.ModSeq; changed != (stored[0].Flags != before.Flags) {
			t.Errorf("%s %d %x: modseq changed %v", c.have, c.op, c.give, changed)
		}
	}
}

func TestStoreFlagsOnAMessageInNewMovesIt(t *testing.T) {
	s, dir := testStore(t, Options{})
	write(t, dir, "new/1.h:2,F", "x") // Dovecot leaves such names
	m := open(t, s, "INBOX")
	if m.Messages()[0].Flags != Flagged {
		t.Errorf("flags %x", m.Messages()[0].Flags)
	}
	if _, _, err := m.StoreFlags(t.Context(), []UID{1}, AddFlags, Seen, nil, StoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := onlyFile(t, filepath.Join(dir, "cur")); got != "1.h:2,FS" {
		t.Error(got)
	}
}

func TestStoreFlagsFollowsForeignRenames(t *testing.T) {
	m, dir := filled(t, Options{}, 3)
	os.Rename(filepath.Join(dir, "cur/1.h:2,"), filepath.Join(dir, "cur/1.h:2,S"))
	os.Rename(filepath.Join(dir, "cur/2.h:2,"), filepath.Join(dir, "new/2.h"))
	os.Remove(filepath.Join(dir, "cur/3.h:2,"))
	stored, _, err := m.StoreFlags(t.Context(), []UID{1, 2, 3, 99}, AddFlags, Flagged, nil, StoreOptions{})
	if err != nil || len(stored) != 2 {
		t.Fatalf("%+v, %v", stored, err)
	}
	wantState(t, m, "1 1.h FS", "2 2.h F")
	if got := files(t, filepath.Join(dir, "cur")); !slices.Equal(got, []string{"1.h:2,FS", "2.h:2,F"}) {
		t.Errorf("%q", got)
	}
}

func TestStoreFlagsNeverOverwritesAFile(t *testing.T) {
	m, dir := filled(t, Options{}, 1)
	write(t, dir, "cur/1.h:2,S", "another")
	if _, _, err := m.StoreFlags(t.Context(), []UID{1}, AddFlags, Seen, nil, StoreOptions{}); err != nil {
		t.Fatal(err)
	}
	syncNow(t, m)
	if got := files(t, filepath.Join(dir, "cur")); len(got) != 2 || m.Len() != 2 {
		t.Errorf("%q, %q", got, state(m))
	}
}

func TestUnchangedSinceLeavesChangedMessagesAlone(t *testing.T) {
	m, _ := filled(t, Options{}, 3)
	since := m.HighestModSeq()
	if _, _, err := m.StoreFlags(t.Context(), []UID{2}, AddFlags, Seen, nil, StoreOptions{}); err != nil {
		t.Fatal(err)
	}
	stored, modified, err := m.StoreFlags(t.Context(), []UID{1, 2, 3}, AddFlags, Deleted, nil, StoreOptions{UnchangedSince: &since})
	if err != nil || !slices.Equal(modified, []UID{2}) || !slices.Equal(uidsOf(stored), []UID{1, 3}) {
		t.Errorf("stored %+v, modified %v, %v", stored, modified, err)
	}
	wantState(t, m, "1 1.h T", "2 2.h S", "3 3.h T")
	if stored[0].ModSeq <= since || m.HighestModSeq() < stored[1].ModSeq {
		t.Errorf("modseqs %+v, highest %d", stored, m.HighestModSeq())
	}
	zero := ModSeq(0)
	if _, modified, _ := m.StoreFlags(t.Context(), []UID{1}, AddFlags, Seen, nil, StoreOptions{UnchangedSince: &zero}); !slices.Equal(modified, []UID{1}) {
		t.Errorf("UNCHANGEDSINCE 0: modified %v", modified)
	}
}

func TestStoreFlagsReportsWhatWasDoneBeforeAnError(t *testing.T) {
	n := 0
	m, _ := filled(t, Options{Fault: func(step, _ string) error {
		if step == "rename" {
			if n++; n == 3 {
				return errors.New("boom")
			}
		}
		return nil
	}}, 4)
	n = 0
	stored, _, err := m.StoreFlags(t.Context(), []UID{1, 2, 3, 4}, AddFlags, Seen, nil, StoreOptions{})
	if err == nil {
		t.Error("no error")
	}
	for i, msg := range stored {
		if (msg.Flags&Seen != 0) != (i < 2) {
			t.Errorf("%+v", msg)
		}
	}
	wantState(t, m, "1 1.h S", "2 2.h S", "3 3.h", "4 4.h")
}

func TestModSeqsRiseStrictly(t *testing.T) {
	m, _ := filled(t, Options{}, 2)
	last := m.HighestModSeq()
	for i := range 50 {
		stored, _, err := m.StoreFlags(t.Context(), []UID{UID(1 + i%2)}, FlagOp(1+i/2%2), Seen, nil, StoreOptions{})
		if err != nil || stored[0].ModSeq <= last {
			t.Fatalf("%d: %+v after %d, %v", i, stored, last, err)
		}
		last = stored[0].ModSeq
	}
}

func TestExpungeRemovesOnlyDeleted(t *testing.T) {
	m, dir := filled(t, Options{}, 5)
	w := m.Watch(nil)
	defer w.Close()
	if _, _, err := m.StoreFlags(t.Context(), []UID{1, 3, 5}, AddFlags, Deleted, nil, StoreOptions{By: w}); err != nil {
		t.Fatal(err)
	}
	since := m.HighestModSeq()
	got, err := m.Expunge(t.Context(), []UID{2, 3, 4, 77})
	if err != nil || !slices.Equal(got, []UID{3}) {
		t.Errorf("UID EXPUNGE: %v, %v", got, err)
	}
	// Another program takes \Deleted away, and removes a message.
	os.Rename(filepath.Join(dir, "cur/1.h:2,T"), filepath.Join(dir, "cur/1.h:2,"))
	got, err = m.Expunge(t.Context(), nil)
	if err != nil || !slices.Equal(got, []UID{5}) {
		t.Errorf("EXPUNGE: %v, %v", got, err)
	}
	wantState(t, m, "1 1.h", "2 2.h", "4 4.h")
	if uids, ok := m.ExpungedSince(since); !ok || !slices.Equal(uids, []UID{3, 5}) {
		t.Errorf("vanished %v, %v", uids, ok)
	}
	if _, ok := m.ExpungedSince(1); ok {
		t.Error("claims to know what happened before the folder was opened")
	}
	if _, err := m.OpenMessage(t.Context(), 3); !errors.Is(err, ErrExpunged) {
		t.Error(err)
	}
}

func TestExpungeLogForgetsTheOldest(t *testing.T) {
	var l expungeLog
	for i := range maxExpunged + 10 {
		l.add(UID(i+1), ModSeq(i+1))
	}
	if _, ok := l.since(0); ok {
		t.Error("claims to know all")
	}
	if uids, ok := l.since(maxExpunged + 8); !ok || !slices.Equal(uids, []UID{maxExpunged + 9, maxExpunged + 10}) {
		t.Errorf("%v, %v", uids, ok)
	}
	if uids, ok := l.since(l.from); !ok || UID(len(uids)) != maxExpunged+10-UID(l.from) {
		t.Errorf("%d since %d, %v", len(uids), l.from, ok)
	}
}

func TestTombstonesAreCompacted(t *testing.T) {
	m, _ := filled(t, Options{}, 200)
	var odd []UID
	for i := range 100 {
		odd = append(odd, UID(2*i+1))
	}
	if _, _, err := m.StoreFlags(t.Context(), odd, AddFlags, Deleted, nil, StoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Expunge(t.Context(), nil); err != nil || !slices.Equal(got, odd) {
		t.Fatal(got, err)
	}
	if len(m.recs) != 100 || m.dead != 0 {
		t.Errorf("%d records, %d dead", len(m.recs), m.dead)
	}
	for i := range 100 {
		if msgs := m.Lookup([]UID{UID(2*i + 2)}, nil); len(msgs) != 1 {
			t.Fatalf("UID %d is lost", 2*i+2)
		}
	}
}
