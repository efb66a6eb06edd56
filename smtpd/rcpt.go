package smtpd

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/smtpd/inbound"
)

// Rcpt implements smtp.Session: RCPT TO (RFC 5321 section 4.1.1.3). Whether the
// recipient exists and has room is decided here and now.
func (s *session) Rcpt(to string, o *smtp.RcptOptions) error {
	err := s.rcpt(to, o)
	if err != nil {
		e := status.From(err)
		attrs := []any{"to", to, "code", e.Code, "err", e}
		if d := s.tarpit(e); d > 0 {
			attrs = append(attrs, "tarpit", d)
		}
		s.wire.log().Info("recipient refused", attrs...)
	}
	return reply(err)
}

// unknownFree is how many unknown recipients a connection may name without
// waiting: an old mailing list has some.
const unknownFree = 5

// tarpit makes who guesses addresses wait, and tells how long.
func (s *session) tarpit(e *status.Error) time.Duration {
	d := s.server.o.Limits.UnknownDelay
	if s.server.o.Mode != MX || e.Enhanced != status.NoSuchUser("").Enhanced || d <= 0 || s.wire.track.Allowed() {
		return 0
	}
	if s.unknown++; s.unknown <= unknownFree {
		return 0
	}
	s.server.metrics.tarpit.Inc()
	select {
	case <-time.After(d):
	case <-s.wire.ctx.Done():
	}
	return d
}

func (s *session) rcpt(to string, o *smtp.RcptOptions) error {
	tx := s.open()
	if tx == nil {
		return status.New(503, 5, 1, "Send MAIL first")
	}
	a, err := parseAddress(to)
	if err != nil {
		return status.Wrap(err, 501, 1, 3, "Bad recipient address: "+err.Error())
	}
	if !a.ascii() && !tx.env.SMTPUTF8 {
		return status.New(553, 6, 7, "The recipient address needs SMTPUTF8")
	}
	a = s.server.ownPostmaster(a)
	if !s.server.o.Mode.submits() && !s.server.isLocal(a.domain) {
		return status.RelayDenied(a.String())
	}
	if err := s.judgeClient(tx, a); err != nil {
		return err
	}
	if s.limited(tx) {
		if err := s.server.o.Allowance.May(tx.peer.account, len(tx.recipients)+1); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(s.wire.ctx, s.server.o.Limits.Delivery)
	defer cancel()
	route, err := s.server.o.Router.Route(ctx, a.String())
	if err != nil {
		return err
	}
	if err := s.checkRoute(a, route); err != nil {
		return err
	}
	if err := s.checkRoom(ctx, tx, route); err != nil {
		return err
	}
	tx.recipients = append(tx.recipients, recipient{Recipient: dsnOptions(a.String(), o), key: to, route: route})
	return nil
}

// limited reports whether the client is a user whose submissions are counted.
func (s *session) limited(tx *transaction) bool {
	o := &s.server.o
	return o.Allowance != nil && o.Mode.submits() && (o.Mode != Local || tx.peer.uid != 0)
}

// judgeClient refuses what a stranger may not send, to anybody but the
// postmaster, who helps those that are refused.
func (s *session) judgeClient(tx *transaction, to address) error {
	if strings.EqualFold(to.local, "postmaster") {
		return nil
	}
	m := inbound.Mail{Remote: tx.peer.remote, HELO: tx.peer.helo, ReversePath: tx.env.ReversePath}
	if err := s.client.Recipient(m, to.folded()); err != nil {
		return err
	}
	return nil
}

// ownPostmaster gives the postmaster of this host, whom RFC 5321 section 4.5.1
// wants served, a local domain if the host's name is none.
func (s *Server) ownPostmaster(a address) address {
	if strings.EqualFold(a.local, "postmaster") && strings.EqualFold(a.domain, s.o.Hostname) && !s.isLocal(a.domain) && len(s.o.Domains) > 0 {
		a.domain = s.o.Domains[0]
	}
	return a
}

// checkRoute refuses what a Router should not say.
func (s *session) checkRoute(a address, route message.Route) error {
	if len(route.Local)+len(route.Remote) == 0 && !route.Discard {
		return status.NoSuchUser(a.String())
	}
	if s.server.o.Mode.submits() || len(route.Local) > 0 || route.Discard {
		return nil
	}
	if len(route.Remote) == 1 && strings.EqualFold(route.Remote[0], a.String()) {
		return status.RelayDenied(a.String())
	}
	return nil
}

// checkRoom refuses mail for an account that is full, before the message is
// sent. Where several get it, that is for the delivery to find out.
func (s *session) checkRoom(ctx context.Context, tx *transaction, route message.Route) error {
	if s.server.o.Room == nil || len(route.Local) != 1 || len(route.Remote) > 0 || route.Local[0].Program != "" {
		return nil
	}
	return s.server.o.Room(ctx, route.Local[0], tx.size)
}

// dsnOptions keeps what RFC 3461 lets a sender ask for.
func dsnOptions(address string, o *smtp.RcptOptions) message.Recipient {
	r := message.Recipient{Address: address}
	for _, n := range o.Notify {
		r.Notify = append(r.Notify, string(n))
	}
	slices.Sort(r.Notify)
	if o.OriginalRecipient != "" {
		r.ORcpt = strings.ToLower(string(o.OriginalRecipientType)) + ";" + o.OriginalRecipient
	}
	return r
}
