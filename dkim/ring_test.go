package dkim

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// ringDir has a first key, and others as rotation would make them.
func ringDir(t *testing.T, alg Algorithm, made ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.key")
	writeTestKey(t, alg, path)
	for _, s := range made {
		writeTestKey(t, map[string]Algorithm{"e": Ed25519, "r": RSA}[s[:1]], path+"."+s)
	}
	return path
}

func writeTestKey(t *testing.T, alg Algorithm, path string) {
	t.Helper()
	k, err := GenerateKey(alg)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.WriteFile(path); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) *Ring {
	t.Helper()
	r, err := OpenRing("Example.org", "default", path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// states is the ring in short: selector=state, in order.
func states(r *Ring, turns Turns, now time.Time) string {
	var out []string
	for _, s := range r.States(turns, now, 7*24*time.Hour) {
		out = append(out, s.Selector+"="+string(s.State))
	}
	return strings.Join(out, " ")
}

var ringStart = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)

func TestARingFindsItsKeysAndNoOthers(t *testing.T) {
	path := ringDir(t, Ed25519, "e20261125", "e20261125b", "e20261201")
	for _, other := range []string{"a.key.bak", "a.key.e2026", "a.key.x20261125", "b.key.e20261125", "a.key.e20261125bb", "xa.key.e20261125"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), other), []byte("no key"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := open(t, path)
	if got := states(r, NewTurns(), ringStart); got != "default=signing e20261125=waiting e20261125b=waiting e20261201=waiting" {
		t.Error(got)
	}
	if r.Name() != "default._domainkey.example.org" || r.Keys[1].Path != path+".e20261125" {
		t.Errorf("%s, %+v", r.Name(), r.Keys[1])
	}
	os.Remove(path)
	if got := states(open(t, path), NewTurns(), ringStart); !strings.HasPrefix(got, "e20261125=signing") {
		t.Errorf("without the first: %s", got)
	}
	if _, err := OpenRing("example.org", "x", filepath.Join(t.TempDir(), "none.key")); err == nil {
		t.Error("no key at all, and no error")
	}
	os.WriteFile(path+".e20261202", []byte("no key"), 0o600)
	if _, err := OpenRing("example.org", "x", path); err == nil {
		t.Error("a damaged key, and no error")
	}
}

// TestTheLifeOfKeys walks two rotations through.
func TestTheLifeOfKeys(t *testing.T) {
	path := ringDir(t, Ed25519)
	turns, now := NewTurns(), ringStart
	next := func() string {
		t.Helper()
		s, alg, err := open(t, path).NextSelector(now)
		if err != nil || alg != Ed25519 {
			t.Fatal(s, alg, err)
		}
		writeTestKey(t, alg, open(t, path).PathOf(s))
		return s
	}
	expect := func(what, want string) {
		t.Helper()
		if got := states(open(t, path), turns, now); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
		if got := open(t, path).Current(turns).Selector; !strings.Contains(want, got+"=signing") {
			t.Errorf("%s: %s signs", what, got)
		}
	}
	inDNS := func(names ...string) func(RingKey) bool {
		return func(k RingKey) bool { return slices.Contains(names, k.Selector) }
	}
	first := next()
	expect("made", "default=signing "+first+"=waiting")
	advance := func(what string, changed bool, names ...string) {
		t.Helper()
		if open(t, path).Advance(turns, now, 15*time.Minute, inDNS(names...)) != changed {
			t.Errorf("%s: changed %v, want %v", what, !changed, changed)
		}
	}
	advance("no record", false, "default")
	advance("a record", true, "default", first)
	if s := open(t, path).States(turns, now, time.Hour)[1]; s.State != Waiting || s.Since != now {
		t.Errorf("%+v", s)
	}
	now = now.Add(10 * time.Minute)
	advance("for ten minutes", false, "default", first)
	advance("gone again", true, "default")
	now = now.Add(10 * time.Minute)
	advance("back", true, "default", first)
	expect("not for long enough", "default=signing "+first+"=waiting")
	now = now.Add(15 * time.Minute)
	advance("for long enough", true, "default", first)
	expect("in the DNS", "default=retiring "+first+"=signing")
	if s := open(t, path).States(turns, now, time.Hour)[0]; s.Until != now.Add(time.Hour) || s.Since != now {
		t.Errorf("%+v", s)
	}
	advance("and then", false, "default", first)
	if len(turns.Seen) > 0 {
		t.Errorf("left: %v", turns.Seen)
	}
	now = now.Add(8 * 24 * time.Hour)
	expect("a week later", "default=spent "+first+"=signing")
	second, third := next(), ""
	third = next()
	if third != second+"b" {
		t.Errorf("the second of a day is %s after %s", third, second)
	}
	advance("two records", true, first, third, second)
	now = now.Add(time.Hour)
	advance("two records for an hour", true, first, third, second)
	expect("one is passed over", fmt.Sprintf("default=spent %s=retiring %s=retiring %s=signing", first, second, third))
	fourth := next()
	advance("the record of the one that signs is gone", true, fourth)
	expect("no time to lose", fmt.Sprintf("default=spent %s=retiring %s=retiring %s=retiring %s=signing", first, second, third, fourth))
	os.Remove(path + "." + fourth)
	os.Remove(path)
	os.Remove(path + "." + third)
	expect("the newest is lost", fmt.Sprintf("%s=signing %s=waiting", first, second))
}

func TestNextSelectors(t *testing.T) {
	for _, c := range []struct {
		alg  Algorithm
		made []string
		want string
	}{
		{RSA, nil, "r20261125"},
		{Ed25519, nil, "e20261125"},
		{Ed25519, []string{"e20261124"}, "e20261125"},
		{Ed25519, []string{"e20261125"}, "e20261125b"},
		{Ed25519, []string{"e20261125", "e20261125b"}, "e20261125c"},
		{Ed25519, []string{"r20261125"}, "r20261125b"},
		{Ed25519, []string{"e20261126"}, ""}, // a clock that was wrong
		{Ed25519, []string{"e20261125z"}, ""},
	} {
		r := open(t, ringDir(t, c.alg, c.made...))
		if got, _, err := r.NextSelector(ringStart); got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}

func TestTurnsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dkim.json")
	if turns, err := LoadTurns(path); err != nil || turns.Of == nil || turns.Seen == nil || len(turns.Of) != 0 {
		t.Fatal(turns, err)
	}
	want := NewTurns()
	want.Of["a._domainkey.b"] = []Turn{{"r20261125", ringStart}, {"r20261126", ringStart.Add(time.Hour)}}
	want.Seen["c._domainkey.b"] = ringStart
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadTurns(path); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Error(got, err)
	}
	for _, text := range []string{"", "{", `{"version":2}`, `[]`, `{"version":1,"turns":null}`} {
		os.WriteFile(path, []byte(text), 0o600)
		if got, err := LoadTurns(path); err == nil || got.Of == nil || got.Seen == nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	os.WriteFile(path, []byte(`{"version":1}`), 0o600)
	if got, err := LoadTurns(path); err != nil || got.Of == nil || got.Seen == nil {
		t.Error(got, err)
	}
}
