package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/status"
)

// twoFolders is an INBOX with n messages and an empty folder A.
func twoFolders(t *testing.T, o Options, n int) (in, out *Mailbox, dir string) {
	t.Helper()
	in, dir = filled(t, o, n)
	if err := in.store.Create(t.Context(), "A"); err != nil {
		t.Fatal(err)
	}
	return in, open(t, in.store, "A"), dir
}

func TestCopyIsALinkWithTheSameBase(t *testing.T) {
	in, out, dir := twoFolders(t, Options{}, 2)
	from, to, err := in.Copy(t.Context(), []UID{2, 1, 7}, out)
	if err != nil || !slices.Equal(from, []UID{2, 1}) || !slices.Equal(to, []UID{1, 2}) {
		t.Fatalf("%v, %v, %v", from, to, err)
	}
	wantState(t, out, "1 2.h", "2 1.h")
	var a, b unix.Stat_t
	if err := errors.Join(unix.Stat(filepath.Join(dir, "cur/1.h:2,"), &a), unix.Stat(filepath.Join(dir, ".A/cur/1.h:2,"), &b)); err != nil || a.Ino != b.Ino {
		t.Errorf("not one file: %d %d, %v", a.Ino, b.Ino, err)
	}
	// A second copy needs another base and keeps the identity.
	if _, to, err = in.Copy(t.Context(), []UID{1}, out); err != nil || !slices.Equal(to, []UID{3}) {
		t.Fatalf("%v, %v", to, err)
	}
	if id := out.EmailID(3); id != "1.h" || out.EmailID(2) != id {
		t.Errorf("EMAILID %q and %q", id, out.EmailID(2))
	}
	if list := read(t, dir, ".A/"+listName); !strings.Contains(list, "\n3 G1.h :") {
		t.Errorf("list\n%s", list)
	}
}

func TestCopyBesideAFileThatNobodyKnowsKeepsTheIdentity(t *testing.T) {
	in, out, dir := twoFolders(t, Options{NoInotify: true}, 1)
	var plant sync.Once
	in.store.all.opt.Fault = func(step, name string) error { // between the look at memory and the link
		if step == "link" {
			plant.Do(func() { write(t, dir, ".A/cur/1.h:2,", "Subject: other\n\n") })
		}
		return nil
	}
	if _, to, err := in.Copy(t.Context(), []UID{1}, out); err != nil || len(to) != 1 {
		t.Fatalf("%v, %v", to, err)
	}
	out.force.Store(true) // else that file is found two seconds later
	syncNow(t, out)
	if out.Len() != 2 || out.EmailID(1) != "1.h" || subject(t, out, 1) != "1" || subject(t, out, 2) != "other" {
		t.Errorf("%q, EMAILID %q", state(out), out.EmailID(1))
	}
}

func TestCopyOfNothing(t *testing.T) {
	in, out, _ := twoFolders(t, Options{}, 1)
	for _, uids := range [][]UID{nil, {}, {9}} {
		if from, to, err := in.Copy(t.Context(), uids, out); err != nil || len(from)+len(to) != 0 {
			t.Errorf("Copy(%v) = %v, %v, %v", uids, from, to, err)
		}
		if from, to, err := in.Move(t.Context(), uids, out); err != nil || len(from)+len(to) != 0 {
			t.Errorf("Move(%v) = %v, %v, %v", uids, from, to, err)
		}
	}
	if in.Len() != 1 || out.Len() != 0 {
		t.Errorf("%d and %d messages", in.Len(), out.Len())
	}
}

func TestKeywordsAreTranslatedAsFarAsThereIsRoom(t *testing.T) {
	in, out, dir := twoFolders(t, Options{}, 1)
	if _, _, err := in.StoreFlags(t.Context(), []UID{1}, AddFlags, Seen, []string{"a", "b", "c"}, StoreOptions{}); err != nil {
		t.Fatal(err)
	}
	var table keywordTable
	for i := range maxKeywords - 1 { // one letter is left, and "b" has one
		table[i] = fmt.Sprint("other", i)
	}
	table[4] = "B"
	write(t, dir, ".A/"+keywordsName, string(table.format()))
	syncNow(t, out)
	if _, _, err := in.Copy(t.Context(), []UID{1}, out); err != nil {
		t.Fatal(err)
	}
	if got := out.Messages()[0].Flags; got != Seen|Keyword(4)|Keyword(25) || out.Keywords()[25] != "a" {
		t.Errorf("flags %x, keywords %q", got, out.Keywords())
	}
}

func TestCopyHappensWholeOrNotAtAll(t *testing.T) {
	for _, step := range []string{"lock", "link", "write", "sync", "syncdir"} {
		for at := 1; at <= 3; at++ {
			n, on := 0, false
			in, out, dir := twoFolders(t, Options{NoInotify: true, Fault: func(s, name string) error {
				if on && s == step {
					if n++; n == at {
						return unix.ENOSPC
					}
				}
				return nil
			}}, 3)
			on = true
			_, to, err := in.Copy(t.Context(), []UID{1, 2, 3}, out)
			on = false
			if n < at {
				continue // fewer such steps
			}
			if err == nil || status.From(err).Code != 452 || len(to) > 0 {
				t.Errorf("%s %d: %v, %v", step, at, to, err)
			}
			if left := files(t, filepath.Join(dir, ".A/cur")); len(left) > 0 || out.Len() > 0 {
				t.Errorf("%s %d left %q", step, at, left)
			}
			if from, to, err := in.Move(t.Context(), []UID{1, 2, 3}, out); err != nil || len(from) != 3 || len(to) != 3 {
				t.Errorf("afterwards: %v, %v, %v", from, to, err)
			}
			if got := snapshotOf(t, dir, "A"); len(got) != 3 {
				t.Errorf("%s %d: another reader has %q", step, at, got)
			}
		}
	}
}

func TestMoveThatFailsAfterTheCopyLosesNothing(t *testing.T) {
	on := false
	in, out, _ := twoFolders(t, Options{Fault: func(step, _ string) error {
		if on && step == "remove" {
			return unix.EIO
		}
		return nil
	}}, 2)
	on = true
	if _, to, err := in.Move(t.Context(), []UID{1, 2}, out); err == nil || len(to) != 2 {
		t.Errorf("%v, %v", to, err)
	}
	if in.Len() != 2 || out.Len() != 2 {
		t.Errorf("%d and %d messages", in.Len(), out.Len())
	}
}

func TestMoveFollowsAForeignRename(t *testing.T) {
	in, out, dir := twoFolders(t, Options{NoInotify: true}, 2)
	os.Rename(filepath.Join(dir, "cur/1.h:2,"), filepath.Join(dir, "cur/1.h:2,S"))
	os.Remove(filepath.Join(dir, "cur/2.h:2,"))
	from, to, err := in.Move(t.Context(), []UID{1, 2}, out)
	if err != nil || !slices.Equal(from, []UID{1}) || len(to) != 1 {
		t.Fatalf("%v, %v, %v", from, to, err)
	}
	wantState(t, out, "1 1.h S")
	if in.Len() != 0 || len(files(t, filepath.Join(dir, "cur"))) != 0 {
		t.Errorf("left %q", state(in))
	}
}

func TestMoveTellsBothSides(t *testing.T) {
	in, out, _ := twoFolders(t, Options{}, 1)
	a, b := in.Watch(nil), out.Watch(nil)
	defer a.Close()
	defer b.Close()
	if _, _, err := in.Move(t.Context(), []UID{1}, out); err != nil {
		t.Fatal(err)
	}
	if c := await(t, a, Expunged); c.UID != 1 {
		t.Errorf("%+v", c)
	}
	if c := await(t, b, Arrived); c.UID != 1 {
		t.Errorf("%+v", c)
	}
}

func TestMovesInBothDirectionsDoNotBlockEachOther(t *testing.T) {
	in, out, _ := twoFolders(t, Options{NoInotify: true}, 20)
	var wg sync.WaitGroup
	done := make(chan bool)
	for i := range 4 {
		from, to := in, out
		if i%2 == 1 {
			from, to = out, in
		}
		wg.Go(func() {
			for range 20 {
				list := uidsOf(from.Messages())
				if _, _, err := from.Move(t.Context(), list[:min(3, len(list))], to); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		t.Fatal("they wait for each other")
	}
	seen := map[string]bool{}
	for _, m := range []*Mailbox{in, out} {
		for _, msg := range m.Messages() {
			seen[subject(t, m, msg.UID)] = true
		}
	}
	if len(seen) != 20 || in.Len()+out.Len() != 20 {
		t.Errorf("%d messages, %d and %d", len(seen), in.Len(), out.Len())
	}
}

func TestCopyBytesKeepsContentAndDate(t *testing.T) {
	in, out, dir := twoFolders(t, Options{}, 1)
	date := time.Unix(1_500_000_000, 0)
	if err := os.Chtimes(filepath.Join(dir, "cur/1.h:2,"), date, date); err != nil {
		t.Fatal(err)
	}
	err := in.do(t.Context(), func(src *folder) error {
		return in.store.inChild(src, ".A", func(f *folder) error {
			a := &arrival{}
			a.Name, a.name, a.in = "1.h", "1.h:2,S", inCur
			return f.copyBytes(src, &doomedFile{in: inCur, name: "1.h:2,"}, a)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	syncNow(t, out)
	info, err := out.Info(t.Context(), 1)
	if err != nil || !info.Internal.Equal(date) || subject(t, out, 1) != "1" || out.Messages()[0].Flags != Seen {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestCopyBetweenAccountsIsRefused(t *testing.T) {
	in, _, _ := twoFolders(t, Options{}, 1)
	other, _ := testStore(t, Options{})
	if _, _, err := in.Copy(t.Context(), []UID{1}, open(t, other, "INBOX")); !errors.Is(err, ErrOtherStore) {
		t.Error(err)
	}
}
