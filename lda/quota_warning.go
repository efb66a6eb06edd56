package lda

import (
	"context"
	"fmt"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

// warnOfQuota tells a user, by a message in his INBOX, that the delivery of so many
// copies of size bytes has filled his quota to Options.QuotaWarning percent. It
// comes again only after the usage has fallen below.
func (a *Agent) warnOfQuota(ctx context.Context, store *maildir.Store, copies int, size int64) {
	if a.o.QuotaWarning <= 0 || copies == 0 {
		return
	}
	used, limits, err := store.Usage(ctx)
	if err != nil || !limits.Limited() {
		return
	}
	passed := func(now, added, limit int64) bool {
		at := limit * int64(a.o.QuotaWarning) / 100
		return limit > 0 && now >= at && now-added < at
	}
	n := int64(copies)
	if !passed(used.Storage, n*size, limits.Storage) && !passed(used.Messages, n, limits.Messages) {
		return
	}
	text := a.quotaMessage(store.Owner().Name, used, limits, time.Now())
	if _, err := store.Deliver(ctx, inbox, message.FromBytes(text), maildir.Delivery{}); err != nil {
		a.o.Logger.WarnContext(ctx, "warning a user of his quota", "user", store.Owner().Name, "err", err)
	}
}

func (a *Agent) quotaMessage(user string, used maildir.Usage, limits maildir.Limits, now time.Time) []byte {
	share := ""
	if limits.Storage > 0 {
		share += fmt.Sprintf("  %d of %d MiB are used.\r\n", used.Storage>>20, limits.Storage>>20)
	}
	if limits.Messages > 0 {
		share += fmt.Sprintf("  %d of %d messages are there.\r\n", used.Messages, limits.Messages)
	}
	return fmt.Appendf(nil, "From: Mail server <postmaster@%[1]s>\r\nTo: <%[2]s@%[1]s>\r\nSubject: Your mailbox is %[3]d %% full\r\nDate: %[4]s\r\n"+
		"Message-ID: <quota.%[5]d.%[2]s@%[6]s>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"+
		"%[7]s\r\nWhen it is full, mail to you is refused, and its senders are told so. Delete what\r\nyou do not need, and empty the folder for trash.\r\n",
		a.domains.first, user, a.o.QuotaWarning, now.Format(time.RFC1123Z), now.UnixNano(), a.o.Hostname, share)
}
