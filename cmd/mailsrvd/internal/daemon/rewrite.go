package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/durable"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/srs"
	"svc.plus/mailsrvd/internal/status"
)

// secretFile is the secret of rewritten senders, below state_dir.
const secretFile = "srs-secret"

// newRewriter reads the secret, or makes one; nil if the configuration rewrites no
// senders.
func newRewriter(c *config.Config) (*srs.Rewriter, error) {
	if !c.Relay.SRS {
		return nil, nil
	}
	root, err := os.OpenRoot(c.StateDir)
	if err != nil {
		return nil, fmt.Errorf("opening the directory of the secret for senders: %w", err)
	}
	defer root.Close()
	secret, err := root.ReadFile(secretFile)
	if errors.Is(err, fs.ErrNotExist) {
		secret = []byte(rand.Text() + rand.Text() + "\n")
		err = durable.WriteFile(root, secretFile, 0o600, nil, func(w io.Writer) error {
			_, err := w.Write(secret)
			return err
		})
	}
	if err == nil && len(secret) < 16 {
		err = fmt.Errorf("%s is too short; remove it to make a new one", secretFile)
	}
	if err != nil {
		return nil, fmt.Errorf("the secret for rewritten senders: %w", err)
	}
	return srs.New(secret), nil
}

// rewritten is the sender of mail that is sent on. Our own senders stay: the next
// server knows us as theirs.
func (g *generation) rewritten(sender string) string {
	_, domain, _ := cutAddress(sender)
	if g.srs == nil || sender == "" || slices.Contains(g.cfg.Domains, domain) {
		return sender
	}
	return g.srs.Forward(sender, g.cfg.Domain(), time.Now())
}

// route is where an address leads: a rewritten sender of ours to the true one, all
// else as the agent says.
func (g *generation) route(ctx context.Context, address string) (message.Route, error) {
	local, domain, ok := cutAddress(address)
	if g.srs == nil || !ok || !slices.Contains(g.cfg.Domains, domain) {
		return g.agent.Route(ctx, address)
	}
	sender, err := g.srs.Reverse(local, time.Now())
	switch {
	case errors.Is(err, srs.ErrNotOurs):
		return g.agent.Route(ctx, address)
	case err != nil:
		return message.Route{}, status.Wrap(err, 550, 1, 1, "Rewritten sender address is not or no longer valid")
	}
	return message.Route{Remote: []string{sender}}, nil
}

// cutAddress gives an address's parts, the domain in lower case.
func cutAddress(address string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return address, "", false
	}
	return address[:i], strings.ToLower(address[i+1:]), true
}
