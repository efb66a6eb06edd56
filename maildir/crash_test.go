package maildir

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The history of history_test.go again, but now single steps fail, or everything
// fails from some step on and the process is gone after that. What was
// acknowledged must be there, what was refused must not, and a MOVE may leave a
// message in both places but never in none.

// outcome is how often a subject is more in a folder than before.
type outcome []struct {
	folder, subject string
	delta           int
}

// attempt is an operation that may fail.
type attempt struct {
	run  func() error
	done outcome   // after success
	torn []outcome // what else may be after an error, beside nothing at all
}

var attempts = map[string]func(w *world, i int, name string) (attempt, bool){
	"deliver": func(w *world, i int, name string) (attempt, bool) {
		s := w.subject()
		return attempt{run: func() error {
			_, err := w.stores[i].Store(testOwner(), w.dir).Deliver(w.t.Context(), name, content(s), Delivery{})
			return err
		}, done: outcome{{name, s, 1}}}, true
	},
	"append": func(w *world, i int, name string) (attempt, bool) {
		s, m := w.subject(), w.mailbox(i, name)
		return attempt{run: func() error {
			_, err := m.Append(w.t.Context(), content(s), Delivery{Keywords: []string{fmt.Sprint("kw", w.rnd.IntN(6))}})
			return err
		}, done: outcome{{name, s, 1}}}, true
	},
	"copy": func(w *world, i int, name string) (attempt, bool) { return w.attemptTransfer(i, name, false) },
	"move": func(w *world, i int, name string) (attempt, bool) { return w.attemptTransfer(i, name, true) },
	"expunge": func(w *world, i int, name string) (attempt, bool) {
		m := w.mailbox(i, name)
		msg, ok := w.pick(m)
		if !ok {
			return attempt{}, false
		}
		gone := outcome{{name, w.subjectOf(m, msg.UID), -1}}
		return attempt{run: func() error {
			if _, _, err := m.StoreFlags(w.t.Context(), []UID{msg.UID}, AddFlags, Deleted, nil, StoreOptions{}); err != nil {
				return err
			}
			_, err := m.Expunge(w.t.Context(), []UID{msg.UID})
			return err
		}, done: gone, torn: []outcome{gone}}, true
	},
	"flags": func(w *world, i int, name string) (attempt, bool) {
		m := w.mailbox(i, name)
		msg, ok := w.pick(m)
		return attempt{run: func() error {
			_, _, err := m.StoreFlags(w.t.Context(), []UID{msg.UID}, FlagOp(w.rnd.IntN(3)), Seen, []string{fmt.Sprint("kw", w.rnd.IntN(6))}, StoreOptions{})
			return err
		}}, ok
	},
	"read": func(w *world, i int, name string) (attempt, bool) {
		s := w.subject()
		write(w.t, w.path(name), fmt.Sprintf("new/%d.f.h", w.next), "Subject: "+s+"\n\n")
		w.want[name][s]++
		m := w.mailbox(1-i, name) // opened before the fault
		return attempt{run: func() error { m.force.Store(true); return m.Sync(w.t.Context()) }}, true
	},
	"claim": func(w *world, i int, name string) (attempt, bool) {
		w.mailbox(i, name)
		return attempt{run: func() error { return w.watch[i][name].w.ClaimRecent(w.t.Context()) }}, true
	},
}

func (w *world) attemptTransfer(i int, name string, move bool) (attempt, bool) {
	to := historyFolders[w.rnd.IntN(len(historyFolders))]
	src, dst := w.mailbox(i, name), w.mailbox(i, to)
	msg, ok := w.pick(src)
	if !ok || move && src == dst {
		return attempt{}, false
	}
	s := w.subjectOf(src, msg.UID)
	copied := outcome{{to, s, 1}}
	if !move {
		return attempt{run: func() error {
			_, _, err := src.Copy(w.t.Context(), []UID{msg.UID}, dst)
			return err
		}, done: copied}, true
	}
	moved := outcome{{to, s, 1}, {name, s, -1}}
	return attempt{run: func() error {
		_, _, err := src.Move(w.t.Context(), []UID{msg.UID}, dst)
		return err
	}, done: moved, torn: []outcome{copied, moved}}, true
}

// after gives what there is when an outcome came true.
func (w *world) after(o outcome) map[string]map[string]int {
	all := map[string]map[string]int{}
	for folder, have := range w.want {
		all[folder] = maps.Clone(have)
	}
	for _, d := range o {
		all[d.folder][d.subject] += d.delta
	}
	for _, have := range all {
		maps.DeleteFunc(have, func(_ string, n int) bool { return n == 0 })
	}
	return all
}

// onDisk counts the subjects of all files, without the code under test.
func (w *world) onDisk() map[string]map[string]int {
	all := map[string]map[string]int{}
	for _, name := range historyFolders {
		all[name] = map[string]int{}
		for _, sub := range []string{"new", "cur"} {
			for _, file := range files(w.t, filepath.Join(w.path(name), sub)) {
				line, _, _ := strings.Cut(read(w.t, filepath.Join(w.path(name), sub), file), "\n")
				all[name][strings.TrimSpace(strings.TrimPrefix(line, "Subject: "))]++
			}
		}
	}
	return all
}

func sameCounts(a, b map[string]map[string]int) bool {
	return maps.EqualFunc(a, b, func(x, y map[string]int) bool { return maps.Equal(x, y) })
}

// settle finds out which of the outcomes an attempt had.
func (w *world) settle(a attempt, err error) {
	have := w.onDisk()
	if err == nil {
		if w.want = w.after(a.done); !sameCounts(have, w.want) {
			w.fail("acknowledged, but there is %v, want %v", have, w.want)
		}
		return
	}
	for _, o := range append(a.torn, nil) {
		if may := w.after(o); sameCounts(have, may) {
			w.want = may
			return
		}
	}
	w.fail("after %v there is %v, before there was %v", err, have, w.want)
}

func TestHistoryOfFaults(t *testing.T) {
	names := slices.Sorted(maps.Keys(attempts))
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			faultyHistory(t, seed, names)
		})
	}
}

func faultyHistory(t *testing.T, seed uint64, names []string) {
	var mu sync.Mutex // guards what follows: the folder's own goroutines look too
	var left int      // steps until the fault; negative after it
	armed, dead := false, false
	w := newWorld(t, seed, Options{PollEvery: 1 << 40, Fault: func(step, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if !armed {
			return nil
		}
		if left--; left == 0 || dead && left < 0 {
			return errors.New("fault at " + step)
		}
		return nil
	}})
	for n := range 100 {
		i, folder := w.rnd.IntN(2), historyFolders[w.rnd.IntN(len(historyFolders))]
		step := names[w.rnd.IntN(len(names))]
		a, ok := attempts[step](w, i, folder)
		if !ok {
			w.log = append(w.log, "nothing to do")
			continue
		}
		w.quiet()
		mu.Lock()
		left, dead, armed = 1+w.rnd.IntN(9), w.rnd.IntN(3) == 0, true
		mu.Unlock()
		err := a.run()
		w.quiet()
		w.log = append(w.log, fmt.Sprintf("%d: process %d, %s: %s, dead %v: %v", n, i, folder, step, dead, err))
		if dead {
			w.stop(i)
		}
		mu.Lock()
		armed = false
		mu.Unlock()
		if dead {
			w.start(i)
		}
		w.settle(a, err)
		for _, name := range historyFolders {
			w.check(w.rnd.IntN(2), name)
		}
	}
	for i := range w.stores {
		w.stop(i)
	}
}

// quiet waits until no background work of the processes is under way.
func (w *world) quiet() {
	for i := range w.stores {
		for _, m := range w.box[i] {
			for busy := true; busy; {
				m.disk <- struct{}{}
				m.mu.Lock()
				busy = m.assigning
				m.mu.Unlock()
				<-m.disk
			}
		}
	}
}
