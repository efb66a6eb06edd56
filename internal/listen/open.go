package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os/user"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"

	"svc.plus/mailsrvd/internal/control"
)

// Unix says who may connect to a Unix socket; TCP sockets ignore it.
type Unix struct {
	// Mode has the permission bits; 0 means 0660.
	Mode fs.FileMode
	// Group is a name or a number; "" leaves the process's group.
	Group string
}

// Open listens on "host:port", ":port" (IPv4 and IPv6) or the absolute path of
// a Unix socket. A socket left by a dead process is replaced, a live one is
// control.ErrInUse.
func Open(ctx context.Context, address string, u Unix) (net.Listener, error) {
	if strings.HasPrefix(address, "/") {
		return openUnix(address, u)
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("listening on %q: want host:port, :port or an absolute path: %w", address, err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	return l, nil
}

func openUnix(path string, u Unix) (net.Listener, error) {
	if u.Mode == 0 {
		u.Mode = 0o660
	}
	gid, err := groupID(u.Group)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	return control.Listen(path, u.Mode, gid)
}

// groupID gives -1 for "".
func groupID(name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	if n, err := strconv.Atoi(name); err == nil {
		return n, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

// Sockets opens listeners, and prefers those that the service manager passed
// (systemd.socket(5), sd_listen_fds(3)): they outlive restarts and need no
// right to bind low ports. Not safe for concurrent use.
type Sockets struct {
	inherited map[string][]net.Listener
}

// FromSystemd takes over the passed sockets, by their FileDescriptorName, and
// clears the environment variables. Without any it is empty, as new(Sockets)
// is.
func FromSystemd() (*Sockets, error) {
	m, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("taking sockets from the service manager: %w", err)
	}
	return &Sockets{inherited: m}, nil
}

// Open returns the passed sockets called name, or else listens on each of the
// addresses (see Open); empty ones are left out. On error none stays open. The
// error joins the problems of all addresses.
func (s *Sockets) Open(ctx context.Context, name string, addresses []string, u Unix) ([]net.Listener, error) {
	if l := s.inherited[name]; len(l) > 0 {
		delete(s.inherited, name)
		return l, nil
	}
	var all []net.Listener
	var errs []error
	for _, a := range addresses {
		if a == "" {
			continue
		}
		l, err := Open(ctx, a, u)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, l)
	}
	if err := errors.Join(errs...); err != nil {
		for _, l := range all {
			l.Close()
		}
		return nil, err
	}
	return all, nil
}

// Close closes the passed sockets that nobody asked for and returns their
// names: most likely a misspelt FileDescriptorName.
func (s *Sockets) Close() (unclaimed []string) {
	for name, ls := range s.inherited {
		unclaimed = append(unclaimed, name)
		for _, l := range ls {
			l.Close()
		}
	}
	s.inherited = nil
	return unclaimed
}
