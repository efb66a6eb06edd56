package managesieve

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/lda/sieve"
)

// Where Pigeonhole keeps a user's scripts, below the home directory, and where
// deliveries look: package lda reads the same places.
//
//	~/sieve/NAME.sieve   the scripts
//	~/.dovecot.sieve     the active one: a link, "sieve/NAME.sieve"
//
// Other programs may change them at any time: an editor, Pigeonhole, a delivery that
// reads. So everything is done by steps of which each leaves a whole state: a new
// script gets its name by rename, as the new link does.
const (
	dir    = "sieve"
	suffix = ".sieve"
)

// maxName is how long a name may be in bytes: with the suffix of a temporary file it
// must fit into 255.
const maxName = 255 - len(suffix+".tmp")

// maxEntries bounds how much of a directory is looked at.
const maxEntries = 50_000

// maxRead is how long a script may be that is read: deliveries read no more.
const maxRead = 1 << 20

// explained gives the client a reason for errors that its user can do something
// about.
func (st *store) explained(home *os.Root, err error) error {
	_, refused := errors.AsType[*refusal](err)
	_, mistakes := errors.AsType[sieve.Problems](err)
	switch {
	case err == nil || refused || mistakes:
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return errNoSpace
	case errors.Is(err, fs.ErrPermission):
		st.log.Info("managesieve: the user has not the right", "err", err)
		return &refusal{"", "The rights on ~/" + dir + " or a file in it do not allow that"}
	case errors.Is(err, unix.ENOTDIR):
		return &refusal{"", "~/" + dir + " is no directory; rename what is there"}
	}
	if to, linkErr := home.Readlink(dir); linkErr == nil {
		if _, statErr := home.Stat(dir); statErr != nil {
			return &refusal{"", "~/" + dir + " is a link to " + to + ", which must be a directory below the home, by a relative path"}
		}
	}
	return err
}

// file is the path of a script.
func file(name string) string { return dir + "/" + name + suffix }

// checkName refuses what cannot be a name (RFC 5804 section 1.6).
func checkName(name string) error {
	switch {
	case len(name) > maxName:
		return errNameLength
	case !sieve.IsScriptName(name):
		return errBadName
	}
	return nil
}

// read reads a regular file of at most limit bytes; what is none, such as a FIFO,
// must hold nobody up.
func read(home *os.Root, path string, limit int) ([]byte, error) {
	f, err := home.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, missing(err)
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, &refusal{"", "~/" + path + " is no regular file"}
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("reading a script: %w", err)
	}
	if len(b) > limit {
		return nil, &refusal{"", fmt.Sprintf("~/%s is longer than the %d bytes that a script may have", path, limit)}
	}
	return b, nil
}

// exists returns errNoScript unless the script is a regular file, or a link to one
// below the home.
func exists(home *os.Root, name string) error {
	fi, err := home.Stat(file(name))
	if err != nil {
		return missing(err)
	}
	if !fi.Mode().IsRegular() {
		return errNoScript
	}
	return nil
}

// missing is errNoScript for what is not there, or a link that leads nowhere or out
// of the home, which is no error of the kernel's; other errors stay.
func missing(err error) error {
	var number unix.Errno
	if !errors.As(err, &number) || number == unix.ENOENT || number == unix.ELOOP {
		return errNoScript
	}
	return fmt.Errorf("opening a script: %w", err)
}

// names lists the scripts, sorted.
func names(home *os.Root) ([]string, error) {
	d, err := home.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := home.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the scripts: %w", err)
	}
	defer d.Close()
	var list []string
	for seen := 0; ; {
		entries, err := d.ReadDir(512)
		for _, e := range entries {
			name, isScript := strings.CutSuffix(e.Name(), suffix)
			if !isScript || checkName(name) != nil {
				continue
			}
			if e.Type().IsRegular() || e.Type()&fs.ModeSymlink != 0 && exists(home, name) == nil {
				list = append(list, name)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("listing the scripts: %w", err)
		}
		if seen += len(entries); seen > maxEntries {
			return nil, &refusal{"", fmt.Sprintf("~/%s has more than %d files", dir, maxEntries)}
		}
	}
	slices.Sort(list)
	return list, nil
}
