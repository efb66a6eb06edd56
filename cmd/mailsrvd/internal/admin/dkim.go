package admin

import (
	"context"
	"errors"

	"svc.plus/mailsrvd/internal/control"
)

// DKIMHandlers answer the commands on DKIM keys. turn looks for new keys and
// asks the DNS for those that wait.
func DKIMHandlers(turn func(context.Context) error) map[string]control.Handler {
	return map[string]control.Handler{
		"dkim.turn": func(ctx context.Context, _ *control.Call) (any, error) { return nil, turn(ctx) },
	}
}

// TurnKeys makes the daemon look after its DKIM keys at once. running is false,
// without an error, if there is none.
func TurnKeys(ctx context.Context, socket string) (running bool, err error) {
	err = control.Do(ctx, socket, control.Request{Name: "dkim.turn"}, nil)
	if errors.Is(err, control.ErrNoDaemon) {
		return false, nil
	}
	return true, err
}
