package admin

import (
	"context"

	"svc.plus/mailsrvd/internal/control"
	"svc.plus/mailsrvd/smtpd/allowance"
)

type sendingArgs struct {
	User string `json:"user"`
}

// SendingHandlers answer the commands on what users send.
func SendingHandlers(b *allowance.Book) map[string]control.Handler {
	return map[string]control.Handler{
		"sending.list": func(context.Context, *control.Call) (any, error) { return b.Usage(), nil },
		"sending.reset": func(_ context.Context, c *control.Call) (any, error) {
			var a sendingArgs
			if err := c.Decode(&a); err != nil {
				return nil, err
			}
			if !b.Reset(a.User) {
				return nil, control.Errorf(control.NotFound, "%s has sent nothing within a day", a.User)
			}
			return nil, nil
		},
	}
}

// Sending asks the daemon what users have sent, those who sent most first.
func Sending(ctx context.Context, socket string) ([]allowance.Usage, error) {
	var list []allowance.Usage
	err := control.Do(ctx, socket, control.Request{Name: "sending.list"}, &list)
	return list, err
}

// ResetSending forgets what a user has sent.
func ResetSending(ctx context.Context, socket, user string) error {
	return control.Do(ctx, socket, control.Request{Name: "sending.reset", Args: sendingArgs{user}}, nil)
}
