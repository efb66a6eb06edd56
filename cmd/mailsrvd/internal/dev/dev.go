// Package dev makes the files of a mail server for trials: a configuration, a
// certificate, a DKIM key and two users, all in one directory, with no need of
// root, PAM or DNS.
package dev

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Domain and Hostname are reserved names (RFC 6761 section 6.2): no mail for
// them can leave.
const (
	Domain   = "example.test"
	Hostname = "mail.example.test"
	Selector = "dev"
)

// Users are the two accounts.
var Users = []string{"alice", "bob"}

// DefaultPortBase gives the ports 2587, 2465, 2143, 2993, 2443, for the MX 2525,
// for ManageSieve 2419, for metrics 2925 and for the status page 2980.
const DefaultPortBase = 2000

// Site is a directory made for trials.
type Site struct {
	// Dir is absolute.
	Dir string
	// Config is the path of mailsrvd.toml.
	Config string
	// Passwords has the password of each user.
	Passwords map[string]string
}

// Options say where and how.
type Options struct {
	// Dir is made when it does not exist.
	Dir string
	// PortBase is added to 525, 587, 465, 143 and 993; 0 keeps the ports of an
	// existing configuration, or means DefaultPortBase.
	PortBase int
	// NewDKIMKey makes a private key in PEM.
	NewDKIMKey func() ([]byte, error)
	// HashPassword makes the password field of a passwd-file.
	HashPassword func(password string) (string, error)
}

// Make makes what is missing of the site. What exists stays as it is, so that
// edits and mail survive a restart; a PortBase rewrites the configuration.
func Make(o Options) (*Site, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", o.Dir, err)
	}
	s := &Site{Dir: dir, Config: filepath.Join(dir, "mailsrvd.toml"), Passwords: map[string]string{}}
	for _, d := range []string{"", "dkim", "state", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("making the directory: %w", err)
		}
	}
	// A socket's name has 108 bytes (unix(7)).
	if long := filepath.Join(dir, "run", "sendmail.sock.tmp"); len(long) > 107 {
		return nil, fmt.Errorf("%s is too long a name for the sockets in it; choose another --dir", dir)
	}
	if err := s.certificate(); err != nil {
		return nil, err
	}
	if err := create(filepath.Join(dir, "dkim", Domain+"."+Selector+".key"), o.NewDKIMKey); err != nil {
		return nil, fmt.Errorf("making the DKIM key: %w", err)
	}
	if err := s.users(o.HashPassword); err != nil {
		return nil, err
	}
	if o.PortBase != 0 {
		if err := os.Remove(s.Config); err != nil && !os.IsNotExist(err) {
			return nil, err
		}
	}
	base := o.PortBase
	if base == 0 {
		base = DefaultPortBase
	}
	if err := create(filepath.Join(dir, "aliases"), fixed(aliases)); err != nil {
		return nil, err
	}
	return s, create(s.Config, fixed(configuration(base)))
}

// create writes a file that does not exist yet, for our own eyes.
func create(path string, content func() ([]byte, error)) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	b, err := content()
	if err != nil {
		return err
	}
	// Under another name first: an interrupted run must not leave half a file
	// that later ones would keep.
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func fixed(s string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(s), nil }
}

const aliases = `# name: where it goes
hostmaster: alice
both: alice, bob
`

// configuration is the file, as short as it can be.
func configuration(base int) string {
	port := func(n int) string { return fmt.Sprintf("127.0.0.1:%d", base+n) }
	return fmt.Sprintf(`# Made by mailsrvd dev. Edits are kept, unless --port-base is given.
hostname   = %q
domains    = [%q]
postmaster = "alice"
state_dir  = "state"
run_dir    = "run"
user       = ""

[listen]
mx          = %q
submission  = %q
submissions = %q
imap        = %q
imaps       = %q
managesieve = %q
https       = %q
metrics     = %q
status      = %q

[tls]
certificate = "cert.pem"
key         = "key.pem"

[auth]
backend = "passwd-file"
[auth.passwd_file]
path = "passwd"

[aliases]
file = "aliases"

[[dkim]]
domain   = %q
selector = %q
key      = "dkim/%s.%s.key"

[relay]
hold = true     # nothing leaves this machine
`, Hostname, Domain, port(525), port(587), port(465), port(143), port(993), port(419), port(443), port(925), port(980), Domain, Selector, Domain, Selector)
}

// users makes the passwd-file, and keeps the passwords beside it for the next
// start's instructions.
func (s *Site) users(hash func(string) (string, error)) error {
	plain := filepath.Join(s.Dir, "passwords")
	if err := create(plain, func() ([]byte, error) {
		var b strings.Builder
		for _, u := range Users {
			fmt.Fprintf(&b, "%s %s\n", u, rand.Text()[:12])
		}
		return []byte(b.String()), nil
	}); err != nil {
		return fmt.Errorf("keeping the passwords: %w", err)
	}
	b, err := os.ReadFile(plain)
	if err != nil {
		return fmt.Errorf("reading the passwords: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if user, password, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			s.Passwords[user] = password
		}
	}
	err = create(filepath.Join(s.Dir, "passwd"), func() ([]byte, error) {
		var b strings.Builder
		for _, u := range Users {
			field, err := hash(s.Passwords[u])
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "%s:%s::::%s::\n", u, field, filepath.Join(s.Dir, "home", u))
		}
		return []byte(b.String()), nil
	})
	if err != nil {
		return fmt.Errorf("making the passwd-file: %w", err)
	}
	for _, u := range Users {
		if err := os.MkdirAll(filepath.Join(s.Dir, "home", u), 0o700); err != nil {
			return fmt.Errorf("making a home: %w", err)
		}
	}
	return nil
}
