package backup

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/keyring"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/smtpd/queue"
)

const (
	manifestName = "manifest.json"
	filesPrefix  = "files"
)

// Manifest is the first file of an archive.
type Manifest struct {
	// Format is 1.
	Format   int       `json:"format"`
	Version  string    `json:"version"`
	Created  time.Time `json:"created"`
	Hostname string    `json:"hostname"`
	Config   string    `json:"config"`
	StateDir string    `json:"state_dir"`
}

// Report counts what an archive holds.
type Report struct {
	Manifest
	Files int `json:"files"`
	// Queued is how many messages of the queue are among them.
	Queued int   `json:"queued"`
	Bytes  int64 `json:"bytes"`
	// Missing are files that the configuration names and that do not exist.
	Missing []string `json:"missing,omitempty"`
}

// notState are the parts of the state directory that are no part of a backup:
// caches, half-received messages, Maildirs (of a passwd-file's users), and the
// queue, which is read with care for what goes on in it.
var notState = []string{"cache", "spool", "mail", "queue"}

// Write writes the archive of the server with this configuration. version is
// the program's.
func Write(ctx context.Context, w io.Writer, c *config.Config, version string) (Report, error) {
	file, err := filepath.Abs(c.File)
	if err != nil {
		return Report{}, err
	}
	a := &archive{Writer: tar.NewWriter(w), ctx: ctx, names: map[string]bool{}}
	a.report.Manifest = Manifest{Format: 1, Version: version, Created: time.Now().UTC(), Hostname: c.Hostname, Config: file, StateDir: c.StateDir}
	err = errors.Join(a.manifest(), a.queue(c.QueueDir()), a.state(c.StateDir), a.config(c, file))
	return a.report, errors.Join(err, a.Close())
}

type archive struct {
	*tar.Writer
	ctx    context.Context
	report Report
	names  map[string]bool
}

func (a *archive) manifest() error {
	b, err := json.MarshalIndent(a.report.Manifest, "", "  ")
	if err != nil {
		return err
	}
	if err := a.WriteHeader(&tar.Header{Name: manifestName, Mode: 0o600, Size: int64(len(b)), ModTime: a.report.Created, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err = a.Writer.Write(b)
	return err
}

func (a *archive) queue(dir string) error {
	err := queue.Snapshot(dir, func(name string, f *os.File) error {
		if strings.HasSuffix(name, ".env") {
			a.report.Queued++
		}
		return a.add(filepath.Join(dir, name), f)
	})
	if err != nil {
		return fmt.Errorf("the queue: %w", err)
	}
	return nil
}

// state adds the small files that the server keeps. Each is replaced whole, so
// whatever is read is consistent.
func (a *archive) state(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		for _, n := range notState {
			if path == filepath.Join(dir, n) {
				return fs.SkipDir
			}
		}
		if !d.Type().IsRegular() || strings.HasSuffix(path, ".tmp") {
			return nil
		}
		return a.file(path)
	})
}

// config adds the configuration and what it names. Links are followed: the
// certificates of certbot are such.
func (a *archive) config(c *config.Config, file string) error {
	var errs []error
	for _, path := range append([]string{file}, c.Files()...) {
		fi, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			a.report.Missing = append(a.report.Missing, path)
		case err != nil:
			errs = append(errs, err)
		case fi.IsDir() && path == c.Sieve.GlobalDir:
			errs = append(errs, a.scripts(path))
		case fi.Mode().IsRegular() && !strings.HasPrefix(path, c.StateDir+"/"):
			errs = append(errs, a.file(path))
		}
	}
	// Rotation makes keys that the configuration does not name; keys that are
	// missing are among those that it names.
	rings, _ := keyring.Open(c)
	for _, r := range rings {
		for _, k := range r.Keys {
			errs = append(errs, a.file(k.Path))
		}
	}
	if c.Auth.Backend == "pam" {
		if path := filepath.Join("/etc/pam.d", c.Auth.PAM.Service); exists(path) {
			errs = append(errs, a.file(path))
		}
	}
	return errors.Join(errs...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// scripts adds the filters of a directory.
func (a *archive) scripts(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.sieve"))
	errs := []error{err}
	for _, path := range files {
		errs = append(errs, a.file(path))
	}
	return errors.Join(errs...)
}

func (a *archive) file(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // gone meanwhile
	} else if err != nil {
		return err
	}
	defer f.Close()
	return a.add(path, f)
}

// add writes one open file under its absolute path.
func (a *archive) add(path string, f *os.File) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	if a.names[path] {
		return nil
	}
	a.names[path] = true
	if err := a.parents(filepath.Dir(path)); err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	h := header(path, fi)
	h.Typeflag, h.Size = tar.TypeReg, fi.Size()
	if err := a.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(a.Writer, io.LimitReader(f, h.Size))
	if err == nil && n < h.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	a.report.Files++
	a.report.Bytes += n
	return nil
}

// parents adds the directories above a file, from the top, for their modes and
// owners.
func (a *archive) parents(dir string) error {
	if dir == "/" || a.names[dir] {
		return nil
	}
	a.names[dir] = true
	if err := a.parents(filepath.Dir(dir)); err != nil {
		return err
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return err
	}
	h := header(dir, fi)
	h.Typeflag = tar.TypeDir
	h.Name += "/"
	return a.WriteHeader(h)
}

func header(path string, fi fs.FileInfo) *tar.Header {
	st := fi.Sys().(*syscall.Stat_t)
	h := &tar.Header{Name: filesPrefix + path, Mode: int64(fi.Mode().Perm()), ModTime: fi.ModTime(), Format: tar.FormatPAX,
		Uid: int(st.Uid), Gid: int(st.Gid)}
	if u, err := user.LookupId(strconv.Itoa(h.Uid)); err == nil {
		h.Uname = u.Username
	}
	if g, err := user.LookupGroupId(strconv.Itoa(h.Gid)); err == nil {
		h.Gname = g.Name
	}
	return h
}
