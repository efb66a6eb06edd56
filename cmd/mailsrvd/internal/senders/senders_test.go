package senders

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/message"
)

const text = `# who may send as whom
alice: news@example.org, @lists.example.org   # both
alice: Second@Example.net
root: *
`

// route leads bob@, bob+x@ and both@ to bob; everything else is unknown.
func route(_ context.Context, address string) (message.Route, error) {
	local, domain, _ := strings.Cut(address, "@")
	local, _, _ = strings.Cut(local, "+")
	switch {
	case domain != "example.org":
		return message.Route{Remote: []string{address}}, nil
	case local == "bob":
		return message.Route{Local: []message.Local{{User: "bob"}}}, nil
	case local == "both":
		return message.Route{Local: []message.Local{{User: "alice"}, {User: "bob"}}}, nil
	}
	return message.Route{}, errors.New("no such user")
}

func TestAllowed(t *testing.T) {
	f, err := Parse("senders", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	p := Policy{File: f, Domains: []string{"example.org", "second.example"}, Delimiter: "+", Route: route}
	for _, tt := range []struct {
		user, address string
		want          bool
	}{
		{"bob", "bob@example.org", true},
		{"bob", "bob+shop@example.org", true},
		{"bob", "both@example.org", true},
		{"bob", "", true},
		{"bob", "alice@example.org", false},
		{"bob", "bob@example.net", false},
		{"bob", "news@example.org", false},
		{"alice", "news@example.org", true},
		{"alice", "NEWS@Example.ORG", true},
		{"alice", "any@lists.example.org", true},
		{"alice", "any@sub.lists.example.org", false},
		{"alice", "second@example.net", true},
		{"root", "anybody@example.com", true},
		{"Root", "anybody@example.com", true},
		{"carol", "carol", false},
		{"www-data", "www-data@example.org", true}, // without a mailbox
		{"www-data", "WWW-data+cron@Second.example", true},
		{"www-data", "www-data@example.net", false},
		{"www-data", "+www-data@example.org", false},
	} {
		if got := p.Allowed(context.Background(), tt.user, tt.address); got != tt.want {
			t.Errorf("%s as %q: %v", tt.user, tt.address, got)
		}
	}
	if (Policy{File: f}).Allowed(context.Background(), "bob", "bob@example.org") {
		t.Error("without routes an address is nobody's")
	}
}

func TestLoadNamesEveryBadLine(t *testing.T) {
	name := filepath.Join(t.TempDir(), "senders")
	if err := os.WriteFile(name, []byte("alice\n\nbob: x@\n: y@z\nc d: e@f\ngood: a@b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(name)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{":1: want", ":3: \"x@\" is not", ":4: want", ":5: want"} {
		if !strings.Contains(err.Error(), name+want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if _, err := Load(name + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if f, err := Load(""); err != nil || f.allows("a", "a@b") {
		t.Error(f, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(text)
	f.Add("a:,,\n:\n#\n\x00: *")
	f.Fuzz(func(t *testing.T, s string) {
		file, err := Parse("x", strings.NewReader(s))
		if err == nil && file.allows("nobody-at-all-here", "a@b") && !strings.Contains(s, "nobody") {
			t.Error("an address for a user who is not listed")
		}
	})
}
