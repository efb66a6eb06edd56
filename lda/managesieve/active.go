package managesieve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"svc.plus/mailsrvd/internal/durable"
	"svc.plus/mailsrvd/lda/sieve"
)

// activeScript is what deliveries run.
const activeScript = ".dovecot.sieve"

// active is what is found in the place of the active script.
type active struct {
	mode fs.FileMode // its type
	any  bool        // there is something
	name string      // of the script that it is a link to, if that is one of ours
}

// active looks for it. A file of its own, or a link to elsewhere, runs at delivery,
// but has no name here: as with Pigeonhole, no script is shown as active.
func (st *store) active(home *os.Root) (active, error) {
	fi, err := home.Lstat(activeScript)
	if errors.Is(err, fs.ErrNotExist) {
		return active{}, nil
	}
	if err != nil {
		return active{}, fmt.Errorf("looking for the active script: %w", err)
	}
	a := active{mode: fi.Mode().Type(), any: true}
	if a.mode != fs.ModeSymlink {
		return a, nil
	}
	to, err := home.Readlink(activeScript)
	if err != nil {
		return a, fmt.Errorf("reading the link to the active script: %w", err)
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(st.owner.Home, to)
	}
	below, inDir := strings.CutPrefix(filepath.Clean(to), filepath.Join(st.owner.Home, dir)+"/")
	name, isScript := strings.CutSuffix(below, suffix)
	if inDir && isScript && checkName(name) == nil {
		a.name = name
	}
	return a, nil
}

// activate makes a script the active one. It is compiled before, with all that it
// includes, unless it is active already: then the link is made anew, in case
// something is wrong with it.
func (st *store) activate(ctx context.Context, name string, o sieve.Options) (warnings sieve.Problems, err error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	err = st.do(ctx, func(home *os.Root) error {
		source, err := read(home, file(name), maxRead)
		if err != nil {
			return err
		}
		a, err := st.active(home)
		if err != nil {
			return err
		}
		if a.name != name {
			if warnings, err = compile(ctx, home, name, source, o); err != nil {
				return err
			}
		}
		if err := st.rescue(home, a); err != nil {
			return err
		}
		return st.point(home, name)
	})
	return warnings, err
}

// deactivate takes the link away, so that no script is active.
func (st *store) deactivate(ctx context.Context) error {
	return st.do(ctx, func(home *os.Root) error {
		a, err := st.active(home)
		if err != nil || !a.any {
			return err
		}
		if err := st.rescue(home, a); err != nil {
			return err
		}
		if err := home.Remove(activeScript); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the link to the active script: %w", err)
		}
		return durable.SyncDir(home, ".", st.fault)
	})
}

// point makes the active script a link to name, whatever it was, at one stroke.
func (st *store) point(home *os.Root, name string) error {
	return durable.Symlink(home, file(name), activeScript, st.fault)
}

// The name under which Pigeonhole keeps an active script that was a file of its
// own. Pigeonhole overwrites an earlier one; here the next gets a number.
const rescued = "dovecot.orig"

const maxRescued = 100

// rescue keeps an active script that is a file of its own, and about to be
// replaced. What is neither file nor link is left to its owner.
func (st *store) rescue(home *os.Root, a active) error {
	switch {
	case !a.any || a.mode == fs.ModeSymlink:
		return nil
	case !a.mode.IsRegular():
		return &refusal{"", "~/" + activeScript + " is neither a file nor a link; rename what is there"}
	}
	source, err := read(home, activeScript, maxRead)
	if err != nil {
		return err
	}
	for i := range maxRescued {
		name := rescued
		if i > 0 {
			name = fmt.Sprintf("%s-%d", rescued, i+1)
		}
		old, err := read(home, file(name), maxRead)
		switch {
		case err == nil && bytes.Equal(old, source):
			return nil // it is there already
		case err == nil:
			continue
		case err != errNoScript:
			continue // something else has the name
		}
		if err := st.write(home, name, source); err != nil {
			return err
		}
		st.log.Info("the active sieve script was a file of its own, and is kept as another", "script", name)
		return nil
	}
	return &refusal{"", "~/" + activeScript + " is a file of its own, and there is no name left to keep it under; rename it"}
}
