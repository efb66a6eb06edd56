package admin

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"svc.plus/mailsrvd/auth/ban"
	"svc.plus/mailsrvd/internal/control"
)

type banArgs struct {
	Network netip.Prefix  `json:"network"`
	For     time.Duration `json:"for,omitempty"`
	Reason  string        `json:"reason,omitempty"`
}

// BanHandlers answer the commands on the list of bans.
func BanHandlers(l *ban.List) map[string]control.Handler {
	return map[string]control.Handler{
		"ban.list": func(context.Context, *control.Call) (any, error) { return l.Entries(), nil },
		"ban.add": func(_ context.Context, c *control.Call) (any, error) {
			var a banArgs
			if err := c.Decode(&a); err != nil {
				return nil, err
			}
			e, err := l.Add(a.Network, a.For, a.Reason)
			if errors.Is(err, ban.ErrPass) {
				return nil, control.Errorf(control.Refused, "%v", err)
			}
			return e, err
		},
		"ban.remove": func(_ context.Context, c *control.Call) (any, error) {
			var a banArgs
			if err := c.Decode(&a); err != nil {
				return nil, err
			}
			err := l.Remove(a.Network)
			if errors.Is(err, ban.ErrUnknown) {
				return nil, control.Errorf(control.NotFound, "%v", err)
			}
			return nil, err
		},
	}
}

// Bans asks the daemon who is banned, the latest first.
func Bans(ctx context.Context, socket string) ([]ban.Entry, error) {
	var list []ban.Entry
	err := control.Do(ctx, socket, control.Request{Name: "ban.list"}, &list)
	return list, err
}

// Ban bans a network for d, or for good when d is 0.
func Ban(ctx context.Context, socket string, network netip.Prefix, d time.Duration, reason string) (ban.Entry, error) {
	var e ban.Entry
	err := control.Do(ctx, socket, control.Request{Name: "ban.add", Args: banArgs{network, d, reason}}, &e)
	return e, err
}

// Unban ends a ban.
func Unban(ctx context.Context, socket string, network netip.Prefix) error {
	return control.Do(ctx, socket, control.Request{Name: "ban.remove", Args: banArgs{Network: network}}, nil)
}
