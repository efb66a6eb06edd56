package lda

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/lda/sieve"
	"svc.plus/mailsrvd/maildir"
)

// inbox is the folder that every account has.
const inbox = "INBOX"

// Deliver brings one message to local accounts and programs, several at a time. The result
// has one error per element of to: nil when the message is durable there, else
// a *status.Error. Return-Path and Delivered-To are put on top of what is
// stored. An account that occurs more than once with the same detail gets the
// message once, with all its addresses; a program runs for each address.
//
// 550 5.1.1 is an account that is gone, 552 5.2.2 one that is full, 554 5.4.6
// a message that was delivered to the same address before. What a program's end
// means, programStatus says. All else is temporary.
func (a *Agent) Deliver(ctx context.Context, env message.Envelope, c *message.Content, to []message.Local) []error {
	errs := make([]error, len(to))
	facts, err := contentFacts(c)
	if err != nil {
		for i := range errs {
			errs[i] = status.From(fmt.Errorf("reading the message's header: %w", err))
		}
		return errs
	}
	all := batches(to)
	work := func(b *batch) {
		err := a.deliverBatch(ctx, env, c, facts, b)
		for _, i := range b.indexes {
			errs[i] = err
		}
	}
	if len(all) == 1 { // as most often: no other thread is woken for it
		work(all[0])
		return errs
	}
	var group errgroup.Group
	group.SetLimit(a.o.Concurrency)
	for _, b := range all {
		group.Go(func() error { work(b); return nil })
	}
	group.Wait()
	return errs
}

// batch is what one account gets: one message for one or more addresses. Without a
// user it is what a program gets, for one address.
type batch struct {
	user, detail string
	program      string
	addresses    []string
	indexes      []int // in the list of recipients
}

// batches groups recipients by place, in their order.
func batches(to []message.Local) []*batch {
	found := map[message.Local]*batch{}
	var all []*batch
	for i, l := range to {
		b := found[l.Place()]
		if b == nil {
			b = &batch{user: l.User, detail: l.Detail, program: l.Program}
			found[l.Place()] = b
			all = append(all, b)
		}
		b.addresses = append(b.addresses, l.Address)
		b.indexes = append(b.indexes, i)
	}
	return all
}

// deliverBatch delivers to one account or program. The error is nil or a
// *status.Error.
func (a *Agent) deliverBatch(ctx context.Context, env message.Envelope, c *message.Content, facts headerFacts, b *batch) error {
	if b.program != "" {
		attrs := []any{"trace", env.Trace, "program", b.program, "from", env.ReversePath, "to", b.addresses}
		return a.counted(ctx, facts, attrs, func() (string, error) { return a.pipe(ctx, env, c, facts, b) })
	}
	attrs := []any{"trace", env.Trace, "user", b.user, "from", env.ReversePath, "to", b.addresses}
	return a.counted(ctx, facts, attrs, func() (string, error) { return a.deliverTo(ctx, env, c, facts, b) })
}

// counted runs one delivery, which returns the folder, counts it and writes its
// log line. The error is nil or a *status.Error.
func (a *Agent) counted(ctx context.Context, facts headerFacts, attrs []any, deliver func() (string, error)) error {
	start := time.Now()
	folder, err := deliver()
	took := time.Since(start)
	a.metrics.count(err, took)
	attrs = append(attrs, "dur", took)
	if err != nil {
		s := status.From(err)
		a.o.Logger.WarnContext(ctx, "msgid="+facts.logID()+": save failed", append(attrs, "code", s.Code, "err", err)...)
		return s
	}
	a.o.Logger.InfoContext(ctx, "msgid="+facts.logID()+": "+fate(folder), attrs...)
	return nil
}

// deliverTo finds the account and saves the message with its trace fields. It
// returns the folder.
func (a *Agent) deliverTo(ctx context.Context, env message.Envelope, c *message.Content, facts headerFacts, b *batch) (string, error) {
	if err := facts.checkLoop(b.addresses); err != nil {
		return "", err
	}
	acct, err := a.account(ctx, b.user)
	if err != nil {
		return "", err
	}
	job := delivery{
		account:   acct,
		env:       env,
		addresses: b.addresses,
		facts:     facts,
		detail:    b.detail,
		junk:      env.Junk,
		content:   c.WithPrefix(traceFields(env.ReversePath, b.addresses)),
	}
	return a.save(ctx, job)
}

// account finds the account of a delivery.
func (a *Agent) account(ctx context.Context, user string) (auth.Account, error) {
	x := &expansion{Agent: a, ctx: ctx}
	acct, err := x.lookup(user)
	if err == errNobody {
		return auth.Account{}, status.NoSuchUser(user)
	}
	return acct, err
}

// delivery is one message on its way to one account.
type delivery struct {
	account auth.Account
	// env is what the message came with, addresses those that led to the account,
	// and facts what its header says.
	env       message.Envelope
	addresses []string
	facts     headerFacts
	// detail is that of the address (RFC 5233).
	detail string
	// junk says that checks want the message kept out of the INBOX.
	junk bool
	// folder is what the caller asked for, empty for his default. It has the
	// Store's separators.
	folder string
	// create and subscribe make a missing folder (Dovecot's
	// lda_mailbox_autocreate and lda_mailbox_autosubscribe).
	create, subscribe bool
	// content is the message with all its trace fields.
	content *message.Content
	// failed is told why a folder was not taken and the INBOX will be; it may
	// be nil.
	failed func(folder string, err error)
}

// placement is where a message goes, and how.
type placement struct {
	folder            string
	create, subscribe bool
	delivery          maildir.Delivery
	edit              *sieve.Edit // nil for the message as it is
}

// flag adds IMAP flags: system flags as in \Seen, and keywords.
func (p *placement) flag(names []string) {
	for _, name := range names {
		if f, ok := systemFlags[strings.ToLower(name)]; ok {
			p.delivery.Flags |= f
		} else if !strings.HasPrefix(name, `\`) {
			p.delivery.Keywords = append(p.delivery.Keywords, name)
		}
	}
}

var systemFlags = map[string]maildir.Flags{
	`\seen`: maildir.Seen, `\answered`: maildir.Answered, `\flagged`: maildir.Flagged, `\deleted`: maildir.Deleted, `\draft`: maildir.Draft,
}

// discarded is in the place of a folder's name, where no name has a NUL; piped
// stands there before the path of a program.
const (
	discarded = "\x00"
	piped     = "\x00|"
)

// fate is what the log says of the result of save or pipe.
func fate(folder string) string {
	if folder == discarded {
		return "discarded by a filter"
	}
	if path, ok := strings.CutPrefix(folder, piped); ok {
		return "piped mail into " + path
	}
	return "saved mail to " + folder
}

// save does the last three steps of a delivery: filter, folder, durable file. It
// returns where the message went, as the log names it: folders, addresses that it
// was redirected to, and programs; discarded if a filter has thrown it away.
// Programs come first: what one of them refuses is stored nowhere, and what one
// puts off is not stored twice.
func (a *Agent) save(ctx context.Context, d delivery) (string, error) {
	store := a.store(d.account)
	v := a.judge(ctx, store, d)
	if v.refuse != nil {
		return "", v.refuse
	}
	a.mayRedirect(ctx, store, d, &v)
	if err := a.reachable(ctx, v.redirects); err != nil {
		return "", err
	}
	var ran []string
	for _, command := range v.programs {
		path, err := a.pipeForward(ctx, d, command)
		if err != nil {
			return "", err
		}
		ran = append(ran, "|"+path)
	}
	var saved []string
	for _, p := range v.places {
		c := d.content
		if p.edit != nil {
			c = c.WithHeader(p.edit.Header, p.edit.Body)
		}
		err := a.place(ctx, store, p, c)
		if err != nil && mayUseInbox(ctx, p, err) {
			if d.failed != nil {
				d.failed(p.folder, err)
			}
			if p.folder = inbox; slices.Contains(saved, inbox) {
				continue
			}
			err = a.place(ctx, store, p, c)
		}
		if err != nil {
			return "", err
		}
		saved = append(saved, p.folder)
	}
	a.warnOfQuota(ctx, store, len(saved), d.content.Size())
	sent, err := a.carryOut(ctx, d, v)
	if err != nil {
		return "", err
	}
	if saved = slices.Concat(saved, sent, ran); len(saved) == 0 {
		return discarded, nil
	}
	return strings.Join(saved, ", "), nil
}

// mayUseInbox reports whether the INBOX may take what another folder did not: a
// folder that is missing or broken is no reason to lose mail, but where there
// is no room, the INBOX has none either.
func mayUseInbox(ctx context.Context, p placement, err error) bool {
	return !strings.EqualFold(p.folder, inbox) && !full(err) && ctx.Err() == nil
}

// place puts the message into one folder, which it makes first if it may.
func (a *Agent) place(ctx context.Context, store *maildir.Store, p placement, c *message.Content) error {
	_, err := store.Deliver(ctx, p.folder, c, p.delivery)
	if !errors.Is(err, maildir.ErrNotFound) || !p.create {
		return err
	}
	if err := store.Create(ctx, p.folder); err != nil && !errors.Is(err, maildir.ErrExists) {
		return fmt.Errorf("making the folder %s: %w", p.folder, err)
	}
	if p.subscribe {
		if err := store.Subscribe(ctx, p.folder); err != nil {
			a.o.Logger.WarnContext(ctx, "subscribing to a new folder failed", "user", store.Owner().Name, "err", err)
		}
	}
	_, err = store.Deliver(ctx, p.folder, c, p.delivery)
	return err
}

// usual is where a message goes that no filter sends elsewhere.
func (a *Agent) usual(ctx context.Context, store *maildir.Store, d delivery) placement {
	switch {
	case d.folder != "":
		return placement{folder: d.folder, create: d.create, subscribe: d.subscribe}
	case d.junk:
		return placement{folder: cmp.Or(a.folderFor(ctx, store, `\Junk`), "Junk"), create: true, subscribe: true}
	case a.o.DetailFolder && d.detail != "":
		return placement{folder: d.detail}
	}
	return placement{folder: inbox}
}

// folderFor is the user's folder for a special use (RFC 6154), "" if he has none.
func (a *Agent) folderFor(ctx context.Context, store *maildir.Store, use string) string {
	folders, err := store.Folders(ctx)
	if err != nil {
		a.o.Logger.WarnContext(ctx, "looking for a folder by its use failed", "user", store.Owner().Name, "use", use, "err", err)
	}
	for _, f := range folders {
		if strings.EqualFold(f.SpecialUse, use) {
			return f.Name
		}
	}
	return ""
}
