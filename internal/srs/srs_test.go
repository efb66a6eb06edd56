package srs

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func local(address string) string { return address[:strings.LastIndexByte(address, '@')] }

func TestSendersComeBack(t *testing.T) {
	r := New([]byte("secret"))
	for _, sender := range []string{"ada@example.net", "Ada.Lovelace+x@Example.NET", "a=b=c@example.net", "x-y_z@sub.example.net", "ü@bücher.example"} {
		f := r.Forward(sender, "ours.example", now)
		if !strings.HasPrefix(f, "SRS0=") || !strings.HasSuffix(f, "@ours.example") {
			t.Errorf("%s became %s", sender, f)
		}
		for _, later := range []time.Duration{0, 21 * 24 * time.Hour} {
			if got, err := r.Reverse(local(f), now.Add(later)); err != nil || got != sender {
				t.Errorf("%s: %s, %v", sender, got, err)
			}
		}
		if got, err := r.Reverse(strings.ToLower(local(f)), now); err != nil || !strings.EqualFold(got, sender) {
			t.Errorf("in lower case: %s, %v", got, err)
		}
		if got, err := r.Reverse(strings.ToUpper(local(f)), now); sender[0] < 128 && (err != nil || !strings.EqualFold(got, sender)) {
			t.Errorf("in upper case: %s, %v", got, err)
		}
		if _, err := r.Reverse(local(f), now.Add(23*24*time.Hour)); !errors.Is(err, ErrOld) {
			t.Errorf("three weeks later: %v", err)
		}
		if _, err := New([]byte("other")).Reverse(local(f), now); !errors.Is(err, ErrForged) {
			t.Errorf("with another secret: %v", err)
		}
	}
}

// A message that is sent on again and again goes back to the first, who knows the
// sender, over one of us alone.
func TestChainsAreShort(t *testing.T) {
	first, second, third := New([]byte("1")), New([]byte("2")), New([]byte("3"))
	a := first.Forward("ada@example.net", "first.example", now)
	b := second.Forward(a, "second.example", now)
	c := third.Forward(b, "third.example", now)
	if !strings.HasPrefix(b, "SRS1=") || !strings.HasPrefix(c, "SRS1=") || len(c) > len(b)+1 {
		t.Errorf("%s, %s, %s", a, b, c)
	}
	for r, address := range map[*Rewriter]string{second: b, third: c} {
		if got, err := r.Reverse(local(address), now); err != nil || got != a {
			t.Errorf("%s led to %s, %v; want %s", address, got, err, a)
		}
	}
	if got, err := first.Reverse(local(a), now); err != nil || got != "ada@example.net" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestOtherAddressesStayAsTheyAre(t *testing.T) {
	r := New([]byte("secret"))
	for _, sender := range []string{"", "postmaster", `"a b"@example.net`, "a@[192.0.2.1]", "@example.net"} {
		if got := r.Forward(sender, "ours.example", now); got != sender {
			t.Errorf("%q became %q", sender, got)
		}
	}
	for _, l := range []string{"", "alice", "srs0", "SRS0=", "SRS0=x", "SRS2=a=b=c=d", "srs0abc"} {
		if _, err := r.Reverse(l, now); !errors.Is(err, ErrNotOurs) {
			t.Errorf("%q: %v", l, err)
		}
	}
	for _, l := range []string{"SRS0=aaaaaa=bb=example.net=ada", "SRS1=aaaaaa=x==y"} {
		if _, err := r.Reverse(l, now); !errors.Is(err, ErrForged) {
			t.Errorf("%q: %v", l, err)
		}
	}
}

func FuzzReverse(f *testing.F) {
	r := New([]byte("secret"))
	f.Add("SRS0=aaaaaa=bb=example.net=ada")
	f.Add("SRS1=aaaaaa=x==y")
	f.Add(local(r.Forward("ada@example.net", "o", now)))
	f.Fuzz(func(t *testing.T, l string) {
		if got, err := r.Reverse(l, now); err == nil && !strings.Contains(got, "@") {
			t.Errorf("%q led to %q", l, got)
		}
		if got := r.Forward(l+"@example.net", "ours.example", now); strings.HasPrefix(got, "SRS0=") && strings.HasSuffix(got, "@ours.example") {
			if back, err := r.Reverse(local(got), now); err != nil || back != l+"@example.net" {
				t.Errorf("%q became %q, which led to %q, %v", l, got, back, err)
			}
		}
	})
}
