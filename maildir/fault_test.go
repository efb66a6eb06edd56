package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every durable step of every operation fails once; then all must be as before,
// or done, and a second process must agree. A crash at the step is the same but
// for what the error path tidies up, so each case also runs with a fault that
// stays: nothing at all works after it, as after a kill.

// snapshotOf reads a folder as a new process would.
func snapshotOf(t *testing.T, dir, folder string) []string {
	t.Helper()
	other := NewStores(Options{NoInotify: true})
	defer other.Close()
	m, err := other.Store(testOwner(), dir).Open(t.Context(), folder)
	if err != nil {
		t.Fatalf("after the fault: %v", err)
	}
	defer m.Close()
	var lines []string
	for _, msg := range m.Messages() {
		f, err := m.OpenMessage(t.Context(), msg.UID)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, _ := f.Read(b)
		f.Close()
		lines = append(lines, fmt.Sprintf("%d %s", msg.UID, strings.Fields(string(b[:n]))[1]))
	}
	return lines
}

func TestEveryFailedStepLeavesAWholeMailbox(t *testing.T) {
	boom := errors.New("boom")
	ops := map[string]func(t *testing.T, s *Store, m *Mailbox) error{
		"append": func(t *testing.T, s *Store, m *Mailbox) error {
			_, err := m.Append(t.Context(), content("new"), Delivery{Flags: Seen})
			return err
		},
		"append with a keyword": func(t *testing.T, s *Store, m *Mailbox) error {
			_, err := m.Append(t.Context(), content("new"), Delivery{Keywords: []string{"k"}})
			return err
		},
		"deliver": func(t *testing.T, s *Store, m *Mailbox) error {
			_, err := s.Deliver(t.Context(), "INBOX", content("new"), Delivery{})
			return err
		},
		"copy": func(t *testing.T, s *Store, m *Mailbox) error {
			_, _, err := m.Copy(t.Context(), []UID{1, 2}, m)
			return err
		},
		"expunge": func(t *testing.T, s *Store, m *Mailbox) error {
			_, err := m.Expunge(t.Context(), nil)
			return err
		},
		"sync": func(t *testing.T, s *Store, m *Mailbox) error {
			return m.Sync(t.Context())
		},
	}
	for name, op := range ops {
		for _, stays := range []bool{false, true} {
			for at := 1; ; at++ {
				n, failed := 0, ""
				armed := false
				o := Options{NoInotify: true, Fault: func(step, file string) error {
					if !armed {
						return nil
					}
					if n++; n == at || stays && n > at {
						failed = failed + " " + step + ":" + filepath.Base(file)
						return boom
					}
					return nil
				}}
				ok := t.Run(fmt.Sprintf("%s/stays=%v/%d", name, stays, at), func(t *testing.T) {
					m, dir := filled(t, o, 4)
					if _, _, err := m.StoreFlags(t.Context(), []UID{4}, AddFlags, Deleted, nil, StoreOptions{}); err != nil {
						t.Fatal(err)
					}
					if name == "sync" {
						write(t, dir, "new/9.h", "Subject: 9\n\n")
					}
					armed = true
					err := op(t, m.Store(), m)
					armed = false
					checkAfterFault(t, name, failed, dir, m, err)
				})
				if !ok || failed == "" {
					break
				}
			}
		}
	}
}

// checkAfterFault compares the folder with what the operation promised.
func checkAfterFault(t *testing.T, op, failed, dir string, m *Mailbox, err error) {
	before := []string{"1 1", "2 2", "3 3", "4 4"}
	got := snapshotOf(t, dir, "INBOX")
	old, rest := got, []string(nil)
	if len(got) > 4 {
		old, rest = got[:4], got[4:]
	}
	news := make([]string, len(rest))
	for i, line := range rest {
		_, news[i], _ = strings.Cut(line, " ")
	}
	slices.Sort(news)
	want := map[string][]string{"append": {"new"}, "append with a keyword": {"new"}, "deliver": {"new"}, "copy": {"1", "2"}, "sync": {"9"}, "expunge": nil}[op]
	if op == "expunge" {
		if err == nil && len(got) != 3 || err != nil && len(got) < 3 || !slices.Equal(got[:3], before[:3]) {
			t.Errorf("failed:%s: %q, %v", failed, got, err)
		}
		return
	}
	if !slices.Equal(old, before) {
		t.Errorf("failed:%s: old messages became %q", failed, old)
	}
	if op == "sync" { // whatever fails, the file is there and has one UID
		if !slices.Equal(news, want) {
			t.Errorf("failed:%s: %q", failed, news)
		}
	} else if err == nil && !slices.Equal(news, want) || err != nil && len(news) != 0 {
		t.Errorf("failed:%s: err %v, but new messages %q", failed, err, news)
	}
	syncNow(t, m)
	if uids := m.Messages(); len(uids) != len(got) || slices.ContainsFunc(uids, func(msg Message) bool {
		return !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, fmt.Sprint(msg.UID, " ")) })
	}) {
		t.Errorf("failed:%s: memory has %v, a new process %q", failed, uidsOf(uids), got)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "tmp")); err == nil && len(left) > 2 {
		t.Errorf("left in tmp: %v", left)
	}
}

// After a kill at any step nothing works any more: what was acknowledged is there.
func TestKilledProcessLosesNothing(t *testing.T) {
	for at := 1; at < 40; at++ {
		n := 0
		armed := false
		o := Options{NoInotify: true, Fault: func(step, file string) error {
			if armed {
				if n++; n >= at {
					return errors.New("the process is dead")
				}
			}
			return nil
		}}
		m, dir := filled(t, o, 2)
		armed = true
		acked := map[UID]bool{}
		for range 4 {
			if uid, err := m.Append(t.Context(), content("x"), Delivery{}); err == nil {
				acked[uid] = true
			}
		}
		other := NewStores(Options{NoInotify: true})
		again, err := other.Store(testOwner(), dir).Open(t.Context(), "INBOX")
		if err != nil {
			t.Fatal(at, err)
		}
		have := map[UID]bool{}
		for _, msg := range again.Messages() {
			have[msg.UID] = true
		}
		for uid := range acked {
			if !have[uid] {
				t.Errorf("step %d: acknowledged UID %d is lost: %v", at, uid, have)
			}
		}
		again.Close()
		other.Close()
	}
}
