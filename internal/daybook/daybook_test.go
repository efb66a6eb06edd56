package daybook

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "days")
	s := Store[int]{Dir: dir, Valid: func(n *int) bool { return *n >= 0 }}
	if d, err := s.Load("2026-01-02"); err != nil || len(d.Domains) != 0 || s.Dates() != nil {
		t.Errorf("%v %v", d, err)
	}
	d, _ := s.Load("2026-01-02")
	if err := s.Save("2026-01-02", d); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("an empty day makes a directory")
	}
	seven := 7
	d.Domains["a.example"] = &seven
	for _, date := range []string{"2026-01-03", "2026-01-02"} {
		if err := s.Save(date, d); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(dir, "notes.json"), nil, 0o600)
	if got := fmt.Sprint(s.Dates()); got != "[2026-01-02 2026-01-03]" {
		t.Errorf("%s", got)
	}
	if d, err := s.Load("2026-01-03"); err != nil || *d.Domains["a.example"] != 7 {
		t.Errorf("%v %v", d, err)
	}
	clear(d.Domains)
	if err := s.Save("2026-01-03", d); err != nil || len(s.Dates()) != 1 {
		t.Errorf("%v %v", s.Dates(), err)
	}
	for text, ok := range map[string]bool{
		"": false, "{": false, `{"version":2}`: false, `{"version":1}`: true, `{"version":1,"domains":null}`: false,
		`{"version":1,"domains":{"a":null,"b":-1}}`: true,
	} {
		os.WriteFile(filepath.Join(dir, "2026-01-02.json"), []byte(text), 0o600)
		if d, err := s.Load("2026-01-02"); (err == nil) != ok || len(d.Domains) != 0 {
			t.Errorf("%s: %v %v", text, d, err)
		}
	}
}
