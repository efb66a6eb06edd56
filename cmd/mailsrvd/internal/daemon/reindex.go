package daemon

import (
	"context"
	"errors"
	"fmt"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/internal/control"
)

// reindex makes all that the cache lacks of a user's mail, folder by folder.
func (d *Daemon) reindex(ctx context.Context, user string, tell func(admin.Progress)) (admin.Reindexed, error) {
	done := admin.Reindexed{User: user}
	if d.index == nil {
		return done, control.Errorf(control.Unavailable, "there is no cache: [index] enabled is false, or another process has it (see the log)")
	}
	g := d.board.live.Load()
	account, err := g.auth.Lookup(ctx, user)
	if errors.Is(err, auth.ErrNoUser) {
		return done, control.Errorf(control.NotFound, "%s: no such user", user)
	} else if err != nil {
		return done, err
	}
	store := d.stores.Store(account.Owner, account.MaildirPath(d.cfg.Mail.Location))
	folders, err := store.Folders(ctx)
	if err != nil {
		return done, err
	}
	for _, f := range folders {
		if !f.Exists {
			continue
		}
		box, err := store.Open(ctx, f.Name)
		if err != nil {
			return done, fmt.Errorf("%s: %w", f.Name, err)
		}
		n := len(box.Messages())
		err = box.Reindex(ctx, func(at, total int) { tell(admin.Progress{User: user, Folder: f.Name, Done: at, Total: total}) })
		box.Close()
		if err != nil {
			return done, fmt.Errorf("%s: %w", f.Name, err)
		}
		done.Folders++
		done.Messages += n
	}
	return done, nil
}
