package maildir

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

func change(entry, value string) AnnotationChange { return AnnotationChange{entry, &value} }

func metadataStore(t *testing.T, o Options) (*Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "Maildir")
	o.Separator = '/'
	stores := NewStores(o)
	t.Cleanup(func() { stores.Close() })
	s := stores.Store(testOwner(), dir)
	if err := errors.Join(s.Prepare(t.Context()), s.Create(t.Context(), "Work")); err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func annotationsAre(t *testing.T, s *Store, name string, want ...Annotation) {
	t.Helper()
	got, err := s.Annotations(t.Context(), name)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q has %q (%v), want %q", name, got, err, want)
	}
}

func TestAnnotations(t *testing.T) {
	s, dir := metadataStore(t, Options{})
	annotationsAre(t, s, "Work")
	set := func(name string, changes ...AnnotationChange) {
		t.Helper()
		if err := s.Annotate(t.Context(), name, changes, 10); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	set("Work", change("/shared/comment", "Zoë's\n\x00 letters"), change("/Private/Comment", "two"), change("/private/raw", "\xff\xfe"))
	set("INBOX", change("/private/comment", "in"))
	set("", change("/shared/admin", "mailto:joe@example.org"))
	annotationsAre(t, s, "Work", Annotation{"/private/comment", "two"}, Annotation{"/private/raw", "\xff\xfe"}, Annotation{"/shared/comment", "Zoë's\n\x00 letters"})
	annotationsAre(t, s, "INBOX", Annotation{"/private/comment", "in"})
	annotationsAre(t, s, "", Annotation{"/shared/admin", "mailto:joe@example.org"})
	// They go where the folder goes, and with it.
	if err := s.Rename(t.Context(), "Work", "Play"); err != nil {
		t.Fatal(err)
	}
	set("Play", change("/private/comment", "three"), AnnotationChange{Entry: "/private/raw"}, AnnotationChange{Entry: "/private/none"})
	annotationsAre(t, s, "Play", Annotation{"/private/comment", "three"}, Annotation{"/shared/comment", "Zoë's\n\x00 letters"})
	if got := read(t, dir, ".Play/mailsrvd-metadata"); !strings.HasPrefix(got, `{"entry":"/private/comment","value":"three"}`+"\n") {
		t.Errorf("the file is\n%s", got)
	}
	if err := errors.Join(s.Delete(t.Context(), "Play"), s.Create(t.Context(), "Play")); err != nil {
		t.Fatal(err)
	}
	annotationsAre(t, s, "Play")
	for _, name := range []string{"None", "a..b"} {
		if _, err := s.Annotations(t.Context(), name); !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrInvalidName) {
			t.Errorf("reading %s: %v", name, err)
		}
		if err := s.Annotate(t.Context(), name, nil, 1); !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrInvalidName) {
			t.Errorf("writing %s: %v", name, err)
		}
	}
}

func TestAnnotationsAreLimited(t *testing.T) {
	s, _ := metadataStore(t, Options{})
	if err := s.Annotate(t.Context(), "Work", []AnnotationChange{change("/private/a", "1"), change("/private/b", "2")}, 2); err != nil {
		t.Fatal(err)
	}
	err := s.Annotate(t.Context(), "Work", []AnnotationChange{change("/private/a", "9"), change("/private/c", "3")}, 2)
	if !errors.Is(err, ErrTooManyAnnotations) {
		t.Errorf("one too many: %v", err)
	}
	annotationsAre(t, s, "Work", Annotation{"/private/a", "1"}, Annotation{"/private/b", "2"})
	if err := s.Annotate(t.Context(), "Work", []AnnotationChange{change("/private/c", "3"), {Entry: "/private/a"}}, 2); err != nil {
		t.Errorf("one for another: %v", err)
	}
}

func TestAnnotationFileOfAnotherHand(t *testing.T) {
	s, dir := metadataStore(t, Options{})
	write(t, dir, ".Work/mailsrvd-metadata", "garbage\n"+`{"entry":"/Private/A","value":"1"}`+"\n"+`{"entry":"/private/a","value":"2","x":7}`+"\n"+`{"entry":"/private/b"}`+"\n{}\n[1")
	annotationsAre(t, s, "Work", Annotation{"/private/a", "2"}, Annotation{"/private/b", ""})
	if err := s.Annotate(t.Context(), "Work", []AnnotationChange{change("/private/a", "3")}, 10); err != nil {
		t.Fatal(err)
	}
	got := read(t, dir, ".Work/mailsrvd-metadata")
	want := `{"entry":"/private/a","value":"3"}` + "\n" + `{"entry":"/private/b","value":""}` + "\ngarbage\n{}\n[1\n"
	if got != want {
		t.Errorf("the file is\n%s, want\n%s", got, want)
	}
	if err := errors.Join(os.Remove(dir+"/.Work/mailsrvd-metadata"), os.Symlink("/etc/hostname", dir+"/.Work/mailsrvd-metadata")); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Annotations(t.Context(), "Work"); err == nil {
		t.Errorf("a link was followed: %q", list)
	}
	if _, err := s.Folders(t.Context()); err != nil {
		t.Errorf("a link stops LIST: %v", err)
	}
}

func TestAnnotationFaults(t *testing.T) {
	for _, step := range []string{"lock", "write", "sync", "rename", "syncdir"} {
		fail := false
		s, _ := metadataStore(t, Options{Fault: func(at, name string) error {
			if fail && at == step {
				return errors.New("planned")
			}
			return nil
		}})
		if err := s.Annotate(t.Context(), "Work", []AnnotationChange{change("/private/a", "1")}, 10); err != nil {
			t.Fatal(err)
		}
		fail = true
		if err := s.Annotate(t.Context(), "Work", []AnnotationChange{change("/private/a", "2")}, 10); err == nil {
			t.Errorf("%s: no error", step)
		}
		fail = false
		list, err := s.Annotations(t.Context(), "Work")
		if err != nil || len(list) != 1 || list[0].Value != "1" && step != "syncdir" {
			t.Errorf("%s: %q, %v", step, list, err)
		}
		if err := s.Annotate(t.Context(), "Work", []AnnotationChange{change("/private/a", "3")}, 10); err != nil {
			t.Errorf("%s: afterwards: %v", step, err)
		}
	}
}

func TestAnnotationsFromManySides(t *testing.T) {
	s, _ := metadataStore(t, Options{})
	var work sync.WaitGroup
	var want []Annotation
	for _, entry := range []string{"/private/a", "/private/b", "/private/c", "/private/d"} {
		want = append(want, Annotation{entry, "xxxxxxxxxx"})
		work.Go(func() {
			for n := range 11 {
				if err := s.Annotate(t.Context(), "Work", []AnnotationChange{change(entry, strings.Repeat("x", n))}, 10); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	annotationsAre(t, s, "Work", want...)
}

func TestSpecialUseThatWasGiven(t *testing.T) {
	s, _ := metadataStore(t, Options{})
	if err := errors.Join(s.Create(t.Context(), "Sent"), s.Create(t.Context(), "Trash"),
		s.Annotate(t.Context(), "Work", []AnnotationChange{change(SpecialUseEntry, `\Sent \Important`)}, 10)); err != nil {
		t.Fatal(err)
	}
	folders, err := s.Folders(t.Context())
	uses := map[string]string{}
	for _, f := range folders {
		uses[f.Name] = f.SpecialUse
	}
	want := map[string]string{"INBOX": "", "Work": `\Sent \Important`, "Sent": "", "Trash": `\Trash`}
	if err != nil || !reflect.DeepEqual(uses, want) {
		t.Errorf("the uses are %q (%v), want %q", uses, err, want)
	}
}

func FuzzParseMetadata(f *testing.F) {
	f.Add(`{"entry":"/private/a","value":"1"}` + "\n" + `{"entry":"/private/b","base64":"/w=="}` + "\nx\n")
	f.Fuzz(func(t *testing.T, text string) {
		m := parseMetadata(text)
		again := parseMetadata(string(m.format()))
		if !slices.Equal(m.list, again.list) || !slices.Equal(m.strays, again.strays) {
			t.Fatalf("%q: %q, again %q", text, m, again)
		}
	})
}
