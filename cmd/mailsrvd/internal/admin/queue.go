// Package admin is what the administrator's commands and the daemon say to each
// other on the control socket: both sides of each call stand side by side.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"svc.plus/mailsrvd/internal/control"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/queue"
)

// showArgs are the arguments of queue.show.
type showArgs struct {
	ID string `json:"id"`
	// Message asks for the message itself, which is streamed.
	Message bool `json:"message,omitempty"`
}

// changed is the answer of the calls that change items.
type changed struct {
	Count int `json:"count"`
}

// Changes are the queue's calls that change items, by the name of the command.
func changes(q *queue.Queue) map[string]func(context.Context, queue.Filter) (int, error) {
	return map[string]func(context.Context, queue.Filter) (int, error){
		"retry": q.Retry, "hold": q.Hold, "release": q.Release, "remove": q.Remove, "return": q.Return,
	}
}

// QueueHandlers answer for an open queue.
func QueueHandlers(q *queue.Queue) map[string]control.Handler {
	h := map[string]control.Handler{
		"queue.list": func(ctx context.Context, c *control.Call) (any, error) {
			var f queue.Filter
			if err := c.Decode(&f); err != nil {
				return nil, err
			}
			return q.List(ctx, f)
		},
		"queue.show": func(ctx context.Context, c *control.Call) (any, error) {
			var args showArgs
			if err := c.Decode(&args); err != nil {
				return nil, err
			}
			item, err := q.Show(ctx, args.ID)
			if err != nil {
				return nil, notFound(args.ID, err)
			}
			if args.Message {
				err = writeMessage(c.Out, q.Content, args.ID)
			}
			return item, err
		},
	}
	for name, change := range changes(q) {
		h["queue."+name] = func(ctx context.Context, c *control.Call) (any, error) {
			var f queue.Filter
			if err := c.Decode(&f); err != nil {
				return nil, err
			}
			n, err := change(ctx, f)
			return changed{n}, err
		}
	}
	return h
}

// notFound gives the error the kind that the command's side knows.
func notFound(id string, err error) error {
	if errors.Is(err, queue.ErrNotFound) {
		return control.Errorf(control.NotFound, "no message %s in the queue", id)
	}
	return err
}

func writeMessage(w io.Writer, content func(id string) (*message.Content, error), id string) error {
	c, err := content(id)
	if err != nil {
		return notFound(id, err)
	}
	defer c.Close()
	_, err = io.Copy(w, c.NewReader())
	return err
}

// Queue is the command's view of the queue: the daemon's, or, when none is
// running, the directory itself.
type Queue struct {
	// Socket is the control socket, Dir the queue's directory.
	Socket, Dir string
	// Hostname is for the queue's own options.
	Hostname string
}

// List gives the chosen items, oldest first.
func (q Queue) List(ctx context.Context, f queue.Filter) ([]queue.Item, error) {
	items := []queue.Item{}
	err := control.Do(ctx, q.Socket, control.Request{Name: "queue.list", Args: f}, &items)
	if !errors.Is(err, control.ErrNoDaemon) {
		return items, err
	}
	all, err := queue.ReadDir(q.Dir)
	for _, it := range all {
		if f.Match(&it) {
			items = append(items, it)
		}
	}
	return items, err
}

// Show gives one item and, when w is not nil, writes its message.
func (q Queue) Show(ctx context.Context, id string, w io.Writer) (queue.Item, error) {
	var item queue.Item
	err := control.Do(ctx, q.Socket, control.Request{Name: "queue.show", Args: showArgs{id, w != nil}, Out: w}, &item)
	if !errors.Is(err, control.ErrNoDaemon) {
		return item, err
	}
	open, err := q.open()
	if err != nil {
		return item, err
	}
	defer open.Close()
	if item, err = open.Show(ctx, id); err != nil {
		return item, notFound(id, err)
	}
	if w != nil {
		err = writeMessage(w, open.Content, id)
	}
	return item, err
}

// Change does "retry", "hold", "release", "remove" or "return" to the chosen items
// and returns how many there were.
func (q Queue) Change(ctx context.Context, what string, f queue.Filter) (int, error) {
	var answer changed
	err := control.Do(ctx, q.Socket, control.Request{Name: "queue." + what, Args: f}, &answer)
	if !errors.Is(err, control.ErrNoDaemon) {
		return answer.Count, err
	}
	open, err := q.open()
	if err != nil {
		return 0, err
	}
	defer open.Close()
	return changes(open)[what](ctx, f)
}

// open takes the queue of a stopped daemon. Nothing is attempted, since nobody
// calls Run; reports that are owed wait for the daemon.
func (q Queue) open() (*queue.Queue, error) {
	if err := becomeOwner(q.Dir); err != nil {
		return nil, fmt.Errorf("opening the queue of a stopped server: %w", err)
	}
	open, err := queue.Open(queue.Options{Dir: q.Dir, Hostname: q.Hostname, Transport: noTransport{}, Bounce: noBounce})
	if err != nil {
		return nil, fmt.Errorf("opening the queue of a stopped server: %w", err)
	}
	return open, nil
}

// becomeOwner gives a command that root runs the identity of the directory's
// owner, for good: files that root made there would be closed to the daemon.
func becomeOwner(dir string) error {
	fi, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		fi, err = os.Stat(dir)
	}
	if err != nil {
		return err
	}
	st := fi.Sys().(*syscall.Stat_t)
	if os.Geteuid() != 0 || st.Uid == 0 {
		return nil
	}
	return errors.Join(syscall.Setgroups(nil), syscall.Setgid(int(st.Gid)), syscall.Setuid(int(st.Uid)))
}

// noTransport is never asked.
type noTransport struct{}

func (noTransport) Attempt(_ context.Context, _ message.Envelope, _ *message.Content, rcpts []message.Recipient) []message.Outcome {
	return make([]message.Outcome, len(rcpts))
}

// noBounce is never asked either. With it the queue notes what it owes.
func noBounce(context.Context, message.Envelope, *message.Content) error {
	return errors.New("no daemon is running")
}
