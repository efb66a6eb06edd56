package filter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
)

// address is where a filter listens.
type address struct {
	network, addr string
	url           string // of an HTTP server, without the path of a request
}

// ErrAddress means that an address is none.
var ErrAddress = errors.New("no address of a filter")

// Reach looks whether somebody listens at an address of Spec.
func Reach(ctx context.Context, addr string) error {
	at, err := parseAddress(addr)
	if err != nil {
		return err
	}
	if at.network == "" {
		u, err := url.Parse(at.url)
		if err != nil {
			return err
		}
		port := u.Port()
		if port == "" {
			port = u.Scheme // known to the resolver of services
		}
		at = address{network: "tcp", addr: net.JoinHostPort(u.Hostname(), port)}
	}
	c, err := at.dial(ctx)
	if err != nil {
		return err
	}
	return c.Close()
}

// parseAddress reads "host:port", the path of a UNIX socket, and "http://…" or
// "https://…".
func parseAddress(s string) (address, error) {
	if path := strings.TrimPrefix(s, "unix:"); filepath.IsAbs(path) {
		return address{"unix", path, "http://localhost"}, nil
	}
	if strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" {
			return address{}, fmt.Errorf("%w: %q is no plain URL", ErrAddress, s)
		}
		return address{url: strings.TrimSuffix(s, "/")}, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || port == "" {
		return address{}, fmt.Errorf("%w: %q is neither host:port nor the path of a socket", ErrAddress, s)
	}
	return address{"tcp", s, "http://" + s}, nil
}

func (a address) dial(ctx context.Context) (net.Conn, error) {
	if a.network == "" {
		return nil, errors.New("a milter's address is host:port or a path")
	}
	var d net.Dialer
	return d.DialContext(ctx, a.network, a.addr)
}
