package maildir

import (
	"errors"
	"reflect"
	"strconv"
	"sync/atomic"
	"testing"
)

func TestFolderWatcherHearsOfEveryChange(t *testing.T) {
	s, _ := metadataStore(t, Options{})
	var calls atomic.Int32
	w := s.WatchFolders(func() { calls.Add(1) })
	other := s.WatchFolders(func() {})
	if err := errors.Join(s.Create(t.Context(), "A/"), s.Rename(t.Context(), "A", "B"), s.Subscribe(t.Context(), "B"), s.Subscribe(t.Context(), "B"),
		s.Unsubscribe(t.Context(), "B"), s.Annotate(t.Context(), "B", []AnnotationChange{change("/private/b", "1"), change("/private/a", "1")}, 10),
		s.Annotate(t.Context(), "", []AnnotationChange{change("/private/b", "1")}, 10), s.Delete(t.Context(), "B")); err != nil {
		t.Fatal(err)
	}
	// What fails is no event.
	if err := errors.Join(s.Create(t.Context(), "Work"), s.Delete(t.Context(), "B"), s.Rename(t.Context(), "B", "C"), s.Unsubscribe(t.Context(), "B"),
		s.Annotate(t.Context(), "B", nil, 1)); err == nil {
		t.Fatal("no error")
	}
	want := []FolderEvent{
		{Kind: FolderCreated, Name: "A"}, {Kind: FolderRenamed, Name: "B", OldName: "A"}, {Kind: FolderSubscribed, Name: "B"},
		{Kind: FolderUnsubscribed, Name: "B"}, {Kind: FolderAnnotated, Name: "B", Entries: []string{"/private/a", "/private/b"}},
		{Kind: FolderAnnotated, Entries: []string{"/private/b"}}, {Kind: FolderDeleted, Name: "B"},
	}
	for _, w := range []*FolderWatcher{w, other} {
		if got, lost := w.Events(); lost || !reflect.DeepEqual(got, want) {
			t.Errorf("heard %+v, %v", got, lost)
		}
	}
	if got, lost := w.Events(); lost || got != nil {
		t.Errorf("heard again %+v, %v", got, lost)
	}
	if n := calls.Load(); int(n) != len(want) {
		t.Errorf("called %d times", n)
	}
	w.Close()
	if err := s.Create(t.Context(), "A"); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.Events(); got != nil || int(calls.Load()) != len(want) {
		t.Errorf("after Close: %+v", got)
	}
}

func TestSlowFolderWatcherLosesEvents(t *testing.T) {
	s, _ := metadataStore(t, Options{})
	w := s.WatchFolders(func() {})
	defer w.Close()
	for i := range maxFolderEvents + 1 {
		s.tellFolders(FolderEvent{Kind: FolderCreated, Name: strconv.Itoa(i)})
	}
	got, lost := w.Events()
	if !lost || len(got) != 1 || got[0].Name != strconv.Itoa(maxFolderEvents) {
		t.Errorf("%d events, lost %v", len(got), lost)
	}
	if _, lost := w.Events(); lost {
		t.Error("still lost")
	}
}
