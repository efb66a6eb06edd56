package lda

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/lda/sieve"
	"svc.plus/mailsrvd/maildir"
)

// Sieve says which filter scripts have their say in a delivery. A user's own
// script is where Pigeonhole keeps it: ~/.dovecot.sieve, usually a link to one in
// ~/sieve, from which others are included.
type Sieve struct {
	// Before and After are scripts of the administrator that run around the
	// user's, and Default the one of users without a script; all are paths.
	Before, After []string
	Default       string
	// GlobalDir has the scripts that :global includes; empty for none.
	GlobalDir string
	// NoScripts runs none of users' scripts, and Forward obeys users' ~/.forward.
	NoScripts, Forward bool
	// Redirects bounds the redirects of one message; 0 is 4, -1 forbids them.
	Redirects int
	// Redirect sends a message on, Respond an answer of vacation; both are durable
	// when they return nil. Without them messages are kept, and nobody is answered.
	Redirect, Respond func(context.Context, message.Envelope, *message.Content) error
	// Reach says, before anything is stored, why Redirect could not succeed now; nil
	// asks nobody.
	Reach func(context.Context) error
}

// Language is what scripts may do under s, for whoever compiles them before a
// delivery does. Its Include finds the scripts that all users share, none of users'.
func (s Sieve) Language() sieve.Options {
	o := sieve.Options{Limits: sieve.Limits{Redirects: s.Redirects}}
	o.Include = func(_ context.Context, from sieve.Location, name string) ([]byte, error) {
		if from != sieve.Global || s.GlobalDir == "" {
			return nil, os.ErrNotExist
		}
		return os.ReadFile(filepath.Join(s.GlobalDir, name+".sieve"))
	}
	return o
}

// filters are the administrator's scripts, ready to run, and those of users that
// were used last.
type filters struct {
	Sieve
	before, after  []*sieve.Script
	defaults       *sieve.Script
	options, users sieve.Options
	cache          scriptCache
}

// newFilters compiles the administrator's scripts; nil without Sieve.
func newFilters(o *Sieve) (*filters, error) {
	if o == nil {
		return nil, nil
	}
	f := &filters{Sieve: *o, options: o.Language()}
	f.users.Limits = f.options.Limits
	var errs []error
	compile := func(paths []string) (list []*sieve.Script) {
		for _, path := range paths {
			source, err := os.ReadFile(path)
			if err != nil {
				errs = append(errs, fmt.Errorf("reading a filter: %w", err))
				continue
			}
			script, err := sieve.Compile(context.Background(), path, source, f.options)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			list = append(list, script)
		}
		return list
	}
	f.before, f.after = compile(o.Before), compile(o.After)
	if o.Default != "" {
		if list := compile([]string{o.Default}); len(list) > 0 {
			f.defaults = list[0]
		}
	}
	return f, errors.Join(errs...)
}

// verdict is what becomes of a message.
type verdict struct {
	places    []placement
	redirects []*sieve.Redirect
	programs  []string // commands
	answers   []*sieve.Vacation
	remember  []sieve.Memory
	refuse    *status.Error // nothing else happens
}

// judge decides where a message goes. A user's Sieve script has its say before the
// defaults; one that cannot be run keeps the message.
func (a *Agent) judge(ctx context.Context, store *maildir.Store, d delivery) verdict {
	plain := verdict{places: []placement{a.usual(ctx, store, d)}}
	if a.filters == nil {
		return plain
	}
	if !a.filters.Forward {
		return a.judgeByScripts(ctx, store, d, plain)
	}
	f, err := a.forwards(ctx, d)
	switch {
	case err != nil:
		a.complain(ctx, d, err)
	case f != nil && !f.keep:
		return verdict{redirects: f.to, programs: f.programs}
	}
	v := a.judgeByScripts(ctx, store, d, plain)
	if f != nil && v.refuse == nil {
		v.redirects, v.programs = append(f.to, v.redirects...), f.programs
	}
	return v
}

// judgeByScripts is judge for who has no ~/.forward, or keeps a copy.
func (a *Agent) judgeByScripts(ctx context.Context, store *maildir.Store, d delivery, plain verdict) verdict {
	if a.filters.NoScripts {
		return plain
	}
	own, err := a.filters.cache.script(ctx, a.filters, d.account.Owner)
	if err != nil {
		a.complain(ctx, d, err)
		return plain
	}
	if own == nil {
		own = a.filters.defaults
	}
	scripts := append([]*sieve.Script(nil), a.filters.before...)
	if own != nil {
		scripts = append(scripts, own)
	}
	if scripts = append(scripts, a.filters.after...); len(scripts) == 0 {
		return plain
	}
	memory := &memory{owner: d.account.Owner}
	result, err := sieve.RunAll(ctx, scripts, sieve.NewMessage(d.content, d.content.Size()), a.sieveEnv(ctx, store, d, memory))
	if err != nil {
		a.complain(ctx, d, err)
	}
	v := verdict{remember: result.Remember}
	for _, action := range result.Actions {
		switch x := action.(type) {
		case *sieve.Keep:
			p := placement{folder: inbox, edit: x.Edit}
			if x.Implicit || d.folder != "" {
				p = a.usual(ctx, store, d)
				p.edit = x.Edit
			}
			p.flag(x.Flags)
			v.places = append(v.places, p)
		case *sieve.FileInto:
			p := placement{folder: x.Mailbox, create: x.Create || d.create, subscribe: d.subscribe, edit: x.Edit}
			if x.SpecialUse != "" {
				if name := a.folderFor(ctx, store, x.SpecialUse); name != "" {
					p.folder = name
				}
			}
			p.flag(x.Flags)
			v.places = append(v.places, p)
		case *sieve.Redirect:
			v.redirects = append(v.redirects, x)
		case *sieve.Vacation:
			v.answers = append(v.answers, x)
		case *sieve.Reject:
			v.refuse = status.New(550, 7, 1, refusal(x.Text))
		}
	}
	return v
}

// maxRefusal is how long the text of a refusal may be, so that the line of the
// reply is no longer than RFC 5321 section 4.5.3.1.5 allows.
const maxRefusal = 400

// refusal makes one printable line of a reason.
func refusal(text string) string {
	line := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, text)
	line = strings.Join(strings.Fields(line), " ")
	if len(line) > maxRefusal {
		line = line[:maxRefusal]
	}
	if line == "" {
		return "Message is refused by its recipient"
	}
	return line
}

// sieveEnv is what a user's script may know.
func (a *Agent) sieveEnv(ctx context.Context, store *maildir.Store, d delivery, m *memory) sieve.Env {
	e := sieve.Env{
		From: d.env.ReversePath, Owner: joinAddress(d.account.Name, a.domains.first), Addresses: d.addresses,
		Auth: d.env.User, Delimiter: a.o.RecipientDelimiter, Hostname: a.o.Hostname,
		MailboxExists: func(ctx context.Context, name string) (bool, error) {
			folders, err := store.Folders(ctx)
			for _, f := range folders {
				if f.Exists && (f.Name == name || strings.EqualFold(name, inbox) && f.Name == inbox) {
					return true, nil
				}
			}
			return false, err
		},
		SpecialUse: func(ctx context.Context, use string) (string, error) { return a.folderFor(ctx, store, use), nil },
		Seen:       m.seen,
	}
	if e.To = e.Owner; len(d.addresses) > 0 {
		e.To = d.addresses[0]
	}
	return e
}

// complain says why a script was not run, or not to its end: in the log, and to
// the user in the file where Pigeonhole says so.
func (a *Agent) complain(ctx context.Context, d delivery, err error) {
	a.o.Logger.WarnContext(ctx, "sieve: the message is kept", "trace", d.env.Trace, "user", d.account.Name, "err", err)
	if err := appendLog(ctx, d.account.Owner, time.Now(), err); err != nil {
		a.o.Logger.DebugContext(ctx, "sieve: writing the user's log", "user", d.account.Name, "err", err)
	}
}

// carryOut does what a verdict asks for beside storing: first what must not be
// lost, then answers and memories, which are no reason to deliver again.
func (a *Agent) carryOut(ctx context.Context, d delivery, v verdict) (sent []string, err error) {
	for _, r := range v.redirects {
		if err := a.redirect(ctx, d, r); err != nil {
			return sent, fmt.Errorf("redirecting to %s: %w", r.Address, err)
		}
		sent = append(sent, "<"+r.Address+">")
	}
	unsaid := false
	for _, x := range v.answers {
		if a.filters.Respond == nil {
			continue
		}
		env := message.Envelope{Trace: d.env.Trace, Recipients: []message.Recipient{{Address: x.To, Notify: []string{"NEVER"}}}}
		if err := a.filters.Respond(ctx, env, message.FromBytes(x.Message)); err != nil {
			a.o.Logger.WarnContext(ctx, "sieve: no answer to "+x.To, "trace", d.env.Trace, "user", d.account.Name, "err", err)
			unsaid = true
		}
	}
	if len(v.remember) > 0 && !unsaid { // else the next message of the same sender is answered
		if err := remember(ctx, d.account.Owner, time.Now(), v.remember); err != nil {
			a.o.Logger.WarnContext(ctx, "sieve: remembering", "user", d.account.Name, "err", err)
		}
	}
	return sent, nil
}

// redirectedFrom marks a redirected message with who did so, as Pigeonhole does:
// what comes back is kept, not sent on again.
const redirectedFrom = "X-Sieve-Redirected-From"

// redirect sends the message on under its own reverse-path, without the fields of
// this delivery but the one that finds loops.
func (a *Agent) redirect(ctx context.Context, d delivery, r *sieve.Redirect) error {
	c := d.content
	if r.Edit != nil {
		c = c.WithHeader(r.Edit.Header, r.Edit.Body)
	}
	c, err := withoutReturnPath(c)
	if err != nil {
		return err
	}
	owner := joinAddress(d.account.Name, a.domains.first)
	env := d.env
	env.User, env.Junk, env.Ret, env.EnvID = "", false, "", ""
	env.Recipients = []message.Recipient{{Address: r.Address}}
	return a.filters.Redirect(ctx, env, c.WithPrefix([]byte(redirectedFrom+": "+owner+"\r\n")))
}

// mayRedirect takes out of a verdict what must not be sent on: a message that came
// back, or all if there is no way out. It is kept instead.
func (a *Agent) mayRedirect(ctx context.Context, store *maildir.Store, d delivery, v *verdict) {
	if len(v.redirects) == 0 {
		return
	}
	owner := joinAddress(d.account.Name, a.domains.first)
	loop := d.facts.redirected[foldAddress(owner)]
	if !loop && a.filters.Redirect != nil {
		return
	}
	a.o.Logger.WarnContext(ctx, "sieve: kept in place of a redirect", "trace", d.env.Trace, "user", d.account.Name, "loop", loop)
	if v.redirects = nil; len(v.places) == 0 {
		v.places = []placement{a.usual(ctx, store, d)}
	}
}

// withoutReturnPath leaves out the first field if it is Return-Path, which is of
// the final delivery alone (RFC 5321 section 4.4).
func withoutReturnPath(c *message.Content) (*message.Content, error) {
	head := make([]byte, 2048)
	n, err := c.ReadAt(head, 0)
	if n == 0 && err != nil {
		return nil, err
	}
	text := string(head[:n])
	if !strings.HasPrefix(strings.ToLower(text), "return-path:") {
		return c, nil
	}
	end := strings.Index(text, "\r\n")
	if end < 0 {
		return c, nil
	}
	return c.WithHeader(nil, int64(end+2)), nil
}
