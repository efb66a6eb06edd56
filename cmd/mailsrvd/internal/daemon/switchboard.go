package daemon

import (
	"context"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/message"
)

// switchboard connects what lives through reloads with the generation that is
// live at each call. It satisfies the small interfaces that the rooms declare.
type switchboard struct {
	live atomic.Pointer[generation]
}

func newSwitchboard(g *generation) *switchboard {
	s := &switchboard{}
	s.live.Store(g)
	return s
}

// Authenticate is for smtpd, imapd and managesieve.
func (s *switchboard) Authenticate(ctx context.Context, c auth.Credentials) (auth.Account, error) {
	return s.live.Load().auth.Authenticate(ctx, c)
}

// Route implements smtpd.Router.
func (s *switchboard) Route(ctx context.Context, address string) (message.Route, error) {
	return s.live.Load().route(ctx, address)
}

// room is for smtpd.
func (s *switchboard) room(ctx context.Context, to message.Local, size int64) error {
	return s.live.Load().agent.Room(ctx, to, size)
}

// Deliver implements smtpd.Deliverer.
func (s *switchboard) Deliver(ctx context.Context, env message.Envelope, c *message.Content, to []message.Local) []error {
	return s.live.Load().agent.Deliver(ctx, env, c, to)
}

// Match and Sign implement smtpd.Signer.
func (s *switchboard) Match(fromDomain string) (string, bool) {
	return s.live.Load().signing.Load().Match(fromDomain)
}

func (s *switchboard) Sign(ctx context.Context, domain string, c *message.Content) ([]byte, error) {
	return s.live.Load().signing.Load().Sign(ctx, domain, c)
}

// sign signs for a From domain, if there is a key.
func sign(ctx context.Context, signer *signing, domain string, c *message.Content) ([]byte, error) {
	as, ok := signer.Match(domain)
	if !ok {
		return nil, nil
	}
	return signer.Sign(ctx, as, c)
}

// senderAllowed is for smtpd.
func (s *switchboard) senderAllowed(account, address string) bool {
	g := s.live.Load()
	return !g.cfg.Submission.CheckSender || g.senders.Allowed(context.Background(), account, address)
}

// Gather implements prometheus.Gatherer for what belongs to the generation.
func (s *switchboard) Gather() ([]*dto.MetricFamily, error) {
	g := s.live.Load()
	return prometheus.Gatherers{g.auth.registry, g.registry}.Gather()
}
