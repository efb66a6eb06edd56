package lda

import (
	"context"

	"svc.plus/mailsrvd/internal/message"
)

// Room says whether the quota of an account leaves room for a message of size
// bytes, 0 if the size is not known: nil, or 552 5.2.2 as a *status.Error. What
// else may go wrong is for the delivery to find out.
func (a *Agent) Room(ctx context.Context, to message.Local, size int64) error {
	acct, err := a.account(ctx, to.User)
	if err != nil {
		return nil
	}
	return a.o.Stores.Store(acct.Owner, acct.MaildirPath(a.o.Location)).MayStore(ctx, size)
}
