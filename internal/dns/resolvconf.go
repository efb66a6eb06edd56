package dns

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// resolvConf is what resolv.conf(5) says that matters here. Search lists and
// ndots do not: mail domains are absolute.
type resolvConf struct {
	servers  []string // host:port
	timeout  time.Duration
	attempts int
	rotate   bool
}

// Bounds on resolv.conf's options, as glibc has them.
const (
	maxServers  = 3
	maxTimeout  = 30
	maxAttempts = 5
)

func defaultConf() resolvConf {
	return resolvConf{timeout: 5 * time.Second, attempts: 2}
}

// parseResolvConf reads what it understands and leaves the rest out, as every
// reader of this file does. Without a nameserver line it is this host's.
func parseResolvConf(r io.Reader) resolvConf {
	c := defaultConf()
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		line, _, _ := strings.Cut(sc.Text(), "#")
		line, _, _ = strings.Cut(line, ";")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil && len(c.servers) < maxServers {
				c.servers = append(c.servers, net.JoinHostPort(a.String(), "53"))
			}
		case "options":
			for _, o := range f[1:] {
				c.option(o)
			}
		}
	}
	if len(c.servers) == 0 {
		c.servers = []string{"127.0.0.1:53"}
	}
	return c
}

func (c *resolvConf) option(o string) {
	name, value, _ := strings.Cut(o, ":")
	n, err := strconv.Atoi(value)
	switch {
	case name == "rotate":
		c.rotate = true
	case err != nil || n < 1:
	case name == "timeout":
		c.timeout = time.Duration(min(n, maxTimeout)) * time.Second
	case name == "attempts":
		c.attempts = min(n, maxAttempts)
	}
}

// systemConf follows /etc/resolv.conf, which DHCP and VPN clients rewrite
// below a running daemon.
type systemConf struct {
	path string

	mu      sync.Mutex // guards what follows
	conf    resolvConf
	mtime   time.Time
	checked time.Time
}

// recheck is how often the file's time is looked at.
const recheck = 5 * time.Second

func (s *systemConf) current() resolvConf {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.checked.IsZero() && now.Sub(s.checked) < recheck {
		return s.conf
	}
	s.checked = now
	fi, err := os.Stat(s.path)
	if err == nil && fi.ModTime().Equal(s.mtime) {
		return s.conf
	}
	f, err := os.Open(s.path)
	if err != nil { // also while it is being replaced: keep what worked
		if s.conf.servers == nil {
			s.conf = parseResolvConf(strings.NewReader(""))
		}
		return s.conf
	}
	defer f.Close()
	s.conf = parseResolvConf(f)
	if fi != nil {
		s.mtime = fi.ModTime()
	}
	return s.conf
}
