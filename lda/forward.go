package lda

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/lda/sieve"
)

// forwardFile is where a user says to whom his mail goes instead (Sendmail's and
// Postfix's ~/.forward): targets as in an alias file, on one or more lines. His own
// name, or a name with a backslash, keeps a copy. Programs run as he himself, if the
// configuration allows that; files are refused.
const forwardFile = ".forward"

// forwarding is what a user's file says.
type forwarding struct {
	to       []*sieve.Redirect
	programs []string
	keep     bool
}

// forwards reads the user's file; nil without one.
func (a *Agent) forwards(ctx context.Context, d delivery) (*forwarding, error) {
	var text []byte
	err := asuser.Do(ctx, d.account.Owner, func() error {
		path := filepath.Join(d.account.Owner.Home, forwardFile)
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		if int(st.Uid) != d.account.Owner.UID || st.Mode&0o022 != 0 {
			return errors.New("~/.forward counts only if it is the user's own and nobody else may write it")
		}
		var err error
		text, err = readScript(path)
		return err
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	f, err := a.parseForward(d.account.Name, string(text))
	if f == nil || err != nil {
		return nil, err
	}
	for _, command := range f.programs {
		if err := a.mayPipe(d.account, command); err != nil {
			return nil, fmt.Errorf("~/.forward: |%s: %w", command, err)
		}
	}
	return f, nil
}

// parseForward reads the content of a file.
func (a *Agent) parseForward(user, text string) (*forwarding, error) {
	f := &forwarding{}
	n := 0
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		for _, item := range splitTargets(line) {
			to, err := parseTarget(item)
			if err != nil {
				return nil, fmt.Errorf("~/.forward: %w", err)
			}
			if n++; n > a.o.MaxTargets {
				return nil, errors.New("~/.forward names too many addresses")
			}
			switch {
			case to.kind == toInclude:
				return nil, errors.New("~/.forward may not include other files")
			case to.kind == toNothing:
			case to.kind == toProgram:
				f.programs = append(f.programs, to.local)
			case to.kind == toUser, strings.EqualFold(to.local, user) && (to.domain == "" || a.domains.local(canonicalDomain(to.domain))):
				f.keep = true
			case to.domain == "":
				f.to = append(f.to, &sieve.Redirect{Address: joinAddress(to.local, a.domains.first)})
			default:
				f.to = append(f.to, &sieve.Redirect{Address: joinAddress(to.local, to.domain)})
			}
		}
	}
	if n == 0 { // an empty file is none
		return nil, nil
	}
	return f, nil
}
