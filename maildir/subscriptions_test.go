package maildir

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSubscriptionsKeepVersionOrderAndForeignLines(t *testing.T) {
	for _, c := range []struct {
		name, sep, before, after string
		names                    []string
	}{
		{"new file is version 2", ".", "", "V\t2\n\nF&APwA3w-\t&ANw-nt&-er\n", []string{"Füß.Ünt&er"}},
		{"version 2", "/", "V\t2\n\nINBOX\nA\tB\nweird\t\tx\n", "V\t2\n\nINBOX\nA\tB\nweird\t\tx\nF&APwA3w-\t&ANw-nt&-er\n", []string{"INBOX", "A/B", "Füß/Ünt&er"}},
		{"version 1", "/", "INBOX\nA.B\nOld.\n", "INBOX\nA.B\nOld.\nF&APwA3w-.&ANw-nt&-er\n", []string{"INBOX", "A/B", "Old", "Füß/Ünt&er"}},
		{"twice is once", ".", "V\t2\n\nA\nA\n", "V\t2\n\nA\nA\nF&APwA3w-\t&ANw-nt&-er\n", []string{"A", "Füß.Ünt&er"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, dir := testStore(t, Options{Separator: c.sep[0]})
			if c.before != "" {
				write(t, dir, subscriptionsName, c.before)
			}
			for range 2 { // the second time changes nothing
				if err := s.Subscribe(t.Context(), strings.Join([]string{"Füß", "Ünt&er"}, c.sep)); err != nil {
					t.Fatal(err)
				}
			}
			if got, _ := os.ReadFile(filepath.Join(dir, subscriptionsName)); string(got) != c.after {
				t.Errorf("file %q, want %q", got, c.after)
			}
			if names, err := s.Subscriptions(t.Context()); err != nil || !slices.Equal(names, c.names) {
				t.Errorf("names %q, %v", names, err)
			}
			if err := s.Unsubscribe(t.Context(), strings.Join([]string{"Füß", "Ünt&er"}, c.sep)); err != nil {
				t.Fatal(err)
			}
			want := c.before
			if want == "" {
				want = subscriptionsV2
			}
			if got, _ := os.ReadFile(filepath.Join(dir, subscriptionsName)); string(got) != want {
				t.Errorf("after unsubscribing %q, want %q", got, want)
			}
			if _, err := os.Stat(filepath.Join(dir, subscriptionsLock)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("lock left: %v", err)
			}
		})
	}
}

func TestUnsubscribeUnknownIsNotFound(t *testing.T) {
	s, _ := testStore(t, Options{})
	if err := s.Unsubscribe(t.Context(), "nothing"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestSubscriptionOutlivesItsFolder(t *testing.T) {
	s, _ := testStore(t, Options{})
	if err := errors.Join(s.Create(t.Context(), "A"), s.Subscribe(t.Context(), "A"), s.Delete(t.Context(), "A")); err != nil {
		t.Fatal(err)
	}
	if names, err := s.Subscriptions(t.Context()); err != nil || !slices.Equal(names, []string{"A"}) {
		t.Errorf("%q, %v", names, err)
	}
}

func TestSubscriptionsAreWholeAfterAFailedStep(t *testing.T) {
	for _, step := range []string{"write", "sync", "rename"} {
		boom := errors.New("boom")
		failing := false
		s, dir := testStore(t, Options{Fault: func(at, name string) error {
			if failing && at == step && name == subscriptionsName {
				return boom
			}
			return nil
		}})
		if err := s.Subscribe(t.Context(), "A"); err != nil {
			t.Fatal(err)
		}
		failing = true
		if err := s.Subscribe(t.Context(), "B"); !errors.Is(err, boom) {
			t.Errorf("%s: %v", step, err)
		}
		failing = false
		if got, _ := os.ReadFile(filepath.Join(dir, subscriptionsName)); string(got) != "V\t2\n\nA\n" {
			t.Errorf("%s: %q", step, got)
		}
		if err := s.Subscribe(t.Context(), "B"); err != nil {
			t.Errorf("after a failed %s: %v", step, err)
		}
	}
}

// FuzzSubscriptions: what was read and written reads the same, and no line leads
// out of the Maildir.
func FuzzSubscriptions(f *testing.F) {
	for _, s := range []string{"V\t2\n\nINBOX\nA\tB\n", "INBOX\nA.B.\n", "V\t2\n\n\x01t\x010\x01\n", "V\t2\n\n..\t/etc\n", "..\n/x\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l := parseSubscriptions(text)
		again := parseSubscriptions(string(l.format()))
		if !slices.Equal(l.lines, again.lines) {
			t.Fatalf("%q became %q", l.lines, again.lines)
		}
		for _, line := range l.lines {
			dir, ok := l.dir(line)
			if !ok || dir == "" {
				continue
			}
			if strings.ContainsAny(dir, "/\x00") || strings.Contains(dir, "..") {
				t.Fatalf("line %q leads to %q", line, dir)
			}
			if back, ok := l.dir(l.line(dir)); !ok || back != dir {
				t.Fatalf("%q became %q", dir, back)
			}
		}
	})
}
