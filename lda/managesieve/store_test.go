package managesieve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"svc.plus/mailsrvd/lda/sieve"
)

// put uploads a script and makes it the active one.
func (c *client) put(name, text string) {
	c.t.Helper()
	for _, command := range []string{`PUTSCRIPT "` + name + `" ` + literal(text), `SETACTIVE "` + name + `"`} {
		if got := c.ask(command); !strings.HasPrefix(got, "OK") {
			c.t.Fatalf("%s: %s", command, got)
		}
	}
}

// TestScriptsLieWherePigeonholeKeepsThem, with its names and its relative link.
func TestScriptsLieWherePigeonholeKeepsThem(t *testing.T) {
	h := newHarness(t, nil)
	c := h.login("alice")
	c.put("main", "keep;")
	c.put("other", "stop;")
	want := []string{".dovecot.sieve -> sieve/other.sieve", "sieve", "sieve/main.sieve: keep;", "sieve/other.sieve: stop;"}
	if got := files(t, h.alice); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for path, mode := range map[string]os.FileMode{"sieve": os.ModeDir | 0o700, "sieve/main.sieve": 0o600} {
		fi, err := os.Stat(filepath.Join(h.alice.Owner.Home, path))
		if err != nil {
			t.Fatal(err)
		}
		if st := fi.Sys().(*syscall.Stat_t); fi.Mode() != mode || int(st.Uid) != h.alice.Owner.UID || int(st.Gid) != h.alice.Owner.GID {
			t.Errorf("%s is %v of %d:%d", path, fi.Mode(), st.Uid, st.Gid)
		}
	}
	if got := c.ask(`RENAMESCRIPT "other" "new"`); !strings.HasPrefix(got, "OK") {
		t.Fatal(got)
	}
	c.ask(`SETACTIVE ""`)
	c.ask(`DELETESCRIPT "main"`)
	if got := files(t, h.alice); !slices.Equal(got, []string{"sieve", "sieve/new.sieve: stop;"}) {
		t.Errorf("%q", got)
	}
}

// TestActiveFileOfItsOwnIsKept: what a user wrote as ~/.dovecot.sieve himself is
// never lost, however often he does so.
func TestActiveFileOfItsOwnIsKept(t *testing.T) {
	h := newHarness(t, nil)
	writeAs(t, h.alice, ".dovecot.sieve", "# mine\nkeep;\n")
	c := h.login("alice")
	if got := c.ask("LISTSCRIPTS"); got != `OK "Listscripts completed."` {
		t.Error(got)
	}
	c.put("a", "keep;")
	rename := func(text string) {
		if err := os.Remove(filepath.Join(h.alice.Owner.Home, ".dovecot.sieve")); err != nil {
			t.Fatal(err)
		}
		writeAs(t, h.alice, ".dovecot.sieve", text)
	}
	rename("# another\n")
	c.ask(`SETACTIVE "a"`)
	rename("# mine\nkeep;\n") // this one is kept already
	if got := c.ask(`SETACTIVE ""`); !strings.HasPrefix(got, "OK") {
		t.Error(got)
	}
	want := []string{"sieve", "sieve/a.sieve: keep;", "sieve/dovecot.orig-2.sieve: # another\n", "sieve/dovecot.orig.sieve: # mine\nkeep;\n"}
	if got := files(t, h.alice); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// faulty is a store of our own whose steps fail as told.
func faulty(t *testing.T, fault func(step, name string) error) (*store, *harness) {
	t.Helper()
	h := newHarness(t, nil)
	return &store{owner: h.alice.Owner, turn: make(chan struct{}, 1), most: 100, log: h.srv.log, fault: fault}, h
}

// TestFailedStepsLeaveTheOldState: at every step of every change the disk may fail;
// the script that was active is whole, and still what deliveries run.
func TestFailedStepsLeaveTheOldState(t *testing.T) {
	boom := errors.New("boom")
	for _, step := range []string{"create", "write", "sync", "rename", "syncdir"} {
		for change, do := range map[string]func(st *store, h *harness) error{
			"put": func(st *store, h *harness) error {
				_, err := st.put(t.Context(), "a", []byte("stop;"), h.srv.language())
				return err
			},
			"activate": func(st *store, h *harness) error {
				_, err := st.activate(t.Context(), "b", h.srv.language())
				return err
			},
			"rename": func(st *store, _ *harness) error { return st.rename(t.Context(), "a", "c") },
		} {
			failing := false
			st, h := faulty(t, func(s, _ string) error {
				if failing && s == step {
					return boom
				}
				return nil
			})
			for _, name := range []string{"a", "b"} {
				if _, err := st.put(t.Context(), name, []byte("keep;"), h.srv.language()); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := st.activate(t.Context(), "a", h.srv.language()); err != nil {
				t.Fatal(err)
			}
			failing = true
			err := do(st, h)
			failing = false
			if err == nil && (change == "put" || step == "rename" || step == "syncdir" || step == "create") {
				t.Errorf("%s: no error at %s", change, step)
			}
			b, readErr := os.ReadFile(filepath.Join(h.alice.Owner.Home, ".dovecot.sieve"))
			whole := string(b) == "keep;" || change == "put" && step == "syncdir" && string(b) == "stop;"
			if readErr != nil || !whole {
				t.Errorf("%s failed at %s: the active script is %q, %v", change, step, b, readErr)
			}
			// And the next attempt works.
			if err := do(st, h); err != nil && err != errTaken && err != errNoScript {
				t.Errorf("%s after a failure at %s: %v", change, step, err)
			}
			for _, f := range files(t, h.alice) {
				if strings.Contains(f, ".tmp") {
					t.Errorf("%s failed at %s: left %s", change, step, f)
				}
			}
		}
	}
}

// TestSessionsOfAUserTakeTurns: none deletes what another is just activating.
func TestSessionsOfAUserTakeTurns(t *testing.T) {
	h := newHarness(t, nil)
	c := h.login("alice")
	for i := range 3 {
		c.put(fmt.Sprint(i), "keep;")
	}
	var wg sync.WaitGroup
	for i := range 3 {
		session := h.login("alice")
		wg.Go(func() {
			for n := range 40 {
				name := fmt.Sprint((i + n) % 3)
				session.send(`SETACTIVE "` + name + "\"\r\nDELETESCRIPT \"" + name + "\"\r\nPUTSCRIPT \"" + name + "\" \"keep;\"\r\n")
				for range 3 {
					if line, err := session.line(); err != nil {
						t.Errorf("%q, %v", line, err)
						return
					}
				}
				if _, err := os.Stat(filepath.Join(h.alice.Owner.Home, ".dovecot.sieve")); err != nil {
					t.Errorf("the active script: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// TestSharedScriptsAreIncluded: those of the administrator, by :global.
func TestSharedScriptsAreIncluded(t *testing.T) {
	h := newHarness(t, func(o *Options) {
		o.Language = func() sieve.Options {
			return sieve.Options{Include: func(_ context.Context, from sieve.Location, name string) ([]byte, error) {
				if from != sieve.Global || name != "ours" {
					return nil, fs.ErrNotExist
				}
				return []byte("keep;"), nil
			}}
		}
	})
	c := h.login("alice")
	c.put("a", `require "include"; include :global "ours";`)
	c.ask(`PUTSCRIPT "b" ` + literal(`require "include"; include :global "theirs";`))
	if got := c.ask(`SETACTIVE "b"`); !strings.HasPrefix(got, `NO "b:1:`) {
		t.Error(got)
	}
}
