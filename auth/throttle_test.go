package auth

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// from is one attempt for a name from an address; it returns how long it took.
func from(t *testing.T, a *Authenticator, ip, name, password string) (time.Duration, error) {
	t.Helper()
	began := time.Now()
	_, err := a.Authenticate(t.Context(), Credentials{Login: name, Password: password, Remote: netip.MustParseAddr(ip)})
	return time.Since(began), err
}

// wantDelays makes one attempt after another and compares the time that each
// took beyond the usual two seconds of a failure.
func wantDelays(t *testing.T, attempt func(i int) time.Duration, want ...time.Duration) {
	t.Helper()
	for i, w := range want {
		if got := attempt(i) - 2*time.Second; got != w*time.Second {
			t.Errorf("attempt %d waited %v, want %v", i+1, got, w*time.Second)
		}
	}
}

func TestGuessingFromOneAddressGetsSlower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := fake(t, nil)
		wantDelays(t, func(i int) time.Duration {
			d, _ := from(t, a, "203.0.113.9", fmt.Sprint("user", i), "x")
			return d
		}, 0, 0, 0, 1, 2, 4, 8, 15, 15)
		if d, _ := from(t, a, "203.0.113.10", "user0", "y"); d != 2*time.Second {
			t.Errorf("a neighbour waited %v", d)
		}
		time.Sleep(failureWindow)
		if d, _ := from(t, a, "203.0.113.9", "other", "x"); d != 2*time.Second {
			t.Errorf("after the window: %v", d)
		}
	})
}

func TestGuessingForOneUserGetsSlower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := fake(t, nil)
		wantDelays(t, func(i int) time.Duration {
			d, _ := from(t, a, fmt.Sprintf("203.0.113.%d", i), "support", fmt.Sprint("guess", i))
			return d
		}, 0, 0, 0, 1, 2, 4, 8, 15)
	})
}

func TestIPv6CountsByNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := fake(t, nil)
		wantDelays(t, func(i int) time.Duration {
			d, _ := from(t, a, fmt.Sprintf("2001:db8::%x", i), fmt.Sprint("user", i), "x")
			return d
		}, 0, 0, 0, 1, 2)
	})
}

func TestForgottenDeviceDoesNotSlowDownItsHouse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := fake(t, nil)
		for range 20 { // the same old password again and again
			if d, _ := from(t, a, "203.0.113.9", "support", "old"); d != 2*time.Second {
				t.Fatalf("waited %v", d)
			}
		}
		if d, err := from(t, a, "203.0.113.9", "support", "right"); d != 0 || err != nil {
			t.Errorf("%v after %v", err, d)
		}
	})
}

func TestGuessingDoesNotLockOutTheUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := fake(t, nil)
		if _, err := from(t, a, "192.0.2.1", "support", "right"); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			from(t, a, fmt.Sprintf("203.0.113.%d", i), "support", fmt.Sprint("guess", i))
		}
		time.Sleep(5 * time.Minute) // the memory of the good password is over
		if d, err := from(t, a, "192.0.2.1", "support", "right"); d != 0 || err != nil {
			t.Errorf("from his own network: %v after %v", err, d)
		}
		if d, err := from(t, a, "198.51.100.1", "support", "right"); d != 15*time.Second || err != nil {
			t.Errorf("from a new network: %v after %v", err, d)
		}
	})
}

func TestOwnNetworkCannotGuessForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := fake(t, nil)
		from(t, a, "192.0.2.1", "support", "right")
		for i := range goodFailures {
			if d, _ := from(t, a, "192.0.2.1", "support", fmt.Sprint("guess", i)); d != 2*time.Second {
				t.Fatalf("guess %d waited %v", i, d)
			}
		}
		if d, _ := from(t, a, "192.0.2.1", "support", "one more"); d != 17*time.Second {
			t.Errorf("waited %v", d)
		}
	})
}

func TestStrangersGuessesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		guesses := map[uint64]bool{}
		a, _ := fake(t, func(o *Options) {
			o.AllowNets = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			o.Failed = func(remote netip.Addr, guess uint64) {
				told = append(told, remote.String())
				guesses[guess] = true
			}
		})
		from(t, a, "192.0.2.1", "support", "right")
		from(t, a, "192.0.2.1", "support", "old")     // he mistypes
		from(t, a, "10.0.0.1", "support", "guess")    // a friend
		from(t, a, "203.0.113.1", "support", "right") // no guess
		for range 3 {
			from(t, a, "203.0.113.2", "support", "guess")
		}
		from(t, a, "203.0.113.2", "nobody", "guess")
		if got := fmt.Sprint(told); got != "[203.0.113.2 203.0.113.2 203.0.113.2 203.0.113.2]" || len(guesses) != 2 {
			t.Errorf("%s, %d guesses", got, len(guesses))
		}
	})
}

func TestAllowListAlwaysWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := fake(t, func(o *Options) {
			o.AllowNets = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")}
		})
		b.takes = time.Second
		for _, ip := range []string{"203.0.113.9", "::ffff:203.0.113.9", "2001:db8::1"} {
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					if d, _ := from(t, a, ip, "support", fmt.Sprint(ip, i)); d != 2*time.Second {
						t.Errorf("%s waited %v", ip, d)
					}
				})
			}
			wg.Wait()
		}
		if d, _ := from(t, a, "198.51.100.1", "support", "x"); d != 2*time.Second {
			t.Errorf("failures from the allow-list counted: %v", d)
		}
	})
}

func TestLocalSocketIsNotSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := fake(t, nil)
		for i := range 10 {
			began := time.Now()
			a.Authenticate(t.Context(), Credentials{Login: "support", Password: fmt.Sprint(i), Service: "test"})
			if d := time.Since(began); d != 2*time.Second {
				t.Errorf("waited %v", d)
			}
		}
	})
}

func TestOneNetworkHasAFewAttemptsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := fake(t, func(o *Options) { o.MaxPerNetwork = 4 })
		b.takes = 25 * time.Second
		var mu sync.Mutex
		kinds := map[Kind]int{}
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				_, err := from(t, a, "203.0.113.9", "support", fmt.Sprint(i))
				mu.Lock()
				defer mu.Unlock()
				kinds[AsError(err).Kind]++
			})
		}
		time.Sleep(time.Second)
		if b.checks() != 4 {
			t.Errorf("%d attempts at a time", b.checks())
		}
		wg.Wait()
		if kinds[Refused] != 4 || kinds[Throttled] != 6 {
			t.Errorf("answers: %v", kinds)
		}
		wantNoGate(t, a)
	})
}

func TestWaitingForATurnEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := fake(t, func(o *Options) { o.MaxPerNetwork = 1 })
		go from(t, a, "192.0.2.1", "support", "x")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := logIn(ctx, a, "support", "right"); AsError(err).Kind != Unavailable {
			t.Errorf("err = %v", err)
		}
		time.Sleep(time.Minute)
		wantNoGate(t, a)
	})
}

func TestMemoryIsBounded(t *testing.T) {
	a, _ := fake(t, nil)
	for i := range maxTracked + 1000 {
		ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		a.throttle.failed(ip, fmt.Sprint("user", i), "x")
		a.throttle.succeeded(ip, fmt.Sprint("user", i))
		a.cache.put(a.cache.proof("u", fmt.Sprint(i), ip), Account{})
	}
	for name, tab := range map[string]*table{"addresses": a.throttle.addrs, "users": a.throttle.users, "pairs": a.throttle.good} {
		if len(tab.byKey) != maxTracked || tab.order.Len() != maxTracked {
			t.Errorf("%s: %d entries in %d", name, len(tab.byKey), tab.order.Len())
		}
	}
	if len(a.cache.byKey) != maxCached || a.cache.order.Len() != maxCached {
		t.Errorf("cache: %d entries in %d", len(a.cache.byKey), a.cache.order.Len())
	}
	if a.throttle.delay(netip.MustParseAddr("10.0.0.0"), "user0") != 0 {
		t.Error("the oldest entry stayed")
	}
}

func TestProofKeepsPartsApart(t *testing.T) {
	c := newCache(time.Minute)
	if c.proof("ab", "c", home) == c.proof("a", "bc", home) {
		t.Error("name and password run into each other")
	}
	if c.proof("a", "b", home) == newCache(time.Minute).proof("a", "b", home) {
		t.Error("there is no salt")
	}
}

func wantNoGate(t *testing.T, a *Authenticator) {
	t.Helper()
	a.throttle.mu.Lock()
	defer a.throttle.mu.Unlock()
	if n := len(a.throttle.active); n != 0 {
		t.Errorf("%d gates stayed", n)
	}
}
