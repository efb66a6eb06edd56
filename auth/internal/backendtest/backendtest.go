// Package backendtest holds every auth.Backend to the promises of the
// interface.
package backendtest

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"svc.plus/mailsrvd/auth"
)

// Run checks b, which has the account name with the password and no account
// "no-such-user-here".
func Run(t *testing.T, b auth.Backend, name, password string) {
	t.Run("Verify", func(t *testing.T) { verify(t, b, name, password) })
	t.Run("Lookup", func(t *testing.T) { lookup(t, b, name) })
	t.Run("Context", func(t *testing.T) { ended(t, b, name, password) })
	t.Run("Parallel", func(t *testing.T) { parallel(t, b, name, password) })
}

var remotes = []netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%eth0")}

// verify: nil for the password, Refused for all that is wrong or unknown.
func verify(t *testing.T, b auth.Backend, name, password string) {
	for _, remote := range remotes {
		if err := b.Verify(t.Context(), name, password, remote); err != nil {
			t.Errorf("from %v: %v", remote, err)
		}
	}
	for _, c := range [][2]string{
		{name, password + "x"}, {name, strings.ToUpper(password)}, {name, ""}, {name, strings.Repeat("x", 1024)},
		{"no-such-user-here", password}, {"no-such-user-here", ""},
	} {
		err := b.Verify(t.Context(), c[0], c[1], remotes[1])
		if e, ok := errors.AsType[*auth.Error](err); !ok || e.Kind != auth.Refused {
			t.Errorf("%q %.20q: %v", c[0], c[1], err)
		}
	}
}

// lookup: the account, or ErrNoUser also for names that cannot be.
func lookup(t *testing.T, b auth.Backend, name string) {
	a, err := b.Lookup(t.Context(), name)
	if err != nil || a.Name != name || a.Owner.Name != name || !strings.HasPrefix(a.Owner.Home, "/") {
		t.Errorf("%+v, %v", a, err)
	}
	for _, absent := range []string{"no-such-user-here", "", "..", "a/b", name + "/", strings.ToUpper(name), strings.Repeat("x", 255)} {
		if a, err := b.Lookup(t.Context(), absent); !errors.Is(err, auth.ErrNoUser) {
			t.Errorf("%.20q: %+v, %v", absent, a, err)
		}
	}
}

// ended: a context that is over gives the answer or Unavailable, never a
// refusal of what is right.
func ended(t *testing.T, b auth.Backend, name, password string) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Verify(ctx, name, password, remotes[1]); err != nil && auth.AsError(err).Kind != auth.Unavailable {
		t.Errorf("Verify: %v", err)
	}
	if _, err := b.Lookup(ctx, name); err != nil && (errors.Is(err, auth.ErrNoUser) || auth.AsError(err).Kind != auth.Unavailable) {
		t.Errorf("Lookup: %v", err)
	}
}

func parallel(t *testing.T, b auth.Backend, name, password string) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if i%2 == 0 {
				if err := b.Verify(t.Context(), name, password, remotes[1]); err != nil {
					t.Error(err)
				}
			} else if err := b.Verify(t.Context(), name, "wrong", remotes[1]); err == nil {
				t.Error("a wrong password is right")
			}
			if _, err := b.Lookup(t.Context(), name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
