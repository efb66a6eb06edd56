// Package passwdfile keeps accounts in a file of Dovecot's passwd-file format,
// one a line:
//
//	alice:{SHA512-CRYPT}$6$salt$hash:1000:1000:gecos:/home/alice:shell:userdb_mail=maildir:~/Mail
//
// Only the first two fields are needed. Empty uid and gid mean the daemon's own
// identity: tests, "mailsrvd dev" and containers work so, without privileges
// and without system users. The file is read again when it changes; a file
// with mistakes is refused whole, with every mistake named by its line, and
// the accounts of the last good one stay.
package passwdfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/asuser"
)

// maxFile bounds the file, in bytes; 16 MiB hold about 100,000 accounts.
const maxFile = 16 << 20

// Options says where the file is and what its short lines mean.
type Options struct {
	// Path is the passwd-file.
	Path string
	// Homes is the directory below which an account without a home has one of
	// its own name; empty makes the home a needed field.
	Homes string
	// Groups lends the daemon's groups to the thread that reads the file; nil
	// means that the process has them.
	Groups *asuser.Groups
	// Logger gets what happens at a reload; nil means none.
	Logger *slog.Logger
}

// Backend is an auth.Backend over the file. It is safe for concurrent use.
type Backend struct {
	o     Options
	slots chan struct{} // bounds the hashes computed at one time
	dummy hash          // what an unknown name is compared with

	mu    sync.Mutex // guards all below; held while the file is read
	users map[string]Entry
	state fileState
}

// fileState tells one content of the file from the next.
type fileState struct {
	ino, size    int64
	mtime, ctime unix.Timespec
}

// Open reads the file. Mistakes in it are an error; later mistakes are logged
// and the accounts stay as they were.
func Open(o Options) (*Backend, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Backend{o: o, slots: make(chan struct{}, min(2*runtime.NumCPU(), 16)), dummy: dummyHash()}
	users, state, err := b.read()
	if err != nil {
		return nil, err
	}
	b.users, b.state = users, state
	return b, nil
}

// Check returns all problems of the file, each with path and line.
func (o Options) Check(context.Context) error {
	_, err := Open(o)
	return err
}

// Warnings returns what works but not well, with path and line.
func (o Options) Warnings() []string {
	b := &Backend{o: o}
	text, _, err := b.content()
	if err != nil {
		return nil // Check tells
	}
	var w []string
	for _, p := range parse(text, o.Homes).warnings {
		w = append(w, fmt.Sprintf("%s:%s", o.Path, p))
	}
	return w
}

// Names lists the accounts, in order. Mistakes in the file are an error.
func (o Options) Names() ([]string, error) {
	b, err := Open(o)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(b.users)), nil
}

// Verify implements auth.Backend.
func (b *Backend) Verify(ctx context.Context, name, password string, _ netip.Addr) error {
	e, known := b.entry(ctx, name)
	h := e.hash
	if !known || h == nil {
		h = b.dummy
	}
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return auth.Fail(auth.Unavailable, "waiting to compute a hash: %w", context.Cause(ctx))
	}
	ok := h.matches(password)
	<-b.slots
	switch {
	case !known:
		return &auth.Error{Kind: auth.Refused, Cause: auth.ErrNoUser}
	case e.hash == nil:
		return auth.Fail(auth.Refused, "%s line %d: the account has no password", b.o.Path, e.Line)
	case !ok:
		return auth.Fail(auth.Refused, "wrong password")
	case e.NoLogin:
		return auth.Fail(auth.Disabled, "%s line %d: nologin is set", b.o.Path, e.Line)
	}
	return nil
}

// Lookup implements auth.Backend.
func (b *Backend) Lookup(ctx context.Context, name string) (auth.Account, error) {
	e, ok := b.entry(ctx, name)
	if !ok {
		return auth.Account{}, fmt.Errorf("%w: %q is not in %s", auth.ErrNoUser, name, b.o.Path)
	}
	return e.account(), nil
}

// entry finds a name in the newest good file.
func (b *Backend) entry(ctx context.Context, name string) (Entry, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh(ctx)
	e, ok := b.users[name]
	return e, ok
}

// refresh reads the file again if it changed; a stat costs two microseconds. A
// failure is logged once per state of the file. The caller holds b.mu.
func (b *Backend) refresh(ctx context.Context) {
	var st unix.Stat_t
	err := b.o.Groups.Do(func() error { return unix.Stat(b.o.Path, &st) })
	if err == nil && stateOf(&st) == b.state {
		return
	}
	users, state, err := b.read()
	if err != nil {
		if state != b.state {
			b.o.Logger.ErrorContext(ctx, "passwd-file refused, the accounts stay as they were", "path", b.o.Path, "err", err)
		}
		b.state = state
		return
	}
	b.o.Logger.InfoContext(ctx, "passwd-file read again", "path", b.o.Path, "accounts", len(users))
	b.users, b.state = users, state
}

func (b *Backend) read() (map[string]Entry, fileState, error) {
	text, state, err := b.content()
	if err != nil {
		return nil, state, err
	}
	p := parse(text, b.o.Homes)
	var problems []error
	for _, s := range p.problems {
		problems = append(problems, fmt.Errorf("%s:%s", b.o.Path, s))
	}
	return p.users, state, errors.Join(problems...)
}

// content reads the whole file and the state it had.
func (b *Backend) content() (text string, state fileState, err error) {
	err = b.o.Groups.Do(func() error {
		f, err := os.Open(b.o.Path)
		if err != nil {
			return fmt.Errorf("opening the passwd-file: %w", err)
		}
		defer f.Close()
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return fmt.Errorf("reading the passwd-file %s: %w", b.o.Path, err)
		}
		state = stateOf(&st)
		data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
		if err != nil {
			return fmt.Errorf("reading the passwd-file: %w", err)
		}
		if len(data) > maxFile {
			return fmt.Errorf("the passwd-file %s is larger than %d bytes", b.o.Path, maxFile)
		}
		text = string(data)
		return nil
	})
	return text, state, err
}

func stateOf(st *unix.Stat_t) fileState {
	return fileState{ino: int64(st.Ino), size: st.Size, mtime: st.Mtim, ctime: st.Ctim}
}
