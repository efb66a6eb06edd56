package auth

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
)

// Authenticator is what all protocols ask. It is safe for concurrent use.
type Authenticator struct {
	o        Options
	domains  domainSet
	cache    *cache
	lookups  lookups
	throttle *throttle
	flight   singleflight.Group // equal attempts at the same time ask once
	metrics  metrics
}

// New returns an Authenticator, or all that Options.Check finds wrong.
func New(o Options) (*Authenticator, error) {
	if err := o.Check(context.Background()); err != nil {
		return nil, fmt.Errorf("setting up authentication: %w", err)
	}
	o = o.withDefaults()
	return &Authenticator{
		o:        o,
		domains:  newDomainSet(o.Domains),
		cache:    newCache(o.CacheTTL),
		throttle: newThrottle(o),
		metrics:  newMetrics(o.Registerer),
	}, nil
}

// Authenticate checks a login and returns its account, or an *Error. It
// answers failures late (Options.FailureDelay, and more after many), unless
// ctx ends first. Each failure is logged here once, so callers need not.
func (a *Authenticator) Authenticate(ctx context.Context, c Credentials) (Account, error) {
	began := time.Now()
	acct, err := a.attempt(ctx, c)
	a.report(ctx, c, acct, AsError(err), time.Since(began))
	if err != nil {
		return Account{}, AsError(err)
	}
	return acct, nil
}

// attempt is Authenticate without the log.
func (a *Authenticator) attempt(ctx context.Context, c Credentials) (Account, error) {
	began := time.Now()
	name, bad := a.canonical(ctx, c)
	spent := time.Since(began)
	key := a.cache.proof(name, c.Password, c.Remote)
	if bad == nil {
		if acct, ok := a.cache.get(key); ok {
			a.metrics.cacheHits.Inc()
			return acct, nil
		}
	}
	leave, err := a.throttle.enter(ctx, c.Remote)
	if err != nil {
		return Account{}, err
	}
	defer leave()
	if err := sleep(ctx, a.throttle.delay(c.Remote, name)); err != nil {
		return Account{}, err
	}
	// A failure takes the same time for every reason, the look-up of the name
	// included.
	pad := time.NewTimer(a.o.FailureDelay - spent)
	defer pad.Stop()
	acct, err := Account{}, bad
	if bad == nil {
		acct, err = a.verify(ctx, key, name, c)
	}
	if err == nil {
		a.cache.put(key, acct)
		a.throttle.succeeded(c.Remote, name)
		return acct, nil
	}
	if AsError(err).Kind == Refused {
		if guess, stranger := a.throttle.failed(c.Remote, name, c.Password); stranger && a.o.Failed != nil {
			a.o.Failed(c.Remote, guess)
		}
	}
	select {
	case <-pad.C:
	case <-ctx.Done():
	}
	return Account{}, err
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return Fail(Unavailable, "waiting after earlier failures: %w", context.Cause(ctx))
	}
}

// canonical gives the user name that the login means. The name is returned
// with the error too, for the count of failures.
func (a *Authenticator) canonical(ctx context.Context, c Credentials) (string, error) {
	name, err := a.domains.userName(c.Login)
	if err == nil {
		err = checkPassword(c.Password)
	}
	if err != nil {
		return name, &Error{Kind: Refused, Cause: err}
	}
	return a.systemCase(ctx, name), nil
}

// systemCase lets "Support" mean "support": phones like to begin with a
// capital. A user whose name really has capitals is found first.
func (a *Authenticator) systemCase(ctx context.Context, name string) string {
	lower := strings.ToLower(name)
	if lower == name {
		return name
	}
	if _, err := a.o.Backend.Lookup(ctx, name); !errors.Is(err, ErrNoUser) {
		return name
	}
	return lower
}

// verify asks the back end. Equal attempts at one time share the answer: a
// client that opens five connections costs one check. The question is not
// bound to the first asker's connection.
func (a *Authenticator) verify(ctx context.Context, key proof, name string, c Credentials) (Account, error) {
	answer := a.flight.DoChan(hex.EncodeToString(key[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.o.VerifyTimeout)
		defer cancel()
		return a.ask(ctx, name, c.Password, c.Remote)
	})
	select {
	case r := <-answer:
		acct, _ := r.Val.(Account)
		return acct, r.Err
	case <-ctx.Done():
		return Account{}, Fail(Unavailable, "waiting for the password check: %w", context.Cause(ctx))
	}
}

func (a *Authenticator) ask(ctx context.Context, name, password string, remote netip.Addr) (Account, error) {
	acct, err := a.o.Backend.Lookup(ctx, name)
	if errors.Is(err, ErrNoUser) {
		// Asked all the same, so that an unknown name takes as long as a wrong
		// password even where the back end is slower than our own delay.
		err := a.o.Backend.Verify(ctx, name, password, remote)
		if err != nil && AsError(err).Kind == Unavailable {
			return Account{}, err
		}
		return Account{}, &Error{Kind: Refused, Cause: ErrNoUser}
	}
	if err != nil {
		return Account{}, AsError(fmt.Errorf("looking up the account: %w", err))
	}
	if err := a.mayHaveMail(acct); err != nil {
		// Not asked: nobody shall try root's password on the mail ports.
		return Account{}, &Error{Kind: Refused, Cause: err}
	}
	if err := a.o.Backend.Verify(ctx, name, password, remote); err != nil {
		return Account{}, AsError(err)
	}
	return acct, nil
}

// overflowUID is what the kernel shows for owners that it cannot map, and the
// system's user "nobody": no files shall belong to it.
const overflowUID = 65534

// mayHaveMail keeps root and the system's own users out.
func (a *Authenticator) mayHaveMail(acct Account) error {
	switch o := acct.Owner; {
	case acct.Self:
		return nil
	case o.UID <= 0 || o.GID <= 0:
		return fmt.Errorf("uid %d, gid %d: root has no mail here", o.UID, o.GID)
	case o.UID < a.o.MinUID:
		return fmt.Errorf("uid %d is less than min_uid %d", o.UID, a.o.MinUID)
	case o.UID == overflowUID:
		return fmt.Errorf("uid %d is nobody", o.UID)
	}
	return nil
}

// Lookup finds the account that a name or an address with a local domain
// belongs to, without a password: for delivery. It returns ErrNoUser when there
// is none that may have mail; any other error is an *Error that may heal. Plus
// details are not taken off. What was found is remembered for a second.
func (a *Authenticator) Lookup(ctx context.Context, address string) (Account, error) {
	name, err := a.domains.userName(address)
	if err != nil {
		return Account{}, fmt.Errorf("%w: %w", ErrNoUser, err)
	}
	if acct, ok := a.lookups.get(name); ok {
		return acct, nil
	}
	acct, err := a.o.Backend.Lookup(ctx, name)
	if lower := strings.ToLower(name); errors.Is(err, ErrNoUser) && lower != name {
		acct, err = a.o.Backend.Lookup(ctx, lower)
	}
	switch {
	case errors.Is(err, ErrNoUser):
		return Account{}, err
	case err != nil:
		return Account{}, AsError(fmt.Errorf("looking up the account: %w", err))
	}
	if err := a.mayHaveMail(acct); err != nil {
		return Account{}, fmt.Errorf("%w: %w", ErrNoUser, err)
	}
	a.lookups.put(name, acct)
	return acct, nil
}

// Forget empties the memory of good passwords and of accounts, as on a reload.
func (a *Authenticator) Forget() {
	a.cache.forget()
	a.lookups.forget()
}

// report writes the log line and the metrics of one attempt. The texts and the
// order of the first attributes are fixed: deploy/fail2ban reads them. "auth
// failed" is a wrong guess and may be banned; "auth denied" had the right
// password, "auth unavailable" is our own trouble.
func (a *Authenticator) report(ctx context.Context, c Credentials, acct Account, e *Error, took time.Duration) {
	a.metrics.observe(c.Service, e, took)
	attrs := []any{"user", clip(c.Login), "ip", ipText(c.Remote), "service", c.Service}
	if e == nil {
		a.o.Logger.DebugContext(ctx, "auth ok", append(attrs, "account", acct.Name, "dur", took)...)
		return
	}
	level, text := slog.LevelWarn, "auth failed"
	switch e.Kind {
	case Expired, Disabled:
		text = "auth denied"
	case Unavailable:
		level, text = slog.LevelError, "auth unavailable"
		if errors.Is(e, context.Canceled) { // the client left
			level = slog.LevelInfo
		}
	}
	a.o.Logger.Log(ctx, level, text, append(attrs, "kind", e.Kind.String(), "dur", took, "err", cmp.Or(e.Cause, error(e)))...)
}

// clip keeps what a stranger may write into one log line short.
func clip(login string) string {
	if len(login) > maxLogin {
		login = login[:maxLogin] + "…"
	}
	return cmp.Or(login, "-")
}

func ipText(a netip.Addr) string {
	if !a.IsValid() {
		return "-"
	}
	return a.Unmap().WithZone("").String()
}
