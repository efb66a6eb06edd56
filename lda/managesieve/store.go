package managesieve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/durable"
	"svc.plus/mailsrvd/lda/sieve"
)

// store is one user's scripts, as one session has them. All paths are below an
// os.Root on the home directory, and everything is done with the user's rights: a
// link that he planted leads nowhere that he could not go himself, nor out of his
// home.
type store struct {
	owner asuser.Owner
	turn  chan struct{} // held while at work; shared by the user's sessions
	most  int           // how many scripts there may be
	log   *slog.Logger
	fault durable.Fault // for tests
}

// do runs fn as the user on his home directory, when it is this session's turn.
func (st *store) do(ctx context.Context, fn func(home *os.Root) error) error {
	select {
	case st.turn <- struct{}{}:
		defer func() { <-st.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return asuser.Do(ctx, st.owner, func() error {
		home, err := os.OpenRoot(st.owner.Home)
		if err != nil {
			return fmt.Errorf("opening the home directory: %w", err)
		}
		defer home.Close()
		return st.explained(home, fn(home))
	})
}

// roomFor refuses a new script beside too many others.
func (st *store) roomFor(home *os.Root, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	list, err := names(home)
	if err != nil {
		return err
	}
	if _, found := slices.BinarySearch(list, name); !found && len(list) >= st.most {
		return &refusal{"QUOTA/MAXSCRIPTS", fmt.Sprintf("There may be %d scripts", st.most)}
	}
	return nil
}

// room is roomFor for the asking.
func (st *store) room(ctx context.Context, name string) error {
	return st.do(ctx, func(home *os.Root) error { return st.roomFor(home, name) })
}

// list returns the names of the scripts, sorted, and the active one; "" if there is
// none, or it is none of them.
func (st *store) list(ctx context.Context) (list []string, active string, err error) {
	err = st.do(ctx, func(home *os.Root) error {
		if list, err = names(home); err != nil {
			return err
		}
		a, err := st.active(home)
		active = a.name
		return err
	})
	return list, active, err
}

// get returns a script.
func (st *store) get(ctx context.Context, name string) (source []byte, err error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	err = st.do(ctx, func(home *os.Root) error {
		source, err = read(home, file(name), maxRead)
		return err
	})
	return source, err
}

// compile checks a script as a delivery would. Scripts that it includes are the
// user's, or o's.
func compile(ctx context.Context, home *os.Root, name string, source []byte, o sieve.Options) (sieve.Problems, error) {
	shared := o.Include
	o.Include = func(ctx context.Context, from sieve.Location, included string) ([]byte, error) {
		switch {
		case from == sieve.Personal && included == name:
			return source, nil // not what it replaces
		case from == sieve.Personal:
			b, err := read(home, file(included), o.Limits.ScriptSize)
			if err == errNoScript {
				err = fs.ErrNotExist
			}
			return b, err
		case shared == nil:
			return nil, fs.ErrNotExist
		}
		return shared(ctx, from, included)
	}
	script, err := sieve.Compile(ctx, name, source, o)
	if err != nil {
		return nil, err
	}
	return script.Warnings(), nil
}

// check compiles a script without storing it.
func (st *store) check(ctx context.Context, source []byte, o sieve.Options) (warnings sieve.Problems, err error) {
	o.Missing = true
	err = st.do(ctx, func(home *os.Root) error {
		warnings, err = compile(ctx, home, "", source, o)
		return err
	})
	return warnings, err
}

// put stores a script, if it has no mistakes. One of that name is replaced.
func (st *store) put(ctx context.Context, name string, source []byte, o sieve.Options) (warnings sieve.Problems, err error) {
	if len(source) == 0 { // RFC 5804 section 2.6
		return nil, &refusal{"", "A script must not be empty; to use none, deactivate it"}
	}
	o.Missing = true
	err = st.do(ctx, func(home *os.Root) error {
		if err := st.roomFor(home, name); err != nil {
			return err
		}
		if warnings, err = compile(ctx, home, name, source, o); err != nil {
			return err
		}
		return st.write(home, name, source)
	})
	return warnings, err
}

// write makes a script durable, and the directory if need be.
func (st *store) write(home *os.Root, name string, source []byte) error {
	err := home.Mkdir(dir, 0o700)
	switch {
	case err == nil:
		if err := durable.SyncDir(home, ".", st.fault); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return fmt.Errorf("making the directory: %w", err)
	}
	return durable.WriteFile(home, file(name), 0o600, st.fault, func(w io.Writer) error {
		_, err := w.Write(source)
		return err
	})
}

// remove deletes a script that is not the active one.
func (st *store) remove(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return st.do(ctx, func(home *os.Root) error {
		if err := exists(home, name); err != nil {
			return err
		}
		a, err := st.active(home)
		if err != nil {
			return err
		}
		if a.name == name {
			return errIsActive
		}
		if err := home.Remove(file(name)); err != nil {
			return fmt.Errorf("deleting a script: %w", err)
		}
		return durable.SyncDir(home, dir, st.fault)
	})
}

// rename gives a script another name. An active one stays active, at every moment:
// it has both names until the link is the new one's.
func (st *store) rename(ctx context.Context, from, to string) error {
	if err := errors.Join(checkName(from), checkName(to)); err != nil {
		return err
	}
	return st.do(ctx, func(home *os.Root) error {
		if err := exists(home, from); err != nil {
			return err
		}
		a, err := st.active(home)
		if err != nil {
			return err
		}
		if err := home.Link(file(from), file(to)); errors.Is(err, fs.ErrExist) {
			return errTaken
		} else if err != nil {
			return fmt.Errorf("renaming a script: %w", err)
		}
		err = durable.SyncDir(home, dir, st.fault)
		if err == nil && a.name == from {
			err = st.point(home, to)
		}
		if err != nil {
			if now, lookErr := st.active(home); lookErr == nil && now.name != to {
				home.Remove(file(to))
			}
			return err
		}
		if err := home.Remove(file(from)); err != nil {
			return fmt.Errorf("removing the old name of a script: %w", err)
		}
		return durable.SyncDir(home, dir, st.fault)
	})
}
