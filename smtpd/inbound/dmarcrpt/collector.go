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
	"slices"
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
	// pace is the time between two reports: ten thousand take half an hour.
	pace = 200 * time.Millisecond
	// maxPacked is the greatest report that is sent, compressed (section 7.2.1.1
	// names 10 MB as a usual limit).
	maxPacked = 10 << 20
)

// Collector counts and reports. It is safe for concurrent use.
type Collector struct {
	o    Options
	book *daybook.Book[tally]
	now  func() time.Time
	sent *prometheus.CounterVec
}

// New makes a Collector, which goes on with the counts of today that are kept.
func New(o Options) *Collector { return newCollector(o, daybook.Options[tally]{Pace: pace}) }

// newCollector is New with a clock and other times.
func newCollector(o Options, book daybook.Options[tally]) *Collector {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if book.Now == nil {
		book.Now = time.Now
	}
	c := &Collector{o: o, now: book.Now}
	book.Store = daybook.Store[tally]{Dir: o.Dir, Valid: func(t *tally) bool { return !slices.Contains(t.Rows, nil) }}
	book.About, book.MaxDomains, book.Logger = "DMARC report", maxDomains, o.Logger
	book.On, book.Send = func() bool { return o.Settings().On }, c.send
	c.book = daybook.New(book)
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
	c.book.Count(e.Domain, func(t *tally) { t.add(e) })
}

// Run saves the counts now and then, and sends the reports of days that are
// over, until ctx ends.
func (c *Collector) Run(ctx context.Context) { c.book.Run(ctx) }

// Close saves the counts; Run does it too.
func (c *Collector) Close() { c.book.Close() }

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
