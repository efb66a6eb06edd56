package daemon

import (
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/auth/pam"
	"svc.plus/mailsrvd/auth/passwdfile"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/asuser"
)

// BackendOptions turn [auth] into the options of one of the two back ends; the
// other is nil.
func BackendOptions(c *config.Config, groups *asuser.Groups, log *slog.Logger, reg prometheus.Registerer) (*pam.Options, *passwdfile.Options) {
	if c.Auth.Backend == "passwd-file" {
		return nil, &passwdfile.Options{Path: c.Auth.PasswdFile.Path, Homes: filepath.Join(c.StateDir, "mail"), Groups: groups, Logger: log}
	}
	return &pam.Options{Service: c.Auth.PAM.Service, Groups: groups, Logger: log, Registerer: reg}, nil
}

// newBackend builds the back end.
func newBackend(c *config.Config, groups *asuser.Groups, log *slog.Logger, reg prometheus.Registerer) (backend auth.Backend, err error) {
	if p, f := BackendOptions(c, groups, log, reg); p != nil {
		backend, err = pam.New(*p)
	} else {
		backend, err = passwdfile.Open(*f)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Where("auth.backend"), err)
	}
	return backend, nil
}

// newAuthenticator builds what stands before the back end. failureDelay is that
// of auth.Options, failed its Failed.
func newAuthenticator(c *config.Config, backend auth.Backend, failureDelay time.Duration, failed func(netip.Addr, uint64), log *slog.Logger, reg prometheus.Registerer) (*auth.Authenticator, error) {
	return auth.New(auth.Options{
		Backend: backend, Domains: c.Domains, MinUID: c.Mail.MinUID, AllowNets: c.Limits.Trusted,
		FailureDelay: failureDelay, Failed: failed, Logger: log, Registerer: reg,
	})
}

// LocalAuthenticator is for commands: whoever may run them may guess as fast as
// he likes.
func LocalAuthenticator(c *config.Config) (*auth.Authenticator, error) {
	log := slog.New(slog.DiscardHandler)
	backend, err := newBackend(c, nil, log, nil)
	if err != nil {
		return nil, err
	}
	return newAuthenticator(c, backend, -1, nil, log, nil)
}
