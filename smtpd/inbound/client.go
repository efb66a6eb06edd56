package inbound

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/status"
)

// ClientOptions say what is asked about a client before it may send. The zero
// value asks for its name alone and refuses nobody.
type ClientOptions struct {
	// IPRev is Tag, or Reject for clients whose address has no name that leads
	// back to it. HELO is Off, Tag, or Reject for clients that do not say who they
	// are. Empty ones are Tag and Off.
	IPRev, HELO Setting
	// Lists are DNS lists of addresses. JunkScore and RejectScore are the sums of
	// scores from which on mail goes to Junk or is refused; 0 is never.
	Lists                  []DNSList
	JunkScore, RejectScore int
	// Greylist puts strangers off once; nil does not.
	Greylist *Greylist
}

// Client is one connection's client, as far as its mail depends on it. Its
// methods are safe for concurrent use.
type Client struct {
	i       *Inspector
	trusted bool
	cancel  context.CancelFunc

	iprev, lists func() Verdict
	score        int // of lists, once that has returned

	mu   sync.Mutex // guards what follows
	name string     // that helo is about
	helo func() Verdict
	grey string // what the greylist said last
}

// Client begins to ask about a client: the answers come while it talks. ctx ends
// with the connection. A trusted one is asked for its name alone and never
// refused. The result is nil for a client that is not judged; the methods of a nil
// Client let everything pass. Close frees it.
func (i *Inspector) Client(ctx context.Context, remote netip.Addr, trusted bool) *Client {
	remote = remote.Unmap().WithZone("")
	if !i.judges(remote) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, i.o.Timeout)
	m := Mail{Remote: remote}
	c := &Client{i: i, trusted: trusted, cancel: cancel}
	c.iprev = sync.OnceValue(beside(i, ctx, m, i.iprev, unfinished("iprev")))
	c.lists = func() Verdict { return Verdict{} }
	if len(i.o.Client.Lists) > 0 && !trusted {
		answers := beside(i, ctx, m, i.lists, listing{Verdict: unfinished("dnsbl")})
		c.lists = sync.OnceValue(func() Verdict {
			l := answers()
			c.score = l.score
			return l.Verdict
		})
	}
	return c
}

func (i *Inspector) judges(remote netip.Addr) bool {
	return remote.IsValid() && !slices.ContainsFunc(i.o.Skip, func(p netip.Prefix) bool { return p.Contains(remote) })
}

// Close ends the questions that are still open.
func (c *Client) Close() {
	if c != nil {
		c.cancel()
	}
}

// judgeHELO gives the verdict about the name that the client gave itself last.
func (c *Client) judgeHELO(m Mail) Verdict {
	if c.i.o.Client.HELO == Off || c.trusted {
		return Verdict{}
	}
	c.mu.Lock()
	if c.helo == nil || c.name != m.HELO {
		ctx, cancel := context.WithTimeout(context.Background(), c.i.o.Timeout)
		c.name = m.HELO
		c.helo = sync.OnceValue(func() Verdict {
			defer cancel()
			return beside(c.i, ctx, m, c.i.helo, unfinished("helo"))()
		})
	}
	run := c.helo
	c.mu.Unlock()
	return run()
}

// Recipient says whether the client may send to a recipient: nil, or the
// refusal. It waits only for answers on which that depends. m needs Remote, HELO
// and ReversePath.
func (c *Client) Recipient(m Mail, recipient string) *status.Error {
	if c == nil || c.trusted {
		return nil
	}
	m.Remote = m.Remote.Unmap().WithZone("")
	check, err := c.refusal(m, recipient)
	if err != nil {
		c.i.metrics.refused.WithLabelValues(check).Inc()
	}
	return err
}

func (c *Client) refusal(m Mail, recipient string) (check string, err *status.Error) {
	o := c.i.o.Client
	if o.IPRev == Reject {
		if v := c.iprev(); v.Result == fail || v.Result == permError {
			return "iprev", status.New(550, 7, 25, "Your address "+m.Remote.String()+" needs a name that leads back to it: "+v.Reason)
		}
	}
	if o.HELO == Reject {
		if v := c.judgeHELO(m); v.Result == fail {
			return "helo", status.New(550, 7, 1, "Say your own name in EHLO: "+v.Reason)
		}
	}
	if o.RejectScore > 0 {
		if v := c.lists(); c.score >= o.RejectScore {
			return "dnsbl", status.New(554, 7, 1, "Your address "+m.Remote.String()+" is listed: "+v.Comment)
		}
	}
	if o.Greylist == nil {
		return "", nil
	}
	return "greylist", c.greylist(m, recipient)
}

// greylist puts a stranger off. Who is listed as good is none.
func (c *Client) greylist(m Mail, recipient string) *status.Error {
	g := c.i.o.Client.Greylist
	word, wait := "", time.Duration(0)
	if c.lists(); c.score < 0 {
		word = "listed"
	} else {
		word, wait = g.ask(m.Remote, c.friendly, m.ReversePath, recipient)
	}
	c.mu.Lock()
	c.grey = word
	c.mu.Unlock()
	c.i.metrics.results.WithLabelValues("greylist", word).Inc()
	if wait > 0 {
		return status.New(451, 7, 1, "Greylisted, try again in "+wait.Round(time.Second).String())
	}
	return nil
}

// friendly is the name of the client's address, "" if it has none.
func (c *Client) friendly() string { return c.iprev().Comment }

// verdicts are what the log tells of the client with a message.
func (c *Client) verdicts(_ context.Context, m Mail) []Verdict {
	list := []Verdict{c.iprev(), c.judgeHELO(m), c.lists()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.grey != "" {
		list = append(list, Verdict{Check: "greylist", Result: c.grey, local: true})
	}
	return list
}

// junk reports whether the DNS lists want mail set aside.
func (c *Client) junk() bool {
	c.lists()
	most := c.i.o.Client.JunkScore
	return most > 0 && c.score >= most
}

// helo looks whether the client's name for itself is that of a mail server (RFC
// 5321 section 4.1.1.1): an address literal that is its own, or a name that the
// DNS knows and that is not ours.
func (i *Inspector) helo(ctx context.Context, m Mail) Verdict {
	v := Verdict{Check: "helo", Result: fail, local: true}
	name := m.HELO
	if literal, ok := strings.CutPrefix(name, "["); ok {
		literal = strings.TrimSuffix(literal, "]")
		if len(literal) > 5 && strings.EqualFold(literal[:5], "IPv6:") {
			literal = literal[5:]
		}
		if a, err := netip.ParseAddr(literal); err != nil || a.Unmap() != m.Remote {
			v.Reason = "the address is not the client's"
			return v
		}
		v.Result = pass
		return v
	}
	domain, err := dns.ToASCII(name)
	if _, literal := netip.ParseAddr(name); err != nil || literal == nil || !strings.Contains(domain, ".") {
		v.Reason = "it is no full host name"
		return v
	}
	if domain == i.o.AuthservID {
		v.Reason = "it is the name of this server"
		return v
	}
	_, err = i.o.Resolver.Addrs(ctx, domain)
	if isNotFound(err) {
		_, err = i.o.Resolver.MX(ctx, domain)
	}
	switch {
	case err == nil:
		v.Result = pass
	case temporary(err):
		v.Result, v.Reason = tempError, "the name is not to be had now"
	default:
		v.Reason = "the DNS does not know it"
	}
	return v
}

func (o ClientOptions) withDefaults() ClientOptions {
	o.IPRev, o.HELO = cmp.Or(o.IPRev, Tag), cmp.Or(o.HELO, Off)
	return o
}
