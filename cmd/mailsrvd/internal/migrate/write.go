package migrate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/durable"
)

// ErrExists means that there is a configuration that somebody has made.
var ErrExists = errors.New("there is a configuration already")

// TrialName is the file with the configuration for a trial.
const TrialName = "trial.toml"

// Write makes the configuration path, one for a trial beside it, and the files
// that it names. With force it replaces what is there; the example that the
// package installs is always replaced.
func (p *Plan) Write(path string, force bool) error {
	old, err := os.ReadFile(path)
	if err == nil && string(old) != config.Example() && !force {
		return fmt.Errorf("%w: %s", ErrExists, path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files := append([]File{}, p.Files...)
	files = append(files, File{Name: TrialName, Data: []byte(p.Text(true))}, File{Name: filepath.Base(path), Data: []byte(p.Text(false))})
	for _, f := range files {
		if err := f.write(dir); err != nil {
			return fmt.Errorf("writing %s: %w", filepath.Join(dir, f.Name), err)
		}
	}
	return nil
}

func (f File) write(dir string) error {
	mode, dirMode := fs.FileMode(0o644), fs.FileMode(0o755)
	if f.Secret {
		mode, dirMode = 0o640, 0o750
	}
	at := filepath.Join(dir, filepath.Dir(f.Name))
	if err := os.MkdirAll(at, dirMode); err != nil {
		return err
	}
	path := filepath.Join(dir, f.Name)
	root, err := os.OpenRoot(at)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := durable.WriteFile(root, filepath.Base(path), mode, nil, func(w io.Writer) error {
		_, err := w.Write(f.Data)
		return err
	}); err != nil {
		return err
	}
	if !f.Secret || os.Geteuid() != 0 {
		return nil
	}
	g, err := user.LookupGroup("mailsrvd")
	if err != nil {
		return nil // check-config tells that the daemon's user is missing
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return err
	}
	return errors.Join(os.Chown(at, 0, gid), os.Chown(path, 0, gid))
}
