package maildir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckFindsFilesThatAreNotAsTheirNamesSay(t *testing.T) {
	s, dir := testStore(t, Options{})
	deliver(t, s, "INBOX", "a", "b", "c")
	m := open(t, s, "INBOX")
	if faults, err := m.Check(t.Context()); err != nil || len(faults) != 0 {
		t.Errorf("%+v, %v", faults, err)
	}
	_, name, err := m.guess(2)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "new", name), 3); err != nil {
		t.Fatal(err)
	}
	faults, err := m.Check(t.Context())
	if err != nil || len(faults) != 1 || faults[0].UID != 2 || faults[0].File != name || !strings.Contains(faults[0].Text, "has 3 bytes") {
		t.Errorf("%+v, %v", faults, err)
	}
}
