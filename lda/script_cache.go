package lda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/lda/sieve"
)

// Where Pigeonhole keeps a user's scripts: the active one, and all of them.
const (
	activeScript = ".dovecot.sieve"
	scriptsDir   = "sieve"
)

// maxScript is how large a script may be, in bytes.
const maxScript = 1 << 20

// maxCached bounds the users whose scripts are kept ready.
const maxCached = 512

// scriptCache keeps users' scripts compiled, as long as none of their files
// changes. A user without a script costs one system call a delivery.
type scriptCache struct {
	mu   sync.Mutex
	kept map[string]*keptScript // by the path of the active script
}

// keptScript is a compiled script, or why it is none, with the files that it was
// made of.
type keptScript struct {
	files  []scriptFile
	script *sieve.Script
	err    error
}

// scriptFile is one file at one time; the zero id is one that was not there.
type scriptFile struct {
	path string
	id   fileID
}

type fileID struct {
	dev, ino   uint64
	size       int64
	mtim, ctim unix.Timespec
}

// script returns the active script of a user, nil if there is none. Everything is
// read with the user's rights.
func (c *scriptCache) script(ctx context.Context, f *filters, owner asuser.Owner) (script *sieve.Script, err error) {
	path := filepath.Join(owner.Home, activeScript)
	err = asuser.Do(ctx, owner, func() error {
		id, err := identify(path)
		if err != nil || id == (fileID{}) {
			return err
		}
		c.mu.Lock()
		k := c.kept[path]
		c.mu.Unlock()
		if k == nil || !k.current() {
			k = compileFor(ctx, f, owner, path)
			c.keep(path, k)
		}
		script = k.script
		return k.err
	})
	return script, err
}

func (c *scriptCache) keep(path string, k *keptScript) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil || len(c.kept) >= maxCached {
		c.kept = map[string]*keptScript{}
	}
	c.kept[path] = k
}

// current reports whether all files are as they were.
func (k *keptScript) current() bool {
	for _, f := range k.files {
		if id, err := identify(f.path); err != nil || id != f.id {
			return false
		}
	}
	return true
}

// identify returns the zero id for a file that is not there.
func identify(path string) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); errors.Is(err, unix.ENOENT) {
		return fileID{}, nil
	} else if err != nil {
		return fileID{}, fmt.Errorf("looking for a filter: %w", &fs.PathError{Op: "stat", Path: path, Err: err})
	}
	return fileID{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}, nil
}

// compileFor compiles a user's script and notes every file that it reads.
func compileFor(ctx context.Context, f *filters, owner asuser.Owner, path string) *keptScript {
	k := &keptScript{}
	read := func(path string) ([]byte, error) {
		id, err := identify(path)
		k.files = append(k.files, scriptFile{path, id})
		if err != nil {
			return nil, err
		}
		return readScript(path)
	}
	source, err := read(path)
	if err != nil {
		k.err = err
		return k
	}
	o := f.users
	o.Include = func(_ context.Context, from sieve.Location, name string) ([]byte, error) {
		dir := filepath.Join(owner.Home, scriptsDir)
		if from == sieve.Global {
			if dir = f.GlobalDir; dir == "" {
				return nil, fs.ErrNotExist
			}
		}
		return read(filepath.Join(dir, name+".sieve"))
	}
	k.script, k.err = sieve.Compile(ctx, activeScript, source, o)
	return k
}

// readScript reads a regular file of at most maxScript bytes; a FIFO in its place
// must not hold up a delivery.
func readScript(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reading a filter: %w", err)
	}
	defer file.Close()
	if fi, err := file.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("reading a filter: %s is no regular file", path)
	}
	source, err := io.ReadAll(io.LimitReader(file, maxScript+1))
	if err == nil && len(source) > maxScript {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxScript)
	}
	return source, err
}
