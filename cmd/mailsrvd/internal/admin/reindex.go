package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	"svc.plus/mailsrvd/internal/control"
)

// Progress is how far the reindexing of a folder is.
type Progress struct {
	User   string `json:"user"`
	Folder string `json:"folder"`
	Done   int    `json:"done"`
	Total  int    `json:"total"`
}

// Reindexed is what came of it.
type Reindexed struct {
	User     string `json:"user"`
	Folders  int    `json:"folders"`
	Messages int    `json:"messages"`
}

type reindexArgs struct {
	User string `json:"user"`
}

// tellEvery is how often the caller hears of progress.
const tellEvery = 200 * time.Millisecond

// ReindexHandlers answer mailbox.reindex. reindex may call tell from several
// goroutines.
func ReindexHandlers(reindex func(ctx context.Context, user string, tell func(Progress)) (Reindexed, error)) map[string]control.Handler {
	return map[string]control.Handler{
		"mailbox.reindex": func(ctx context.Context, c *control.Call) (any, error) {
			var args reindexArgs
			if err := c.Decode(&args); err != nil {
				return nil, err
			}
			var mu sync.Mutex
			var last time.Time
			return reindex(ctx, args.User, func(p Progress) {
				mu.Lock()
				defer mu.Unlock()
				if now := time.Now(); p.Done == p.Total || now.Sub(last) >= tellEvery {
					last = now
					json.NewEncoder(c.Out).Encode(p) // a caller that is gone ends ctx
				}
			})
		},
	}
}

// Reindex has the daemon make all that its cache lacks of a user's mail, and calls
// tell with the progress.
func Reindex(ctx context.Context, socket, user string, tell func(Progress)) (Reindexed, error) {
	r, w := io.Pipe()
	told := make(chan struct{})
	go func() {
		defer close(told)
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			var p Progress
			if json.Unmarshal(lines.Bytes(), &p) == nil {
				tell(p)
			}
		}
	}()
	var done Reindexed
	err := control.Do(ctx, socket, control.Request{Name: "mailbox.reindex", Args: reindexArgs{user}, Out: w}, &done)
	w.Close()
	<-told
	return done, err
}
