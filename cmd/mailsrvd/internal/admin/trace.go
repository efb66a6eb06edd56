package admin

import (
	"context"

	"svc.plus/mailsrvd/internal/control"
	"svc.plus/mailsrvd/internal/observe"
)

type traceArgs struct {
	ID string `json:"id"`
}

// TraceHandlers answer what the log says of a message or session. h may be nil.
func TraceHandlers(h *observe.History) map[string]control.Handler {
	return map[string]control.Handler{
		"trace": func(_ context.Context, c *control.Call) (any, error) {
			var args traceArgs
			if err := c.Decode(&args); err != nil {
				return nil, err
			}
			found := []observe.Record{}
			if h != nil {
				found = append(found, h.Find(args.ID)...)
			}
			return found, nil
		},
	}
}

// Trace asks the daemon for the lines that it remembers of a message or a
// session, oldest first.
func Trace(ctx context.Context, socket, id string) ([]observe.Record, error) {
	var found []observe.Record
	err := control.Do(ctx, socket, control.Request{Name: "trace", Args: traceArgs{id}}, &found)
	return found, err
}
