// Package pam judges passwords by PAM and finds accounts in the system's user
// database (NSS). The process need not be root: PAM reads /etc/shadow on a
// thread that has the group shadow for the moment.
//
// PAM's calls block in C and cannot be cancelled. Therefore a bounded number of
// transactions runs at one time, each on one thread from start to end; callers
// wait a bounded time for a free place and a bounded time for the answer. A
// transaction that hangs keeps its place until the module gives up.
//
// PAM's own delay after a failure is switched off: it would keep a place
// occupied for seconds. The Authenticator delays failures instead.
package pam

import (
	"cmp"
	"log/slog"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/asuser"
)

// DefaultService is the name of our file in /etc/pam.d.
const DefaultService = "mailsrvd"

// maxPassword is PAM's own bound of a response (PAM_MAX_RESP_SIZE), in bytes.
const maxPassword = 511

// Options says which PAM service is used and how much of it at one time.
type Options struct {
	// Service is the name of the file in /etc/pam.d; empty means
	// DefaultService.
	Service string
	// ConfDir replaces /etc/pam.d; tests use it.
	ConfDir string
	// Groups lends the group shadow to the PAM threads; nil means that the
	// process has it all the time.
	Groups *asuser.Groups
	// Workers bounds the transactions at one time; 0 means twice the number of
	// processors, at most 16. A running yescrypt takes 16 MiB.
	Workers int
	// Wait is how long an attempt waits for a worker; 0 means 10 s.
	Wait time.Duration
	// Logger gets what PAM modules say; nil means none.
	Logger *slog.Logger
	// Registerer takes the metrics mailsrvd_auth_pam_*; nil means none.
	Registerer prometheus.Registerer
}

func (o Options) withDefaults() Options {
	o.Service = cmp.Or(o.Service, DefaultService)
	o.Workers = cmp.Or(o.Workers, min(2*runtime.NumCPU(), 16))
	o.Wait = cmp.Or(o.Wait, 10*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
