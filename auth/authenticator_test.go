package auth

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"svc.plus/mailsrvd/internal/asuser"
)

// fakeBackend is a Backend in memory that counts questions.
type fakeBackend struct {
	mu       sync.Mutex
	users    map[string]fakeUser
	takes    time.Duration // how long a check lasts
	finds    time.Duration // how long a look-up of a known name lasts
	verifies int
	lookups  int
}

type fakeUser struct {
	password string
	account  Account
	fail     error // in place of the check
}

func (b *fakeBackend) Verify(ctx context.Context, name, password string, _ netip.Addr) error {
	b.mu.Lock()
	b.verifies++
	u, ok := b.users[name]
	b.mu.Unlock()
	select {
	case <-time.After(b.takes):
	case <-ctx.Done():
		return Fail(Unavailable, "%w", context.Cause(ctx))
	}
	switch {
	case u.fail != nil:
		return u.fail
	case !ok || u.password != password:
		return Fail(Refused, "wrong password")
	}
	return nil
}

func (b *fakeBackend) Lookup(_ context.Context, name string) (Account, error) {
	b.mu.Lock()
	b.lookups++
	u, ok := b.users[name]
	b.mu.Unlock()
	if !ok {
		return Account{}, ErrNoUser
	}
	time.Sleep(b.finds)
	if u.account.Name == "broken" {
		return Account{}, errors.New("LDAP is away")
	}
	return u.account, nil
}

func (b *fakeBackend) set(name string, change func(*fakeUser)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u := b.users[name]
	change(&u)
	b.users[name] = u
}

func (b *fakeBackend) checks() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.verifies
}

func user(name string, uid int, password string) fakeUser {
	return fakeUser{password: password, account: Account{Name: name, Owner: asuser.Owner{Name: name, UID: uid, GID: uid, Home: "/home/" + name}}}
}

// fake gives an Authenticator for svc.plus over a few users.
func fake(t testing.TB, change func(*Options)) (*Authenticator, *fakeBackend) {
	t.Helper()
	self := user("self", 0, "pw")
	self.account.Self = true
	expired, disabled, broken, away := user("expired", 1002, "pw"), user("disabled", 1003, "pw"), user("broken", 1004, "pw"), user("away", 1005, "pw")
	expired.fail, disabled.fail, away.fail = Fail(Expired, "x"), Fail(Disabled, "x"), errors.New("PAM is away")
	b := &fakeBackend{users: map[string]fakeUser{
		"support": user("support", 1001, "right"), "Upper": user("Upper", 1006, "pw"), "root": user("root", 0, "pw"),
		"daemon": user("daemon", 2, "pw"), "nemo": user("nemo", 65534, "pw"), "wheel": {password: "pw", account: Account{Name: "wheel", Owner: asuser.Owner{UID: 1007}}},
		"self": self, "expired": expired, "disabled": disabled, "broken": broken, "away": away,
	}}
	o := Options{Backend: b, Domains: []string{"svc.plus", "Bücher.example"}}
	if change != nil {
		change(&o)
	}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

var home = netip.MustParseAddr("192.0.2.1")

// logIn is one attempt from home; it returns the account's name.
func logIn(ctx context.Context, a *Authenticator, name, password string) (string, error) {
	acct, err := a.Authenticate(ctx, Credentials{Login: name, Password: password, Remote: home, Service: "imap"})
	return acct.Name, err
}

func TestAuthenticate(t *testing.T) {
	cases := []struct {
		name, login, password string
		account               string
		kind                  Kind // when account is empty
	}{
		{"the name alone", "support", "right", "support", 0},
		{"with a local domain", "support@svc.plus", "right", "support", 0},
		{"domains have no case", "support@SVC.Plus.", "right", "support", 0},
		{"a domain in Unicode", "support@bücher.example", "right", "support", 0},
		{"a domain in ASCII", "support@xn--bcher-kva.example", "right", "support", 0},
		{"capitals of a phone", "Support@svc.plus", "right", "support", 0},
		{"capitals of the system", "Upper", "pw", "Upper", 0},
		{"lower case is another name", "upper", "pw", "", Refused},
		{"a wrong password", "support", "wrong", "", Refused},
		{"an empty password", "support", "", "", Refused},
		{"an unknown user", "nobody", "right", "", Refused},
		{"a foreign domain", "support@example.org", "right", "", Refused},
		{"a subdomain", "support@mail.svc.plus", "right", "", Refused},
		{"a plus detail", "support+x@svc.plus", "right", "", Refused},
		{"no name", "@svc.plus", "right", "", Refused},
		{"root", "root", "pw", "", Refused},
		{"a system user", "daemon", "pw", "", Refused},
		{"the user of nobody", "nemo", "pw", "", Refused},
		{"the root group", "wheel", "pw", "", Refused},
		{"the daemon's own identity", "self", "pw", "self", 0},
		{"expired", "expired", "pw", "", Expired},
		{"disabled", "disabled", "pw", "", Disabled},
		{"the user database is away", "broken", "pw", "", Unavailable},
		{"the password check is away", "away", "pw", "", Unavailable},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _ := fake(t, nil)
				got, err := logIn(t.Context(), a, c.login, c.password)
				if got != c.account || (err == nil) != (c.account != "") {
					t.Fatalf("got %q, %v", got, err)
				}
				if e, ok := errors.AsType[*Error](err); err != nil && (!ok || e.Kind != c.kind) {
					t.Errorf("err = %v", err)
				}
			})
		})
	}
}

func TestPasswordOfRootIsNeverAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := fake(t, nil)
		for _, name := range []string{"root", "daemon", "wheel"} {
			logIn(t.Context(), a, name, "pw")
		}
		if b.checks() > 0 {
			t.Error("the back end was asked")
		}
	})
}

func TestUnknownNameIsAskedLikeAKnownOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := fake(t, nil)
		logIn(t.Context(), a, "nobody", "x")
		if b.checks() != 1 {
			t.Errorf("the back end was asked %d times", b.checks())
		}
	})
}

func TestFailuresTakeTheSameTime(t *testing.T) {
	for _, name := range []string{"support", "nobody", "Nobody", "Upper", "root", "a/b", "support@example.org", "", "expired", "away"} {
		synctest.Test(t, func(t *testing.T) {
			a, b := fake(t, nil)
			b.takes, b.finds = 40*time.Millisecond, 30*time.Millisecond
			began := time.Now()
			if _, err := logIn(t.Context(), a, name, "x"); err == nil {
				t.Fatal("no failure")
			}
			if took := time.Since(began); took != 2*time.Second {
				t.Errorf("%q took %v", name, took)
			}
		})
	}
}

func TestFailureEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := fake(t, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := logIn(ctx, a, "support", "wrong")
		if took := time.Since(began); took != time.Second || AsError(err).Kind != Refused {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestHungBackendIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := fake(t, nil)
		b.takes = time.Hour
		began := time.Now()
		_, err := logIn(t.Context(), a, "support", "right")
		if took := time.Since(began); took != 30*time.Second || AsError(err).Kind != Unavailable {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestGoodPasswordIsRememberedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := fake(t, nil)
		for range 5 {
			if _, err := logIn(t.Context(), a, "support", "right"); err != nil {
				t.Fatal(err)
			}
		}
		if b.checks() != 1 {
			t.Errorf("asked %d times", b.checks())
		}
		logIn(t.Context(), a, "support", "right2")
		if b.checks() != 2 {
			t.Error("another password was not asked for")
		}
		time.Sleep(2 * time.Minute)
		logIn(t.Context(), a, "support", "right")
		if b.checks() != 3 {
			t.Errorf("asked %d times after the time was over", b.checks())
		}
		a.Forget()
		logIn(t.Context(), a, "support", "right")
		if b.checks() != 4 {
			t.Errorf("asked %d times after Forget", b.checks())
		}
	})
}

func TestGoodPasswordIsRememberedForItsNetworkOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := fake(t, nil)
		for i, ip := range []string{"192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"} {
			if _, err := a.Authenticate(t.Context(), Credentials{Login: "support", Password: "right", Remote: netip.MustParseAddr(ip)}); err != nil {
				t.Fatal(err)
			}
			if want := []int{1, 1, 2, 3, 3, 4}[i]; b.checks() != want {
				t.Errorf("%s: asked %d times, want %d", ip, b.checks(), want)
			}
		}
	})
}

func TestBadPasswordIsNeverRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := fake(t, nil)
		if _, err := logIn(t.Context(), a, "support", "new"); err == nil {
			t.Fatal("no failure")
		}
		b.set("support", func(u *fakeUser) { u.password = "new" })
		if _, err := logIn(t.Context(), a, "support", "new"); err != nil {
			t.Errorf("the new password: %v", err)
		}
	})
}

func TestCacheCanBeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := fake(t, func(o *Options) { o.CacheTTL = -1 })
		logIn(t.Context(), a, "support", "right")
		logIn(t.Context(), a, "support", "right")
		if b.checks() != 2 {
			t.Errorf("asked %d times", b.checks())
		}
	})
}

func TestEqualAttemptsAtOnceAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := fake(t, nil)
		b.takes = 50 * time.Millisecond
		first, leave := context.WithCancel(t.Context())
		go logIn(first, a, "support", "right")
		synctest.Wait()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, err := logIn(t.Context(), a, "support", "right"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		leave() // the one who asked hangs up; the others still get the answer
		wg.Wait()
		if b.checks() != 1 {
			t.Errorf("asked %d times", b.checks())
		}
	})
}

func TestLookup(t *testing.T) {
	a, _ := fake(t, nil)
	cases := []struct {
		address, want string
		err           error // ErrNoUser or an *Error
	}{
		{"support", "support", nil},
		{"support@svc.plus", "support", nil},
		{"SUPPORT@svc.plus", "support", nil},
		{"Upper@svc.plus", "Upper", nil},
		{"self", "self", nil},
		{"expired", "expired", nil},
		{"support+x@svc.plus", "", ErrNoUser},
		{"support@example.org", "", ErrNoUser},
		{"nobody", "", ErrNoUser},
		{"../x", "", ErrNoUser},
		{"", "", ErrNoUser},
		{"root", "", ErrNoUser},
		{"daemon", "", ErrNoUser},
		{"nemo", "", ErrNoUser},
		{"broken", "", &Error{}},
	}
	for _, c := range cases {
		got, err := a.Lookup(t.Context(), c.address)
		if got.Name != c.want || (err == nil) != (c.err == nil) {
			t.Errorf("%q: %q, %v", c.address, got.Name, err)
		}
		if _, ok := errors.AsType[*Error](err); err != nil && ok == errors.Is(c.err, ErrNoUser) {
			t.Errorf("%q: %v", c.address, err)
		}
	}
}

// What a delivery asks several times is asked once; who is new or was taken away
// is seen within a second.
func TestLookupRemembersForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := fake(t, nil)
		ask := func(name string, want bool, questions int) {
			t.Helper()
			if _, err := a.Lookup(t.Context(), name); (err == nil) != want {
				t.Errorf("%s: %v", name, err)
			}
			if b.lookups != questions {
				t.Errorf("%s: the back end was asked %d times, want %d", name, b.lookups, questions)
			}
		}
		ask("support", true, 1)
		ask("support@svc.plus", true, 1)
		ask("fresh", false, 2)
		b.set("fresh", func(u *fakeUser) { *u = user("fresh", 1010, "x") })
		ask("fresh", true, 3)
		time.Sleep(lookupTTL)
		delete(b.users, "support")
		ask("support", false, 4)
		ask("fresh", true, 5)
		a.Forget()
		ask("fresh", true, 6)
	})
}

func TestOptionsCheckTellsAllProblems(t *testing.T) {
	err := Options{Domains: []string{"good.example", "bad domain", "a..b"}, MinUID: -1, CacheTTL: 2 * time.Hour,
		FailureDelay: time.Minute, MaxPerNetwork: -1, AllowNets: []netip.Prefix{{}}}.Check(t.Context())
	var problems interface{ Unwrap() []error }
	if !errors.As(err, &problems) || len(problems.Unwrap()) != 8 {
		t.Errorf("err = %v", err)
	}
	if _, err := New(Options{}); err == nil {
		t.Error("New without a back end")
	}
}

func BenchmarkAuthenticateFromMemory(b *testing.B) {
	a, _ := fake(b, nil)
	c := Credentials{Login: "support@svc.plus", Password: "right", Remote: home, Service: "imap"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}
