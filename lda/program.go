package lda

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/asuser"
)

// Programs says which programs mail may be piped into.
type Programs struct {
	// Allowed are absolute paths. Only these are run, with any arguments.
	Allowed []string
	// User is the system user that programs of aliases run as.
	User string
	// Time bounds one run; 0 is a minute.
	Time time.Duration
	// Forward lets ~/.forward name them too; then they run as the user himself.
	Forward bool

	onlyForward bool // there are no aliases, so User does not matter
}

// ofUser is what counts for a command that knows no aliases: programs of ~/.forward.
func (p *Programs) ofUser() *Programs {
	if p == nil || !p.Forward {
		return nil
	}
	q := *p
	q.onlyForward = true
	return &q
}

// maxPrograms bounds the programs that run at one time.
const maxPrograms = 8

// maxCommand bounds a command in bytes.
const maxCommand = 4 << 10

// commandText makes of what follows the "|" of a target a command that
// commandWords reads: quotes around the whole of it are taken off, as in
// |"/bin/x y". It is checked for what only a shell would understand.
func commandText(s string) (string, error) {
	s = strings.TrimSpace(s)
	if whole, ok := unquote(s); ok {
		s = whole
	}
	words, err := commandWords(s)
	switch {
	case err != nil:
		return "", err
	case len(words) == 0:
		return "", errors.New("there is no program after the |")
	case !filepath.IsAbs(words[0]) || filepath.Clean(words[0]) != words[0]:
		return "", fmt.Errorf("%s is not the whole path of a program", words[0])
	}
	return s, nil
}

// commandWords splits a command at white space, but not within '…' or "…". There
// is no shell: what would mean something to one is an error, for it would mean
// nothing here.
func commandWords(s string) ([]string, error) {
	if len(s) > maxCommand {
		return nil, errors.New("the command is too long")
	}
	var words []string
	var word strings.Builder
	quote, started := rune(0), false
	for _, c := range s {
		switch {
		case c < ' ' && c != '\t' || c == 0x7f || c == '\ufffd':
			return nil, errors.New("the command has a control character")
		case c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, started = c, true
		case c == ' ' || c == '\t':
			if started {
				words = append(words, word.String())
			}
			word.Reset()
			started = false
		case strings.ContainsRune("$`;&|<>()\\", c):
			return nil, fmt.Errorf("%q means nothing here, since no shell is run; put it in '', or write a script", c)
		default:
			word.WriteRune(c)
			started = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote of the command does not end")
	}
	if started {
		words = append(words, word.String())
	}
	return words, nil
}

// mayRun is nil if the administrator allows the program of a command.
func (p *Programs) mayRun(command string) error {
	words, err := commandWords(command)
	if err != nil || len(words) == 0 {
		return fmt.Errorf("the command |%s cannot be read: %w", command, err)
	}
	if p == nil || !slices.Contains(p.Allowed, words[0]) {
		return fmt.Errorf("the program %s is not run, since pipe_programs of [aliases] does not name it; add it there, or let the program fetch its mail by IMAP", words[0])
	}
	return nil
}

// owner is whom programs of aliases run as.
func (p *Programs) owner() (asuser.Owner, error) {
	u, err := user.Lookup(p.User)
	if err != nil {
		return asuser.Owner{}, fmt.Errorf("looking up the user for programs: %w", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	switch err := errors.Join(err1, err2); {
	case err != nil:
		return asuser.Owner{}, fmt.Errorf("the user %s for programs: %w", p.User, err)
	case uid == 0 || gid == 0:
		return asuser.Owner{}, fmt.Errorf("programs as %s: %w", p.User, asuser.ErrRoot)
	case uid == os.Geteuid():
		return asuser.Owner{}, fmt.Errorf("%s is whom we run as ourselves, whose queue and keys a program must not have", p.User)
	}
	return asuser.Owner{Name: u.Username, UID: uid, GID: gid, Home: u.HomeDir}, nil
}

// check returns all problems of the option: the user, and programs that are not
// there or that this process may not execute.
func (p *Programs) check() (problems []error) {
	if p == nil || len(p.Allowed) == 0 {
		return nil
	}
	if _, err := p.owner(); err != nil {
		problems = append(problems, err)
	}
	for _, path := range p.Allowed {
		fi, err := os.Stat(path)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("a program for aliases: %w", err))
		case !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0:
			problems = append(problems, fmt.Errorf("a program for aliases: %s is no executable file", path))
		case fi.Mode()&0o002 != 0:
			problems = append(problems, fmt.Errorf("a program for aliases: everybody may write %s; chmod o-w it", path))
		case unix.Access(path, unix.X_OK) != nil:
			problems = append(problems, fmt.Errorf("a program for aliases: %s cannot be executed from here; the systemd unit lets programs run below /usr and /lib alone (ExecPaths)", path))
		}
	}
	return problems
}
