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

	"svc.plus/mailsrvd/config"
)

// Conflict is a file that stands where one of the archive would go, with other
// content.
type Conflict struct{ Paths []string }

func (c *Conflict) Error() string {
	return "these files are there already, and different: " + strings.Join(c.Paths, ", ")
}

// ErrNoArchive means that the file was not made by Write.
var ErrNoArchive = errors.New("this is no backup of mailsrvd")

// maxCompared bounds the existing files that are compared with the archive's.
const maxCompared = 1 << 20

// Restore puts an archive's files under the directory root, "/" for the places
// they came from. Nothing is written if any of them exists with another content
// (*Conflict), unless force is set; the example configuration of the package
// does not count. Owners are taken by name, then by number, if this process is
// root. Every file is on disk when it returns.
func Restore(ctx context.Context, r io.ReadSeeker, root string, force bool) (Report, error) {
	if !force {
		var c Conflict
		_, err := each(ctx, r, func(h *tar.Header, name string, content io.Reader) error {
			path := filepath.Join(root, name)
			if h.Typeflag == tar.TypeReg && differs(path, content, h.Size) {
				c.Paths = append(c.Paths, path)
			}
			return nil
		})
		if err != nil {
			return Report{}, err
		}
		if len(c.Paths) > 0 {
			return Report{}, &c
		}
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return Report{}, err
		}
	}
	dirs := map[string]bool{}
	report, err := each(ctx, r, func(h *tar.Header, name string, content io.Reader) error {
		path, put := filepath.Join(root, name), putFile
		if dirs[filepath.Dir(path)] = true; h.Typeflag == tar.TypeDir {
			put = putDir
		}
		if err := put(path, h, content); err != nil {
			return fmt.Errorf("restoring %s: %w", path, err)
		}
		return nil
	})
	for dir := range dirs {
		err = errors.Join(err, syncDir(dir))
	}
	return report, err
}

// each calls fn with every file of the archive, its name without a leading
// slash.
func each(ctx context.Context, r io.Reader, fn func(h *tar.Header, name string, content io.Reader) error) (report Report, err error) {
	t := tar.NewReader(r)
	h, err := t.Next()
	if err != nil || h.Name != manifestName {
		return report, ErrNoArchive
	}
	if err := json.NewDecoder(io.LimitReader(t, 1<<20)).Decode(&report.Manifest); err != nil {
		return report, fmt.Errorf("%w: %w", ErrNoArchive, err)
	}
	if report.Format != 1 {
		return report, fmt.Errorf("this backup has the format %d; a newer mailsrvd made it", report.Format)
	}
	for {
		h, err := t.Next()
		if err == io.EOF {
			return report, nil
		} else if err != nil {
			return report, fmt.Errorf("reading the backup: %w", err)
		}
		name, ok := strings.CutPrefix(h.Name, filesPrefix+"/")
		if !ok || !filepath.IsLocal(name) || h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
			return report, fmt.Errorf("%w: it has the odd entry %q", ErrNoArchive, h.Name)
		}
		if err := ctx.Err(); err != nil {
			return report, err
		}
		if err := fn(h, name, t); err != nil {
			return report, err
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		report.Files++
		report.Bytes += h.Size
		if strings.HasSuffix(name, ".env") && "/"+filepath.Dir(name) == filepath.Join(report.StateDir, "queue") {
			report.Queued++
		}
	}
}

// differs reports whether path exists with a content that somebody could miss.
func differs(path string, content io.Reader, size int64) bool {
	fi, err := os.Lstat(path)
	if err != nil {
		return false
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxCompared || size > maxCompared {
		return true
	}
	old, err := os.ReadFile(path)
	if err != nil || string(old) == config.Example() {
		return err != nil
	}
	b, err := io.ReadAll(content)
	return err != nil || string(b) != string(old)
}

// putFile replaces path as a whole, with its mode and owner from the start.
func putFile(path string, h *tar.Header, content io.Reader) (err error) {
	tmp := path + ".restore"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(tmp)
		}
	}()
	if err := own(tmp, h); err != nil {
		return err
	}
	if err := f.Chmod(fs.FileMode(h.Mode).Perm()); err != nil {
		return err
	}
	if _, err := io.Copy(f, content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Chtimes(tmp, h.ModTime, h.ModTime); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// putDir makes a directory that is missing; one that exists stays as it is.
func putDir(path string, h *tar.Header, _ io.Reader) error {
	if err := os.Mkdir(path, 0o700); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return errors.Join(own(path, h), os.Chmod(path, fs.FileMode(h.Mode).Perm()))
}

func own(path string, h *tar.Header) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid := owner(h)
	return os.Lchown(path, uid, gid)
}

// owner finds the owner on this host, where numbers may be other ones.
func owner(h *tar.Header) (uid, gid int) {
	uid, gid = h.Uid, h.Gid
	if u, err := user.Lookup(h.Uname); err == nil {
		uid = number(u.Uid, uid)
	}
	if g, err := user.LookupGroup(h.Gname); err == nil {
		gid = number(g.Gid, gid)
	}
	return uid, gid
}

func number(s string, otherwise int) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return otherwise
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
