package inbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// Setting is what the configuration says about a check.
type Setting string

// The settings. SPF, DKIM and ARC know Off and Tag only.
const (
	Off        Setting = "off"
	Tag        Setting = "tag"        // tell the result, do nothing
	Quarantine Setting = "quarantine" // what DMARC wants kept away goes to Junk
	Reject     Setting = "reject"     // and is refused where the domain says so
)

// Options are what an Inspector needs: AuthservID and Resolver. Settings that
// are empty are Tag.
type Options struct {
	// AuthservID is our name in Authentication-Results (RFC 8601 section 2.5).
	AuthservID string
	Resolver   *dns.Resolver

	SPF, DKIM, DMARC, ARC Setting
	// TrustedSealers are domains whose ARC sets are believed where DMARC fails
	// (RFC 8617 section 7.2), as A-labels in lower case.
	TrustedSealers []string

	Client ClientOptions
	// Evaluated hears of each message whose author's domain wants aggregate
	// reports; nil for nobody. It is called in the transaction and must be quick.
	Evaluated func(Evaluation)
	// Skip are networks whose mail is not judged, such as this host itself.
	Skip []netip.Prefix
	// Timeout is for all checks of one message together; 0 means 10 s.
	Timeout time.Duration

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Check returns all that keeps an Inspector with these options from working.
func (o Options) Check(context.Context) error {
	var errs []error
	if _, err := dns.ToASCII(o.AuthservID); err != nil {
		errs = append(errs, fmt.Errorf("inbound: authserv-id: %w", err))
	}
	if o.Resolver == nil {
		errs = append(errs, errors.New("inbound: no resolver"))
	}
	for _, s := range []struct {
		name    string
		setting Setting
		known   []Setting
	}{
		{"spf", o.SPF, []Setting{Off, Tag}},
		{"dkim", o.DKIM, []Setting{Off, Tag}},
		{"arc", o.ARC, []Setting{Off, Tag}},
		{"dmarc", o.DMARC, []Setting{Off, Tag, Quarantine, Reject}},
		{"iprev", o.Client.IPRev, []Setting{Tag, Reject}},
		{"helo", o.Client.HELO, []Setting{Off, Tag, Reject}},
	} {
		if s.setting != "" && !slices.Contains(s.known, s.setting) {
			errs = append(errs, fmt.Errorf("inbound: %s: no setting %q", s.name, s.setting))
		}
	}
	for _, l := range o.Client.Lists {
		if _, err := dns.ToASCII(l.Zone); err != nil {
			errs = append(errs, fmt.Errorf("inbound: dnsbl: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Inspector judges messages. It is safe for concurrent use.
type Inspector struct {
	o       Options
	metrics *metrics
	draw    func() int // 0 to 99, for pct=
}

// New returns an Inspector, or all that Options.Check finds wrong.
func New(o Options) (*Inspector, error) {
	if err := o.Check(context.Background()); err != nil {
		return nil, err
	}
	o.AuthservID, _ = dns.ToASCII(o.AuthservID)
	o.SPF, o.DKIM, o.DMARC = cmp.Or(o.SPF, Tag), cmp.Or(o.DKIM, Tag), cmp.Or(o.DMARC, Tag)
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Client = o.Client.withDefaults()
	return &Inspector{o: o, metrics: newMetrics(o.Registerer), draw: func() int { return rand.IntN(100) }}, nil
}

// Mail is what the checks see of a message.
type Mail struct {
	// Trace names the message in logs.
	Trace string
	// Remote is the client; HELO is what it calls itself.
	Remote netip.Addr
	HELO   string
	// ReversePath is empty for the null reverse-path.
	ReversePath string
	// Client is what Inspector.Client has given for the connection; nil asks anew
	// for its name alone.
	Client *Client
	// Header is the header block as the client sent it, with CRLF.
	Header []byte
	// Content is the message as the client sent it. It is read by several
	// readers at once, and by one that comes too late perhaps after Inspect.
	Content *message.Content
}

// Action is what shall become of a message.
type Action int

// The actions.
const (
	Deliver Action = iota
	Junk           // deliver into the folder for junk
	Refuse         // Report.Err is the reply
)

// String gives the name used in logs and metrics.
func (a Action) String() string {
	return [...]string{Deliver: "none", Junk: "quarantine", Refuse: "reject"}[a]
}

// Report is what came of all checks.
type Report struct {
	// Verdicts has one element per check, and for DKIM one per signature; it is
	// empty for mail that is not judged.
	Verdicts []Verdict
	Action   Action
	// Err is the reply when Action is Refuse.
	Err *status.Error
	// Trusted says that the reverse-path is authenticated, by SPF or by an
	// aligned signature: a report to it is no backscatter.
	Trusted bool
	// Header is our Authentication-Results field with its CRLF, to stand on top
	// of the message; empty for mail that is not judged.
	Header []byte
}

// checkNames is the order of the log.
var checkNames = []string{"iprev", "helo", "dnsbl", "greylist", "spf", "dkim", "arc", "dmarc"}

// Attrs are the results for the log line of the message.
func (r Report) Attrs() []any {
	var attrs []any
	for _, check := range checkNames {
		if v, ok := r.best(check); ok {
			attrs = append(attrs, check, v.word())
		}
	}
	if r.Action != Deliver {
		attrs = append(attrs, "action", r.Action.String())
	}
	return attrs
}

// ClientName is the name that leads back to the client's address, "" if there
// is none.
func (r Report) ClientName() string {
	v, _ := r.best("iprev")
	return v.Comment
}

// best is the verdict of a check; of several, the first that passes.
func (r Report) best(check string) (best Verdict, ok bool) {
	for _, v := range r.Verdicts {
		if v.Check == check && (!ok || v.Result == pass && best.Result != pass) {
			best, ok = v, true
		}
	}
	return best, ok
}

// Inspect runs all checks. It takes little more than Options.Timeout at most,
// whatever the DNS does, and never fails: what cannot be known is a temperror.
func (i *Inspector) Inspect(ctx context.Context, m Mail) Report {
	m.Remote = m.Remote.Unmap()
	if !i.judges(m.Remote) {
		return Report{}
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, i.o.Timeout)
	defer cancel()
	var r Report
	if m.Client == nil {
		m.Client = i.Client(ctx, m.Remote, true)
		defer m.Client.Close()
	}
	client := beside(i, ctx, m, m.Client.verdicts, []Verdict{unfinished("iprev")})
	spf := beside(i, ctx, m, i.spf, unfinished("spf"))
	signatures := beside(i, ctx, m, i.dkim, []Verdict{unfinished("dkim")})
	policy := beside(i, ctx, m, i.policy, policy{result: tempError, reason: reasonTime})
	arc := beside(i, ctx, m, i.arc, chain{})
	ids := identities{spf: spf(), dkim: signatures()}
	r.Verdicts = append(append(client(), ids.spf), ids.dkim...)
	r.Trusted = ids.trusts(m.ReversePath)
	forwarded := arc()
	r.Verdicts = append(r.Verdicts, forwarded.verdict)
	if i.o.DMARC != Off {
		i.conclude(&r, m, policy(), ids, forwarded)
	}
	if r.Action == Deliver && m.Client.junk() {
		r.Action = Junk
	}
	r.Verdicts = slices.DeleteFunc(r.Verdicts, func(v Verdict) bool { return v.Check == "" })
	r.Header = resultsField(i.o.AuthservID, r.Verdicts)
	i.metrics.report(r, time.Since(began))
	return r
}
