// Package dmarcrpt counts what DMARC made of mail from other servers, and reports
// it once a day to the domains that ask for it (RFC 7489 section 7.2). The counts
// of a day are a file; the day after, each domain gets a signed message with its
// report. Addresses in other organisations get one only if those agree (section
// 7.1), so that nobody can have reports sent to a stranger.
package dmarcrpt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/daybook"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/observe"
	"svc.plus/mailsrvd/smtpd/inbound"
)

// Options are what a Collector needs: all but Logger and Registerer.
type Options struct {
	// Dir keeps the counts.
	Dir string
	// Hostname names us as the submitter.
	Hostname string
	Resolver *dns.Resolver
	// Settings are asked for whenever they are needed, since a reload may change
	// them.
	Settings func() Settings
	// Mail signs a message and puts it into the queue.
	Mail func(context.Context, message.Envelope, *message.Content) error

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Settings are what the configuration says.
type Settings struct {
	// On collects and sends.
	On bool
	// Organization and Contact, an address, name us in reports.
	Organization, Contact string
}

const (
	saveEvery  = 30 * time.Second
	retryAfter = time.Hour
	// maxDelay spreads the reports of all senders over some hours of the day.
	maxDelay = 4 * time.Hour
	// giveUp is when a day is forgotten that could not be reported, counted from
	// its end.
	giveUp = 36 * time.Hour
	// pace is the time between two reports: ten thousand take half an hour.
	pace = 200 * time.Millisecond
	// maxPacked is the greatest report that is sent, compressed (section 7.2.1.1
	// names 10 MB as a usual limit).
	maxPacked = 10 << 20
)

// Collector counts and reports. It is safe for concurrent use.
type Collector struct {
	o     Options
	store daybook.Store[tally]
	now   func() time.Time
	delay time.Duration // after midnight
	pace  time.Duration
	sent  *prometheus.CounterVec

	mu    sync.Mutex // guards what follows
	date  string     // of today's counts
	today *daybook.Day[tally]
	dirty bool // today is not saved

	next map[string]time.Time // when a day is tried again; Run's alone
}

// New makes a Collector, which goes on with the counts of today that are kept.
func New(o Options) *Collector {
	c := &Collector{o: o, store: daybook.Store[tally]{Dir: o.Dir, Valid: func(t *tally) bool { return !slices.Contains(t.Rows, nil) }}, now: time.Now, delay: rand.N(maxDelay), pace: pace, next: map[string]time.Time{}}
	if c.o.Logger == nil {
		c.o.Logger = slog.New(slog.DiscardHandler)
	}
	c.sent = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mailsrvd_dmarc_reports_total", Help: "DMARC aggregate reports to other domains, by result: sent, failed, unwanted (the address does not agree).",
	}, []string{"result"})
	if o.Registerer != nil {
		o.Registerer.MustRegister(c.sent)
	}
	return c
}

// Observe is inbound.Options.Evaluated.
func (c *Collector) Observe(e inbound.Evaluation) {
	if !c.o.Settings().On {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn()
	t := c.today.Domains[e.Domain]
	if t == nil {
		if len(c.today.Domains) >= maxDomains {
			return
		}
		t = new(tally)
		c.today.Domains[e.Domain] = t
	}
	t.add(e)
	c.dirty = true
}

// turn makes today the present day. c.mu is held.
func (c *Collector) turn() {
	date := c.now().UTC().Format(time.DateOnly)
	if date == c.date {
		return
	}
	c.save()
	day, err := c.store.Load(date)
	if err != nil {
		c.o.Logger.Warn("the counts for DMARC reports begin anew", "err", err)
	}
	c.date, c.today = date, day
}

// save writes today's counts, if they have changed. c.mu is held.
func (c *Collector) save() {
	if !c.dirty {
		return
	}
	c.dirty = false
	if err := c.store.Save(c.date, c.today); err != nil {
		c.o.Logger.Warn("keeping the counts for DMARC reports", "err", err)
	}
}

// Run saves the counts now and then, and sends the reports of days that are
// over, until ctx ends.
func (c *Collector) Run(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		c.mu.Lock()
		c.turn()
		c.save()
		c.mu.Unlock()
		if c.o.Settings().On {
			c.sendDue(ctx)
		}
		select {
		case <-ctx.Done():
			c.Close()
			return
		case <-tick.C:
		}
	}
}

// Close saves the counts; Run does it too.
func (c *Collector) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.save()
}

// sendDue sends what is due, a day after the other.
func (c *Collector) sendDue(ctx context.Context) {
	for _, date := range c.store.Dates() {
		start, err := time.Parse(time.DateOnly, date)
		end := start.Add(24 * time.Hour)
		now := c.now()
		if err != nil || now.Before(end.Add(c.delay)) || now.Before(c.next[date]) || ctx.Err() != nil {
			continue
		}
		d, err := c.store.Load(date)
		if err != nil {
			c.o.Logger.Warn("a day of DMARC reports is lost", "err", err)
		}
		c.sendDay(ctx, start, d)
		if now.After(end.Add(giveUp)) && len(d.Domains) > 0 && ctx.Err() == nil {
			c.o.Logger.Warn("giving up on DMARC reports", "day", date, "domains", len(d.Domains))
			clear(d.Domains)
		}
		c.next[date] = now.Add(retryAfter)
		if err := c.store.Save(date, d); err != nil {
			c.o.Logger.Warn("keeping the counts for DMARC reports", "err", err)
		}
	}
}

// sendDay reports to all domains of d, and leaves in it those to try again.
func (c *Collector) sendDay(ctx context.Context, start time.Time, d *daybook.Day[tally]) {
	tick := time.NewTicker(c.pace)
	defer tick.Stop()
	for domain, t := range d.Domains {
		err := c.send(ctx, start, domain, t)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.o.Logger.Info("a DMARC report is put off", "domain", domain, "err", err)
			continue
		}
		delete(d.Domains, domain)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// send sends one domain its report, if it still wants one.
func (c *Collector) send(ctx context.Context, start time.Time, domain string, t *tally) error {
	addresses, err := c.addresses(ctx, domain)
	if err != nil || len(addresses) == 0 {
		return err
	}
	r := c.report(start, domain, t)
	packed, err := r.pack()
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range addresses {
		if slices.Contains(t.Sent, a.mailbox) {
			continue
		}
		if int64(len(packed)) > min(a.limit, maxPacked) {
			c.o.Logger.Info("a DMARC report is too big to be sent", "domain", domain, "to", a.mailbox, "size", len(packed))
			continue
		}
		if err := c.mail(ctx, a.mailbox, domain, r, packed); err != nil {
			c.sent.WithLabelValues("failed").Inc()
			errs = append(errs, err)
			continue
		}
		t.Sent = append(t.Sent, a.mailbox)
		c.sent.WithLabelValues("sent").Inc()
		c.o.Logger.Info("DMARC report sent", "domain", domain, "to", a.mailbox, "day", start.Format(time.DateOnly), "records", len(r.Records))
	}
	return errors.Join(errs...)
}

// report makes the report of a day for a domain.
func (c *Collector) report(start time.Time, domain string, t *tally) *Report {
	s := c.o.Settings()
	t.Published.Domain = domain
	return &Report{
		Version: "1.0",
		Metadata: Metadata{
			Organization: s.Organization, Email: s.Contact,
			ID:    fmt.Sprintf("%s.%s@%s", start.Format("20060102"), observe.NewTrace(), c.o.Hostname),
			Range: DateRange{Begin: start.Unix(), End: start.Unix() + 86399},
		},
		Published: t.Published,
		Records:   t.records(),
	}
}
