//go:build cgo

package pam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"time"

	linuxpam "github.com/msteinert/pam/v2"
	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/asuser"
)

// maxLookups bounds the threads that wait for the user database.
const maxLookups = 32

// Backend is an auth.Backend over PAM and NSS.
type Backend struct {
	o       Options
	workers chan struct{} // one element per running transaction
	lookups chan struct{} // one element per running look-up
}

// New returns a Backend. It does not touch PAM; Options.Check does.
func New(o Options) (*Backend, error) {
	o = o.withDefaults()
	if !validService(o.Service) {
		return nil, fmt.Errorf("PAM service %q: %w", o.Service, errService)
	}
	b := &Backend{o: o, workers: make(chan struct{}, o.Workers), lookups: make(chan struct{}, maxLookups)}
	if o.Registerer != nil {
		o.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "mailsrvd_auth_pam_busy", Help: "PAM transactions under way.",
		}, func() float64 { return float64(len(b.workers)) }))
	}
	return b, nil
}

// Verify implements auth.Backend: authentication, then account management. No
// session is opened.
func (b *Backend) Verify(ctx context.Context, name, password string, remote netip.Addr) error {
	if len(password) > maxPassword {
		return auth.Fail(auth.Refused, "the password has more than %d bytes", maxPassword)
	}
	if err := b.acquire(ctx); err != nil {
		return err
	}
	answer := make(chan error, 1)
	go func() {
		defer func() { <-b.workers }()
		answer <- b.o.Groups.Do(func() error { return b.transact(name, password, remote) })
	}()
	select {
	case err := <-answer:
		if err == nil {
			return nil
		}
		return auth.AsError(err)
	case <-ctx.Done():
		return auth.Fail(auth.Unavailable, "PAM gave no answer: %w", context.Cause(ctx))
	}
}

// acquire takes a worker's place.
func (b *Backend) acquire(ctx context.Context) error {
	timer := time.NewTimer(b.o.Wait)
	defer timer.Stop()
	select {
	case b.workers <- struct{}{}:
		return nil
	case <-timer.C:
		return auth.Fail(auth.Unavailable, "all %d PAM workers were busy for %v", b.o.Workers, b.o.Wait)
	case <-ctx.Done():
		return auth.Fail(auth.Unavailable, "waiting for a PAM worker: %w", context.Cause(ctx))
	}
}

// transact runs one PAM transaction on this thread.
func (b *Backend) transact(name, password string, remote netip.Addr) error {
	runtime.LockOSThread() // modules may keep state per thread
	defer runtime.UnlockOSThread()
	talk := &conversation{password: password}
	t, err := b.start(name, talk)
	if err != nil {
		return auth.Fail(auth.Unavailable, "starting PAM: %w", err)
	}
	defer t.End()
	skipFailDelay(t)
	if remote.IsValid() {
		if err := t.SetItem(linuxpam.Rhost, remote.Unmap().WithZone("").String()); err != nil {
			return auth.Fail(auth.Unavailable, "telling PAM the remote host: %w", err)
		}
	}
	err = t.Authenticate(linuxpam.DisallowNullAuthtok)
	if err != nil {
		return talk.explain(phaseAuth, err)
	}
	if got, err := t.GetItem(linuxpam.User); err != nil || got != name {
		return auth.Fail(auth.Refused, "PAM changed the user to %q: %w", got, errors.Join(err, errRenamed))
	}
	if err := t.AcctMgmt(linuxpam.DisallowNullAuthtok); err != nil {
		return talk.explain(phaseAccount, err)
	}
	return nil
}

var errRenamed = errors.New("a different user is not accepted")

func (b *Backend) start(name string, c *conversation) (*linuxpam.Transaction, error) {
	if b.o.ConfDir != "" {
		return linuxpam.StartConfDir(b.o.Service, name, c, b.o.ConfDir)
	}
	return linuxpam.Start(b.o.Service, name, c)
}

// conversation answers the modules' questions of one transaction.
type conversation struct {
	password string
	said     []string
}

var errPrompt = errors.New("a mail client cannot answer that")

// RespondPAM implements the library's ConversationHandler. The hidden prompt is
// for the password; a visible one (a user name, a one-time code) has no answer.
func (c *conversation) RespondPAM(style linuxpam.Style, text string) (string, error) {
	switch style {
	case linuxpam.PromptEchoOff:
		return c.password, nil
	case linuxpam.ErrorMsg, linuxpam.TextInfo:
		if len(c.said) < 8 {
			c.said = append(c.said, strings.TrimSpace(text))
		}
		return "", nil
	}
	return "", fmt.Errorf("%q: %w", text, errPrompt)
}

// phase is the part of a transaction that failed.
type phase string

const (
	phaseAuth    phase = "authentication"
	phaseAccount phase = "account"
)

// explain turns PAM's error into ours, with what the modules said.
func (c *conversation) explain(p phase, err error) error {
	var code linuxpam.Error
	if !errors.As(err, &code) {
		return auth.Fail(auth.Unavailable, "PAM %s: %w", p, err)
	}
	said := ""
	if len(c.said) > 0 {
		said = fmt.Sprintf(" (%s)", strings.Join(c.said, "; "))
	}
	return auth.Fail(kindOf(p, code), "PAM %s: %w, code %d%s", p, err, int(code), said)
}

// kindOf tells what a PAM code means to a client. Before the password was
// found right (phaseAuth), expiry and refusal look like a wrong password: a
// stranger shall not learn the state of an account. Everything that is not
// about the user is our trouble and may heal.
func kindOf(p phase, code linuxpam.Error) auth.Kind {
	switch code {
	case linuxpam.ErrAuth, linuxpam.ErrUserUnknown, linuxpam.ErrMaxtries, linuxpam.ErrPermDenied:
		if p == phaseAuth {
			return auth.Refused
		}
		return auth.Disabled
	case linuxpam.ErrAcctExpired, linuxpam.ErrNewAuthtokReqd, linuxpam.ErrAuthtokExpired, linuxpam.ErrCredExpired:
		if p == phaseAuth {
			return auth.Refused
		}
		return auth.Expired
	}
	return auth.Unavailable
}

// Lookup implements auth.Backend by the system's user database.
func (b *Backend) Lookup(ctx context.Context, name string) (auth.Account, error) {
	type answer struct {
		u   *user.User
		err error
	}
	select {
	case b.lookups <- struct{}{}:
	case <-ctx.Done():
		return auth.Account{}, auth.Fail(auth.Unavailable, "waiting for the user database: %w", context.Cause(ctx))
	}
	got := make(chan answer, 1)
	go func() {
		defer func() { <-b.lookups }()
		u, err := user.Lookup(name)
		got <- answer{u, err}
	}()
	select {
	case a := <-got:
		return account(a.u, a.err)
	case <-ctx.Done():
		return auth.Account{}, auth.Fail(auth.Unavailable, "the user database gave no answer: %w", context.Cause(ctx))
	}
}

// account reads what NSS says. The name is the one that the database uses.
func account(u *user.User, err error) (auth.Account, error) {
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		return auth.Account{}, fmt.Errorf("%w: %q is not in the user database", auth.ErrNoUser, string(unknown))
	}
	if err != nil {
		return auth.Account{}, auth.Fail(auth.Unavailable, "user database: %w", err)
	}
	uid, uerr := strconv.Atoi(u.Uid)
	gid, gerr := strconv.Atoi(u.Gid)
	if err := errors.Join(uerr, gerr); err != nil {
		return auth.Account{}, auth.Fail(auth.Unavailable, "user database, %q: %w", u.Username, err)
	}
	if strings.ContainsAny(u.Username, "/\x00") || !strings.HasPrefix(u.HomeDir, "/") {
		return auth.Account{}, fmt.Errorf("%w: user database: name %q with home %q", auth.ErrNoUser, u.Username, u.HomeDir)
	}
	owner := asuser.Owner{Name: u.Username, UID: uid, GID: gid, Home: u.HomeDir}
	return auth.Account{Name: u.Username, Owner: owner}, nil
}
