package tlsrpt

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/daybook"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/relay"
)

// Options are what a Collector needs: all but RootCAs, Logger and Registerer.
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
	// RootCAs verify those who take reports by HTTPS; nil means the system's.
	RootCAs *x509.CertPool

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
)

// Collector counts and reports. It is safe for concurrent use.
type Collector struct {
	o     Options
	store daybook.Store[tally]
	http  *http.Client
	now   func() time.Time
	delay time.Duration // after midnight
	sent  *prometheus.CounterVec

	mu    sync.Mutex // guards what follows
	date  string     // of today's counts
	today *daybook.Day[tally]
	dirty bool // today is not saved

	next map[string]time.Time // when a day is tried again; Run's alone
}

// New makes a Collector, which goes on with the counts of today that are kept.
func New(o Options) *Collector {
	c := &Collector{o: o, store: daybook.Store[tally]{Dir: o.Dir, Valid: func(t *tally) bool { return !slices.Contains(t.Policies, nil) }}, now: time.Now, delay: rand.N(maxDelay), next: map[string]time.Time{}}
	if c.o.Logger == nil {
		c.o.Logger = slog.New(slog.DiscardHandler)
	}
	c.http = c.client()
	c.sent = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mailsrvd_tls_reports_total", Help: "Reports on TLS for other domains (RFC 8460), by the way they went and result: sent, failed.",
	}, []string{"way", "result"})
	if o.Registerer != nil {
		o.Registerer.MustRegister(c.sent)
	}
	return c
}

// Observe is relay.Options.Observe.
func (c *Collector) Observe(r relay.TLSResult) {
	domain, err := dns.ToASCII(r.Domain)
	if err != nil || !c.o.Settings().On {
		return // an address literal publishes nothing
	}
	r.Domain = domain
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn()
	t := c.today.Domains[domain]
	if t == nil {
		if len(c.today.Domains) >= maxDomains {
			return
		}
		t = new(tally)
		c.today.Domains[domain] = t
	}
	t.add(r)
	c.dirty = true
}

// turn makes today the present day. mu is held.
func (c *Collector) turn() {
	date := c.now().UTC().Format(time.DateOnly)
	if date == c.date {
		return
	}
	c.save()
	day, err := c.store.Load(date)
	if err != nil {
		c.o.Logger.Warn("the counts for TLS reports begin anew", "err", err)
	}
	c.date, c.today = date, day
}

// save writes today's counts, if they have changed. mu is held.
func (c *Collector) save() {
	if !c.dirty {
		return
	}
	c.dirty = false
	if err := c.store.Save(c.date, c.today); err != nil {
		c.o.Logger.Warn("keeping the counts for TLS reports", "err", err)
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
			c.mu.Lock()
			defer c.mu.Unlock()
			c.save()
			return
		case <-tick.C:
		}
	}
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
			c.o.Logger.Warn("a day of TLS reports is lost", "err", err)
		}
		c.sendDay(ctx, start, d)
		if now.After(end.Add(giveUp)) && len(d.Domains) > 0 && ctx.Err() == nil {
			c.o.Logger.Warn("giving up on TLS reports", "day", date, "domains", len(d.Domains))
			clear(d.Domains)
		}
		c.next[date] = now.Add(retryAfter)
		if err := c.store.Save(date, d); err != nil {
			c.o.Logger.Warn("keeping the counts for TLS reports", "err", err)
		}
	}
}

// sendDay reports to all domains of d, and leaves in it those to try again.
func (c *Collector) sendDay(ctx context.Context, start time.Time, d *daybook.Day[tally]) {
	for domain, t := range d.Domains {
		err := c.send(ctx, start, domain, t)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			delete(d.Domains, domain)
			continue
		}
		c.o.Logger.Info("a TLS report is put off", "domain", domain, "err", err)
	}
}

// send sends one domain its report, if it wants one.
func (c *Collector) send(ctx context.Context, start time.Time, domain string, t *tally) error {
	texts, err := c.o.Resolver.TXT(ctx, "_smtp._tls."+domain)
	if errors.Is(err, dns.ErrNotFound) || errors.Is(err, dns.ErrInvalidName) {
		return nil
	}
	if err != nil {
		return err
	}
	uris := ParseRecord(texts)
	if len(uris) == 0 {
		return nil
	}
	r := c.report(start, domain, t, c.o.Settings())
	packed, err := r.pack()
	if err != nil {
		return err
	}
	var errs []error
	for _, uri := range uris {
		if slices.Contains(t.Sent, uri) {
			continue
		}
		way := "https"
		to := mailAddress(uri)
		if to != "" {
			way, err = "mail", c.mail(ctx, to, domain, r, packed)
		} else {
			err = c.post(ctx, uri, packed)
		}
		result := "sent"
		if err != nil {
			result = "failed"
		} else {
			t.Sent = append(t.Sent, uri)
			c.o.Logger.Info("TLS report sent", "domain", domain, "to", uri, "day", start.Format(time.DateOnly))
		}
		c.sent.WithLabelValues(way, result).Inc()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
