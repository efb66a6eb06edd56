// Package filter asks programs outside of this server what they make of a
// message: milters (opendkim, clamav-milter, rspamd's proxy) by the protocol of
// sendmail, and rspamd by its own HTTP protocol. The filters of a Chain are
// asked one after the other, each sees the header as the ones before have left
// it, and the first that refuses ends the matter.
//
// A filter may refuse a message, put it off, have it kept out of the INBOX, and
// change its header. It changes neither body nor recipients, and loses nothing:
// what it would have discarded is refused, so that the sender hears of it. One
// that gives no answer within its time is dead, and its Spec says what then.
package filter

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// Spec is one filter.
type Spec struct {
	// Name tells filters apart in logs and metrics: letters, digits, "-" and "_".
	Name string
	// Protocol is Milter or Rspamd.
	Protocol Protocol
	// Address is "host:port" or the path of a UNIX socket; for Rspamd also a URL.
	Address string
	// Timeout bounds the whole work on one message; 0 means 30 s.
	Timeout time.Duration
	// MaxSize is in bytes: longer messages are not shown to it; 0 means no limit.
	MaxSize int64
	// Defer puts messages off while the filter is dead. Else they pass.
	Defer bool
	// Submission shows it the mail of our own users too, LMTP what comes by LMTP.
	Submission, LMTP bool
}

// Protocol is how a filter is spoken to.
type Protocol string

// The protocols.
const (
	Milter Protocol = "milter"
	Rspamd Protocol = "rspamd"
)

// Options are what a Chain needs.
type Options struct {
	Filters []Spec
	// Hostname is this server's name.
	Hostname   string
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

var goodName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// Check returns all that keeps a Chain with these options from working. It asks
// no filter.
func (o Options) Check(context.Context) error {
	var errs []error
	seen := map[string]bool{}
	for _, f := range o.Filters {
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("filter %q: %w", f.Name, fmt.Errorf(format, args...)))
		}
		if !goodName.MatchString(f.Name) || seen[f.Name] {
			bad("the name is not of letters, digits, - and _, or is there twice")
		}
		seen[f.Name] = true
		if f.Protocol != Milter && f.Protocol != Rspamd {
			bad("no protocol %q", f.Protocol)
		}
		if _, err := parseAddress(f.Address); err != nil {
			bad("%w", err)
		}
		if f.Timeout < 0 || f.MaxSize < 0 {
			bad("a limit is negative")
		}
	}
	return errors.Join(errs...)
}

// Mail is what filters see.
type Mail struct {
	// Trace names the message in logs, here and there.
	Trace string
	// Remote is the client, the zero Addr on a local socket; RemoteName is the
	// name that leads back to it, "" if there is none; HELO is what it calls
	// itself.
	Remote     netip.Addr
	RemoteName string
	HELO       string
	TLS        *tls.ConnectionState
	// User is the account of a submission; LMTP says that it came by LMTP.
	User string
	LMTP bool
	// ReversePath is empty for the null reverse-path.
	ReversePath string
	Recipients  []string
	// Header is the header block with CRLF, without the empty line. Content
	// begins with it.
	Header  []byte
	Content *message.Content
}

// Action is what shall become of a message. Greater ones win.
type Action int

// The actions.
const (
	Accept Action = iota
	Junk          // deliver into the folder for junk
	Defer         // Result.Err is the reply, a temporary one
	Reject        // Result.Err is the reply
)

// String gives the word used in logs and metrics.
func (a Action) String() string {
	return [...]string{Accept: "accept", Junk: "junk", Defer: "defer", Reject: "reject"}[a]
}

// Result is what came of a Chain.
type Result struct {
	Action Action
	// Err is the reply for Defer and Reject.
	Err *status.Error
	// Header is the header block that the message shall have: Mail.Header itself
	// if nobody has changed it.
	Header []byte
	// Attrs are for the log line of the message: "filter_<name>" and a word for
	// what it said, with what it gave as a reason.
	Attrs []any
}

// answer is what one filter says.
type answer struct {
	action Action
	err    *status.Error
	edits  []edit
	detail string // for the log
}

// asker speaks the protocol of one filter.
type asker interface {
	ask(ctx context.Context, m Mail) (answer, error)
}

type member struct {
	Spec
	asker
}

// Chain asks filters. It is safe for concurrent use.
type Chain struct {
	members []member
	log     *slog.Logger
	metrics metrics
}

// New returns a Chain, or all that Options.Check finds wrong.
func New(o Options) (*Chain, error) {
	if err := o.Check(context.Background()); err != nil {
		return nil, err
	}
	c := &Chain{log: o.Logger, metrics: newMetrics(o.Registerer)}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	for _, f := range o.Filters {
		f.Timeout = cmp.Or(f.Timeout, 30*time.Second)
		at, _ := parseAddress(f.Address)
		m := member{Spec: f, asker: &milter{at: at, hostname: o.Hostname}}
		if f.Protocol == Rspamd {
			m.asker = newRspamd(at, o.Hostname)
		}
		c.members = append(c.members, m)
	}
	return c, nil
}

// Run asks all filters that are for this message. It takes the sum of their
// timeouts at most, and never fails: a dead filter is one of the Actions.
func (c *Chain) Run(ctx context.Context, m Mail) Result {
	r := Result{Header: m.Header}
	body := int64(len(m.Header))
	content := m.Content
	for _, f := range c.members {
		if m.User != "" && !f.Submission || m.LMTP && !f.LMTP {
			continue
		}
		if f.MaxSize > 0 && content.Size() > f.MaxSize {
			r.note(f.Name, "skipped", "the message is too big")
			c.metrics.results.WithLabelValues(f.Name, "skipped").Inc()
			continue
		}
		a, word := c.run(ctx, f, m)
		r.note(f.Name, word, a.detail)
		if len(a.edits) > 0 {
			r.Header = apply(r.Header, a.edits)
			m.Header, m.Content = r.Header, content.WithHeader(r.Header, body)
		}
		if a.action > r.Action {
			r.Action, r.Err = a.action, a.err
		}
		if r.Action >= Defer {
			break
		}
	}
	return r
}

func (r *Result) note(name, word, detail string) {
	if detail != "" {
		word += " (" + detail + ")"
	}
	r.Attrs = append(r.Attrs, "filter_"+name, word)
}

// run asks one filter and says what to do if it is dead.
func (c *Chain) run(ctx context.Context, f member, m Mail) (a answer, word string) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	a, err := c.guarded(ctx, f, m)
	word = a.action.String()
	if err != nil {
		word = "failed"
		a = answer{detail: err.Error()}
		if f.Defer {
			a.action = Defer
			a.err = status.Wrap(err, 451, 7, 1, "The content of messages cannot be checked now, try again later")
		}
		c.log.Warn("a content filter does not work", "trace", m.Trace, "filter", f.Name, "address", f.Address, "deferred", f.Defer, "err", err)
	}
	c.metrics.results.WithLabelValues(f.Name, word).Inc()
	c.metrics.seconds.WithLabelValues(f.Name).Observe(time.Since(began).Seconds())
	return a, word
}

// guarded is ask without panics.
func (c *Chain) guarded(ctx context.Context, f member, m Mail) (a answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("a content filter's client has a bug", "trace", m.Trace, "filter", f.Name, "err", p, "stack", string(debug.Stack()))
			a, err = answer{}, fmt.Errorf("bug: %v", p)
		}
	}()
	return f.ask(ctx, m)
}

// refusal is the reply to a message that a filter does not want. text may be
// empty or have been written by strangers.
func refusal(action Action, text string) *status.Error {
	text = printable(text, 200)
	if action == Defer {
		return status.New(451, 7, 1, cmp.Or(text, "Try again later"))
	}
	return status.New(550, 7, 1, cmp.Or(text, "The message is refused because of its content"))
}

// printable keeps what a filter says on one line of ASCII.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), limit)]
}

// saysSpam reports whether edits mark the message as spam in the header, which
// is all that a milter can say about it.
func saysSpam(edits []edit) bool {
	return slices.ContainsFunc(edits, func(e edit) bool {
		return (strings.EqualFold(e.name, "X-Spam") || strings.EqualFold(e.name, "X-Spam-Flag")) &&
			strings.EqualFold(strings.TrimSpace(e.value), "yes")
	})
}
