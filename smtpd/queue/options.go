package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/durable"
	"svc.plus/mailsrvd/internal/message"
)

// Options say how a queue works. Dir, Hostname and Transport are needed; the
// rest has defaults.
type Options struct {
	// Dir is the queue's directory; Open makes it, mode 0700.
	Dir string
	// Hostname is this host's name, as it stands in reports.
	Hostname string
	// Postmaster is the address that reports come from; the default is
	// MAILER-DAEMON at Hostname.
	Postmaster string

	// MaxAge is how long delivery is tried before the sender gets the message
	// back; default 5 days (RFC 5321 section 4.5.4.1).
	MaxAge time.Duration
	// RetryMin is the wait after the first failure, which doubles up to
	// RetryMax; defaults 1 minute and 2 hours.
	RetryMin, RetryMax time.Duration
	// DelayWarning is when the sender is told that the message still waits;
	// default 4 hours, negative never.
	DelayWarning time.Duration

	// Transport makes the attempts.
	Transport Transport
	// Group names the destination of an address; default ByDomain.
	Group func(address string) string
	// Rate bounds what is attempted at a destination, a message once however many
	// recipients it has there; destinations of one name share the bound. It is
	// asked often, also for destinations whose messages wait, and may not block or
	// call the queue. What has been sent is forgotten at a restart. Nil bounds
	// nothing.
	Rate func(destination string) (name string, r Rate)
	// Bounce takes a report that the queue has composed, with the null
	// reverse-path, and makes it durable before it returns nil. A nil Bounce
	// means that reports are only logged.
	Bounce func(ctx context.Context, env message.Envelope, c *message.Content) error

	// HoldNew says of a message that comes in whether it is held from the start,
	// before any attempt; nil holds none.
	HoldNew func(env message.Envelope) bool

	// Concurrency bounds the attempts under way, PerDestination those to one
	// destination; defaults 100 and 4.
	Concurrency, PerDestination int
	// Grace is how long Run waits at its end for attempts under way; default 20
	// seconds.
	Grace time.Duration
	// ReturnLimit is the size in bytes up to which a failed message is returned
	// whole; longer ones, and reports of other kinds, carry the headers only.
	// Default 256 KiB.
	ReturnLimit int64

	// Logger may be nil.
	Logger *slog.Logger
	// Registerer gets the metrics mailsrvd_queue_*; it may be nil.
	Registerer prometheus.Registerer
	// Fault is for tests.
	Fault durable.Fault
}

func (o Options) withDefaults() Options {
	set(&o.MaxAge, 5*24*time.Hour)
	set(&o.RetryMin, time.Minute)
	set(&o.RetryMax, 2*time.Hour)
	set(&o.DelayWarning, 4*time.Hour)
	set(&o.Concurrency, 100)
	set(&o.PerDestination, 4)
	set(&o.Grace, 20*time.Second)
	set(&o.ReturnLimit, 256<<10)
	set(&o.Postmaster, "MAILER-DAEMON@"+o.Hostname)
	if o.Group == nil {
		o.Group = ByDomain
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Check reports everything that Open would refuse, without changing anything.
func (o Options) Check(ctx context.Context) error {
	o = o.withDefaults()
	var errs []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	add(o.Dir == "", "queue: no directory")
	add(o.Hostname == "", "queue: no host name")
	add(o.MaxAge < 0, "queue: max_age %v is negative", o.MaxAge)
	add(o.RetryMin < 0, "queue: retry_min %v is negative", o.RetryMin)
	add(o.RetryMax < o.RetryMin, "queue: retry_max %v is below retry_min %v", o.RetryMax, o.RetryMin)
	add(o.MaxAge < o.RetryMin, "queue: max_age %v is below retry_min %v", o.MaxAge, o.RetryMin)
	add(o.Concurrency < 1 || o.PerDestination < 1, "queue: no room for even one attempt")
	if fi, err := os.Stat(o.Dir); err == nil {
		add(!fi.IsDir(), "queue: %s is not a directory", o.Dir)
		add(fi.Mode().Perm()&0o077 != 0, "queue: %s is open to others (mode %v); chmod 700 it", o.Dir, fi.Mode().Perm())
	} else if !errors.Is(err, os.ErrNotExist) && o.Dir != "" {
		errs = append(errs, fmt.Errorf("queue: %w", err))
	}
	return errors.Join(errs...)
}
