// Package daemon turns a validated configuration into the running server: it
// builds every room, opens the listeners, reloads, and ends in order.
//
// What a reload replaces is one value, the generation: accounts, aliases, keys,
// sender policy and the way out. Everything else (listeners, open mailboxes, the
// queue, the protocol servers) lives as long as the process and reaches the
// generation through the switchboard. A reload builds a new generation to the
// end and then swaps one pointer; if anything fails, nothing has changed.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/auth/ban"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/web"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/imapd"
	"svc.plus/mailsrvd/internal/acme"
	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/listen"
	"svc.plus/mailsrvd/internal/observe"
	"svc.plus/mailsrvd/maildir"
	"svc.plus/mailsrvd/maildir/index"
	"svc.plus/mailsrvd/smtpd"
	"svc.plus/mailsrvd/smtpd/allowance"
	"svc.plus/mailsrvd/smtpd/inbound"
	"svc.plus/mailsrvd/smtpd/inbound/dmarcrpt"
	"svc.plus/mailsrvd/smtpd/queue"
	"svc.plus/mailsrvd/smtpd/relay/tlsrpt"
)

// Options are what a Daemon gets from its process.
type Options struct {
	Config *config.Config
	// Groups are the supplementary groups taken from the process at its start;
	// nil if it still has them.
	Groups *asuser.Groups
	Logger *slog.Logger
	// Level is the level of Logger, which a reload may change; it may be nil.
	Level   *slog.LevelVar
	Version string
	// Ready is called once, when everything listens and the queue runs; nil for
	// nothing.
	Ready func(*Daemon)
	// History has the latest lines of Logger; it may be nil.
	History *observe.History
	// FailureDelay is that of auth.Options.
	FailureDelay time.Duration
}

// Daemon is a server with its listeners open. Run starts it.
type Daemon struct {
	o       Options
	cfg     *config.Config // of the start; what a reload may change is in live
	log     *slog.Logger
	started time.Time

	registry *prometheus.Registry // of what lives through reloads
	board    *switchboard
	acme     *acme.Manager        // nil without [acme]
	certs    *listen.Certificates // nil without [tls] and [acme]
	index    *index.Index         // nil: no cache
	stores   *maildir.Stores
	queue    *queue.Queue
	resolver *dns.Resolver // of what lives through reloads
	reports  *tlsrpt.Collector
	bans     *ban.List
	sending  *allowance.Book
	dmarc    *dmarcrpt.Collector
	greylist *inbound.Greylist // nil unless strangers are put off

	turning  sync.Mutex    // guards turns
	turns    dkim.Turns    // which DKIM keys sign
	turnSoon chan struct{} // wakes watchKeys
	servers  []*server
	raw      []net.Listener // opened, and not yet handed to a server

	renewal   renewal
	zones     atomic.Pointer[web.Zones]
	logins    atomic.Value // string: why nobody can log in, "" if one can
	reloading sync.Mutex   // one reload at a time
	reloaded  atomic.Int64 // when the last one was, in Unix nanoseconds
}

// server is something that serves one or more listeners until it is shut down.
type server struct {
	name      string // the key of [listen], or the name of our own socket
	listeners []net.Listener
	serve     func(context.Context, net.Listener) error
	shutdown  func(context.Context) error
}

// New builds everything and opens the listeners, so that a Daemon that exists
// can run. After an error nothing is left open.
func New(ctx context.Context, o Options) (*Daemon, error) {
	d := &Daemon{o: o, cfg: o.Config, log: o.Logger, started: time.Now(), turnSoon: make(chan struct{}, 1), registry: observe.NewRegistry(o.Version), renewal: renewal{done: make(chan struct{}, 1)}}
	if err := d.build(ctx); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *Daemon) build(ctx context.Context) error {
	if err := d.directories(); err != nil {
		return err
	}
	if err := d.openACME(); err != nil {
		return err
	}
	if err := d.loadCertificates(); err != nil {
		return err
	}
	c := d.cfg
	d.registry.MustRegister(d.zoneFindings())
	d.openIndex()
	d.stores = maildir.NewStores(maildir.Options{Separator: c.IMAP.Separator[0], Hostname: c.Hostname, Limits: d.quota, Logger: d.log, Registerer: d.registry, Index: d.index, IdleFor: c.Index.IdleTime, IdleMessages: c.Index.IdleMessages()})
	var err error
	if d.bans, err = ban.Open(d.banOptions()); err != nil {
		return err
	}
	d.sending = allowance.Open(d.allowanceOptions())
	if err := d.openGreylist(); err != nil {
		return err
	}
	d.loadTurns()
	g, err := d.newGeneration(c, nil)
	if err != nil {
		return err
	}
	d.board = newSwitchboard(g)
	d.registry.MustRegister(newKeyMetrics(d))
	if d.resolver, err = dns.NewSystem(c.DNS.Resolver); err != nil {
		return fmt.Errorf("%s: %w", c.Where("dns.resolver"), err)
	}
	d.reports, d.dmarc = d.tlsReports(), d.dmarcReports()
	d.checkLogins(ctx, c)
	if d.queue, err = queue.Open(d.queueOptions()); err != nil {
		return fmt.Errorf("%s: %w", c.Where("state_dir"), err)
	}
	if err := d.buildServers(); err != nil {
		return err
	}
	return d.open(ctx)
}

// directories makes our own directories. systemd makes them as well, root does
// before it gives up its rights.
func (d *Daemon) directories() error {
	for _, dir := range []struct {
		key, path string
		mode      os.FileMode
	}{{"state_dir", d.cfg.StateDir, 0o750}, {"run_dir", d.cfg.RunDir, 0o755}, {"state_dir", d.spoolDir(), 0o700}} {
		if err := os.MkdirAll(dir.path, dir.mode); err != nil {
			return fmt.Errorf("%s: %w", d.cfg.Where(dir.key), err)
		}
	}
	return nil
}

// spoolDir takes messages that are too large for memory while they arrive. It
// is on the queue's disk, since /tmp may be memory.
func (d *Daemon) spoolDir() string { return d.cfg.StateDir + "/spool" }

func (d *Daemon) banOptions() ban.Options {
	l := d.cfg.Limits
	return ban.Options{
		File: d.cfg.StateDir + "/bans.json", Pass: l.Trusted, After: l.BanAfter, NetworkAfter: l.BanNetworkAfter, Time: l.BanTime,
		Logger: d.log, Registerer: d.registry,
	}
}

// allowanceOptions take the limits from the live generation.
func (d *Daemon) allowanceOptions() allowance.Options {
	return allowance.Options{
		File: d.cfg.StateDir + "/sending.json", Logger: d.log, Registerer: d.registry,
		Limits: func() allowance.Limits {
			s := d.board.live.Load().cfg.Submission
			return allowance.Limits{
				MessagesPerHour: s.MessagesPerHour, MessagesPerDay: s.MessagesPerDay,
				RecipientsPerHour: s.RecipientsPerHour, RecipientsPerDay: s.RecipientsPerDay, Unlimited: s.Unlimited,
			}
		},
	}
}

func (d *Daemon) queueOptions() queue.Options {
	o := queueOptions(d.cfg)
	o.Transport, o.Bounce, o.HoldNew, o.Rate, o.Logger, o.Registerer = d, d.bounce, d.holds, d.rateOf, d.log, d.registry
	return o
}

// queueOptions are those that the configuration gives.
func queueOptions(c *config.Config) queue.Options {
	warning := c.Queue.DelayWarning
	if warning == 0 {
		warning = -1
	}
	return queue.Options{
		Dir: c.QueueDir(), Hostname: c.Hostname, Postmaster: "postmaster@" + c.Domain(),
		MaxAge: c.Queue.MaxAge, RetryMin: c.Queue.RetryMin, RetryMax: c.Queue.RetryMax, DelayWarning: warning,
	}
}

// drainTime is how long running transactions may take when the daemon ends:
// less than the unit's TimeoutStopSec.
const drainTime = 20 * time.Second

// Run serves until ctx ends, then stops accepting, lets running transactions
// end for up to 20 seconds, and returns. An error of a listener ends the daemon
// as well and is returned.
func (d *Daemon) Run(ctx context.Context) error {
	defer d.close()
	// Work outlives ctx: it ends by Shutdown, which is patient.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	run, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	var serving sync.WaitGroup
	for _, s := range d.servers {
		for _, l := range s.listeners {
			serving.Go(func() {
				if err := s.serve(work, l); err != nil {
					fail(fmt.Errorf("serving %s on %s: %w", s.name, l.Addr(), err))
				}
			})
		}
	}
	d.raw = nil
	queueCtx, stopQueue := context.WithCancel(work)
	var sending sync.WaitGroup
	sending.Go(func() { d.queue.Run(queueCtx) })
	sending.Go(func() { d.reports.Run(queueCtx) })
	sending.Go(func() { d.sending.Run(queueCtx) })
	sending.Go(func() { d.dmarc.Run(queueCtx) })
	serving.Go(func() { d.watchZones(run) })
	serving.Go(func() { d.watchKeys(run) })
	if d.greylist != nil {
		serving.Go(func() { d.greylist.Run(run) })
	}
	if d.acme != nil {
		serving.Go(func() { d.acme.Run(run) })
	}
	d.notifyReady()
	if d.o.Ready != nil {
		d.o.Ready(d)
	}
	d.watch(run)

	d.notifyStopping()
	d.log.Info("stopping", "drain", drainTime)
	d.shutdown(work)
	stopQueue()
	sending.Wait()
	stopWork()
	serving.Wait()
	d.log.Info("stopped")
	if err := context.Cause(run); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// shutdown ends all servers side by side. The control socket ends with the
// others: its calls are short.
func (d *Daemon) shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range d.servers {
		wg.Go(func() {
			if err := s.shutdown(ctx); err != nil {
				d.log.Warn("shutting down", "proto", s.name, "err", err)
			}
		})
	}
	wg.Wait()
}

// close frees what New has opened.
func (d *Daemon) close() {
	for _, l := range d.raw {
		l.Close()
	}
	d.raw = nil
	var errs []error
	if d.queue != nil {
		errs = append(errs, d.queue.Close())
	}
	if d.board != nil {
		errs = append(errs, d.board.live.Load().close())
	}
	if d.greylist != nil {
		errs = append(errs, d.greylist.Close())
	}
	if d.stores != nil {
		errs = append(errs, d.stores.Close())
	}
	errs = append(errs, d.index.Close())
	if err := errors.Join(errs...); err != nil {
		d.log.Error("closing", "err", err)
	}
}

// readFile reads a file with the groups that the process had at its start.
func (d *Daemon) readFile(path string) (b []byte, err error) {
	err = d.o.Groups.Do(func() error {
		b, err = os.ReadFile(path)
		return err
	})
	return b, err
}

// smtpLimits and imapLimits carry [limits] into the rooms.
func (d *Daemon) smtpLimits() smtpd.Limits {
	return smtpd.Limits{MessageSize: d.cfg.Mail.MessageSizeLimit, Recipients: d.cfg.Limits.Recipients, AuthFailures: d.cfg.Limits.AuthFailures, UnknownDelay: d.cfg.Limits.UnknownDelay}
}

func imapLimits(c *config.Config) imapd.Limits {
	i, l := c.IMAP, c.Limits
	return imapd.Limits{
		AppendSize: c.Mail.MessageSizeLimit, Line: int(i.CommandLimit), Literal: int(i.LiteralLimit), BeforeLogin: int(i.PreloginLimit),
		Handshake: l.Handshake, LoginTime: i.LoginTimeout, Idle: i.IdleTimeout, Stall: i.StallTimeout,
		LoginFailures: l.AuthFailures, BadCommands: i.BadCommands, PerUser: l.ConnectionsPerUser,
		SearchKeys: i.SearchKeys, Depth: i.NestingLimit, NotifyMailboxes: i.NotifyMailboxes,
	}
}
