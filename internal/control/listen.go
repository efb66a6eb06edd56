package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// ErrInUse means that a daemon answers on the socket already.
var ErrInUse = errors.New("a daemon is listening on this socket already")

// Listen makes the socket path with the given permission bits and, unless gid
// is -1, group. A socket left behind by a daemon that died is replaced; one
// that is answered is ErrInUse. The socket gets its name only when mode and
// group are set, so that nobody can connect before.
func Listen(path string, mode os.FileMode, gid int) (net.Listener, error) {
	if err := checkFree(path); err != nil {
		return nil, err
	}
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	os.Remove(tmp)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: tmp, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // the name is another one in a moment
	if err := place(tmp, path, mode, gid); err != nil {
		l.Close()
		os.Remove(tmp)
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	fi, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	return &listener{UnixListener: l, path: path, file: fi}, nil
}

// checkFree returns an error when path is not ours to replace.
func checkFree(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for a socket: %w", err)
	}
	if fi.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return nil
	}
	c.Close()
	return fmt.Errorf("%s: %w", path, ErrInUse)
}

// place gives the bound socket its rights, then its name.
func place(tmp, path string, mode os.FileMode, gid int) error {
	if gid >= 0 {
		if err := os.Chown(tmp, -1, gid); err != nil {
			return err
		}
	}
	if err := os.Chmod(tmp, mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// listener removes its socket when it closes, unless another daemon has put
// its own there.
type listener struct {
	*net.UnixListener
	path string
	file os.FileInfo
}

// Close implements net.Listener.
func (l *listener) Close() error {
	if fi, err := os.Lstat(l.path); err == nil && os.SameFile(fi, l.file) {
		os.Remove(l.path)
	}
	return l.UnixListener.Close()
}

// Addr implements net.Listener: the name that clients use, not the one the
// socket was bound to.
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }
