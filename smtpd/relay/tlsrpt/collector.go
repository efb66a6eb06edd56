package tlsrpt

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"slices"
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

// Collector counts and reports. It is safe for concurrent use.
type Collector struct {
	o    Options
	book *daybook.Book[tally]
	http *http.Client
	now  func() time.Time
	sent *prometheus.CounterVec
}

// New makes a Collector, which goes on with the counts of today that are kept.
func New(o Options) *Collector { return newCollector(o, daybook.Options[tally]{}) }

// newCollector is New with a clock and other times.
func newCollector(o Options, book daybook.Options[tally]) *Collector {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if book.Now == nil {
		book.Now = time.Now
	}
	c := &Collector{o: o, now: book.Now}
	book.Store = daybook.Store[tally]{Dir: o.Dir, Valid: func(t *tally) bool { return !slices.Contains(t.Policies, nil) }}
	book.About, book.MaxDomains, book.Logger = "TLS report", maxDomains, o.Logger
	book.On, book.Send = func() bool { return o.Settings().On }, c.send
	c.book = daybook.New(book)
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
	if err != nil {
		return // an address literal publishes nothing
	}
	r.Domain = domain
	c.book.Count(domain, func(t *tally) { t.add(r) })
}

// Run saves the counts now and then, and sends the reports of days that are
// over, until ctx ends.
func (c *Collector) Run(ctx context.Context) { c.book.Run(ctx) }

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
