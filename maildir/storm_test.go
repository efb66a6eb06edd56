package maildir

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// subject reads what a message was delivered as.
func subject(t *testing.T, m *Mailbox, uid UID) string {
	t.Helper()
	f, err := m.OpenMessage(t.Context(), uid)
	if err != nil {
		t.Errorf("UID %d: %v", uid, err)
		return ""
	}
	defer f.Close()
	line, _ := bufio.NewReader(f).ReadString('\n')
	return strings.TrimSpace(strings.TrimPrefix(line, "Subject: "))
}

// mvStorm renames files as mutt does, new to cur and flags on and off, as fast as
// it can.
func mvStorm(ctx context.Context, dir string, seed uint64) (renames int) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for ctx.Err() == nil {
		sub := []string{"new", "cur"}[rnd.IntN(2)]
		list, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			return renames
		}
		rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for _, e := range list[:min(len(list), 20)] {
			_, flags, _, _ := splitName([]byte(e.Name()))
			name := plainName(baseOf(e.Name()), flags^Flagged)
			if os.Rename(filepath.Join(dir, sub, e.Name()), filepath.Join(dir, "cur", name)) == nil {
				renames++
			}
		}
	}
	return renames
}

// TestStorm: deliveries, appends, flag changes, expunges, copies and readings by
// several sessions while two other programs rename files. No message may be lost,
// come twice, or have two UIDs.
func TestStorm(t *testing.T) {
	for name, step := range map[string]int{"whole readings": 0, "readings in small steps": 300} {
		t.Run(name, func(t *testing.T) { storm(t, Options{readdirStep: step}) })
	}
}

func storm(t *testing.T, o Options) {
	const messages, sessions = 150, 3
	s, dir := testStore(t, o)
	m := open(t, s, "INBOX")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()

	var mu sync.Mutex
	expunged := map[UID]bool{} // by us
	var readers, storms, workers sync.WaitGroup

	seen := make([]map[UID]bool, sessions) // UIDs that each session believes in
	for i := range sessions {
		seen[i] = map[UID]bool{}
		w := m.Watch(nil)
		for _, msg := range w.Snapshot() {
			seen[i][msg.UID] = true
		}
		readers.Go(func() {
			defer w.Close()
			last := UID(0)
			collect := func() {
				for _, c := range w.Changes() {
					switch c.Kind {
					case Arrived:
						if c.UID <= last {
							t.Errorf("session %d: UID %d arrived after %d", i, c.UID, last)
						}
						last = c.UID
						seen[i][c.UID] = true
					case Expunged:
						if !seen[i][c.UID] {
							t.Errorf("session %d: UID %d expunged that it never had", i, c.UID)
						}
						delete(seen[i], c.UID)
						mu.Lock()
						if !expunged[c.UID] {
							t.Errorf("session %d: UID %d expunged by nobody", i, c.UID)
						}
						mu.Unlock()
					}
				}
			}
			for ctx.Err() == nil {
				select {
				case <-w.C():
				case <-time.After(5 * time.Millisecond):
				case <-ctx.Done():
				}
				collect()
				if err := m.Sync(t.Context()); err != nil {
					t.Error(err)
				}
			}
			collect()
		})
	}
	stormCtx, calm := context.WithCancel(ctx)
	for i := range 2 {
		storms.Go(func() {
			if n := mvStorm(stormCtx, dir, uint64(i)); n == 0 {
				t.Error("no file was renamed")
			}
		})
	}
	for i := range 3 {
		workers.Go(func() {
			for n := range messages / 3 {
				name := fmt.Sprintf("m%d", i*messages/3+n)
				var err error
				if n%5 == 4 {
					_, err = m.Append(t.Context(), content(name), Delivery{Flags: Seen})
				} else {
					_, err = s.Deliver(t.Context(), "INBOX", content(name), Delivery{})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Go(func() {
		rnd := rand.New(rand.NewPCG(7, 7))
		for range 60 {
			time.Sleep(2 * time.Millisecond)
			list := m.Messages()
			if len(list) < 10 {
				continue
			}
			uids := []UID{list[rnd.IntN(len(list))].UID, list[rnd.IntN(len(list))].UID}
			if _, _, err := m.StoreFlags(t.Context(), uids, AddFlags, Answered, nil, StoreOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
	workers.Wait()
	// Some are removed in the storm, by \Deleted on chosen messages.
	all := m.Messages()
	doomed := map[string]bool{}
	for _, msg := range all[:10] {
		doomed[subject(t, m, msg.UID)] = true
		mu.Lock()
		expunged[msg.UID] = true
		mu.Unlock()
		if _, _, err := m.StoreFlags(t.Context(), []UID{msg.UID}, AddFlags, Deleted, nil, StoreOptions{}); err != nil {
			t.Error(err)
		}
	}
	if got, err := m.Expunge(t.Context(), nil); err != nil || len(got) != 10 {
		t.Errorf("expunged %v, %v", got, err)
	}
	calm()
	storms.Wait()
	time.Sleep(50 * time.Millisecond)
	syncNow(t, m)
	stop()
	readers.Wait()
	syncNow(t, m)

	final := uidsOf(m.Messages())
	for i := range sessions {
		var have []UID
		for uid := range seen[i] {
			have = append(have, uid)
		}
		slices.Sort(have)
		if !slices.Equal(have, final) {
			t.Errorf("session %d believes in %d messages, there are %d", i, len(have), len(final))
		}
	}
	got := map[string]UID{}
	for _, uid := range final {
		name := subject(t, m, uid)
		if old, twice := got[name]; twice {
			t.Errorf("%q has the UIDs %d and %d", name, old, uid)
		}
		got[name] = uid
	}
	for i := range messages {
		name := fmt.Sprintf("m%d", i)
		if _, ok := got[name]; ok == doomed[name] {
			t.Errorf("%q: there %v, expunged %v", name, ok, doomed[name])
		}
	}
	// Nobody was ever given a UID twice: each record of the list has its own base.
	bases := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(read(t, dir, listName)), "\n")[1:] {
		_, base, _ := strings.Cut(line, " :")
		if bases[base] {
			t.Errorf("%s has two UIDs", base)
		}
		bases[base] = true
	}
}

// Two processes (two Stores) work on one folder; they see each other only on
// disk.
func TestTwoProcessesShareAFolder(t *testing.T) {
	const each = 40
	s1, dir := testStore(t, Options{})
	other := NewStores(Options{})
	defer other.Close()
	s2 := other.Store(s1.owner, dir)
	a, b := open(t, s1, "INBOX"), open(t, s2, "INBOX")
	wa, wb := a.Watch(nil), b.Watch(nil)
	defer wa.Close()
	defer wb.Close()
	var wg sync.WaitGroup
	uids := make(chan string, 4*each)
	for i, m := range []*Mailbox{a, b} {
		wg.Go(func() {
			for n := range each {
				name := fmt.Sprintf("append-%d-%d", i, n)
				uid, err := m.Append(t.Context(), content(name), Delivery{})
				if err != nil {
					t.Error(err)
				}
				uids <- fmt.Sprintf("%d %s", uid, name)
			}
		})
		wg.Go(func() {
			for n := range each {
				if _, err := m.store.Deliver(t.Context(), "INBOX", content(fmt.Sprintf("deliver-%d-%d", i, n)), Delivery{}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range each {
				for _, msg := range m.Messages() {
					if msg.UID%7 == 0 && msg.Flags&Seen == 0 {
						m.StoreFlags(t.Context(), []UID{msg.UID}, AddFlags, Seen, nil, StoreOptions{})
					}
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
	close(uids)
	time.Sleep(50 * time.Millisecond)
	syncNow(t, a)
	syncNow(t, b)
	syncNow(t, a)
	if x, y := state(a), state(b); !slices.Equal(x, y) || len(x) != 4*each {
		t.Errorf("%d messages here, %d there", len(x), len(y))
	}
	for line := range uids {
		uidText, name, _ := strings.Cut(line, " ")
		var uid UID
		fmt.Sscan(uidText, &uid)
		if got := subject(t, b, uid); got != name {
			t.Errorf("UID %d is %q here and %q there", uid, name, got)
		}
	}
}
