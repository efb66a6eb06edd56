package lda

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/program"
	"svc.plus/mailsrvd/internal/status"
)

// runner runs the programs that mail is piped into.
type runner struct {
	Programs
	// as is whom programs of aliases run as.
	as asuser.Owner
	// slots bounds how many run at one time.
	slots chan struct{}
}

// newRunner looks up the user; nil without a program that may be run.
func newRunner(p *Programs) (*runner, error) {
	if p == nil || len(p.Allowed) == 0 {
		return nil, nil
	}
	r := &runner{Programs: *p, slots: make(chan struct{}, maxPrograms)}
	if !p.onlyForward {
		var err error
		if r.as, err = p.owner(); err != nil {
			return nil, err
		}
	}
	if r.Time <= 0 {
		r.Time = time.Minute
	}
	return r, nil
}

// pipe gives a message to the program of an alias.
func (a *Agent) pipe(ctx context.Context, env message.Envelope, c *message.Content, facts headerFacts, b *batch) (string, error) {
	if err := facts.checkLoop(b.addresses); err != nil {
		return "", err
	}
	if a.runner == nil {
		return "", status.Wrap((*Programs)(nil).mayRun(b.program), 554, 3, 0, "Programs are not run here")
	}
	c = c.WithPrefix(traceFields(env.ReversePath, b.addresses))
	path, err := a.runner.run(ctx, a.runner.as, b.program, pipeEnv(a.runner.as, env, b.addresses[0], b.detail), c)
	return piped + path, err
}

// pipeForward gives a message to a program of a user's ~/.forward, as himself.
func (a *Agent) pipeForward(ctx context.Context, d delivery, command string) (string, error) {
	o, address := d.account.Owner, joinAddress(d.account.Name, a.domains.first)
	if len(d.addresses) > 0 {
		address = d.addresses[0]
	}
	return a.runner.run(ctx, o, command, pipeEnv(o, d.env, address, d.detail), d.content)
}

// mayPipe is nil if a program of this account's ~/.forward may be run. An account
// that is kept with the daemon's own identity would have its queue and keys.
func (a *Agent) mayPipe(acct auth.Account, command string) error {
	switch {
	case a.runner == nil || !a.runner.Forward:
		return errors.New("programs are run only with forward_pipes of [lda]")
	case acct.Self:
		return errors.New("no program is run for an account without a uid of its own")
	}
	return a.runner.mayRun(command)
}

// run runs one command with the message as its input and returns the path of the
// program. The error is a *status.Error.
func (r *runner) run(ctx context.Context, as asuser.Owner, command string, env []string, c *message.Content) (string, error) {
	words, err := commandWords(command)
	if err == nil {
		err = r.mayRun(command)
	}
	if err != nil {
		return "", status.Wrap(err, 554, 3, 0, "This program is not run here")
	}
	wait, stop := context.WithTimeout(ctx, r.Time)
	defer stop()
	select {
	case r.slots <- struct{}{}:
	case <-wait.Done():
		return "", status.New(451, 3, 2, "Too many programs are at work, try again later")
	}
	defer func() { <-r.slots }()
	ctx, cancel := context.WithTimeout(ctx, r.Time)
	defer cancel()
	dir := "/"
	if as != r.as {
		dir = as.Home
	}
	out, err := program.Run(ctx, program.Command{Owner: as, Dir: dir, Args: words, Env: env, Stdin: withLF(c.NewReader())})
	if errors.Is(err, program.ErrTime) {
		return "", status.Wrap(fmt.Errorf("%s: %w", words[0], err), 451, 3, 0, "Program did not end in time, try again later")
	}
	if err != nil {
		return "", status.Wrap(fmt.Errorf("%s: %w", words[0], err), 451, 3, 0, "Program cannot be run now, try again later")
	}
	if err := programStatus(words[0], out); err != nil {
		return "", err
	}
	return words[0], nil
}

// pipeEnv is the environment of a program, with the names that Postfix's local(8)
// gives to what it says of a message.
func pipeEnv(as asuser.Owner, env message.Envelope, address, detail string) []string {
	original := address
	for _, r := range env.Recipients {
		if kind, o, ok := strings.Cut(r.ORcpt, ";"); ok && strings.EqualFold(kind, "rfc822") && strings.EqualFold(r.Address, address) {
			original = o
		}
	}
	local, domain := address, ""
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		local, domain = address[:i], address[i+1:]
	}
	list := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "SHELL=/bin/sh", "HOME=" + as.Home, "USER=" + as.Name, "LOGNAME=" + as.Name}
	for _, v := range []struct{ name, value string }{
		{"SENDER", env.ReversePath}, {"RECIPIENT", address}, {"ORIGINAL_RECIPIENT", original}, {"LOCAL", local}, {"DOMAIN", domain}, {"EXTENSION", detail},
	} {
		list = append(list, v.name+"="+printable(v.value))
	}
	return list
}

// withLF turns CRLF into LF, as in a stored file. A bare CR stays.
func withLF(r io.Reader) io.Reader { return &lfReader{r: bufio.NewReaderSize(r, 32<<10)} }

type lfReader struct{ r *bufio.Reader }

// Read implements io.Reader, at most a line at a time.
func (l *lfReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if _, err := l.r.Peek(1); err != nil {
		return 0, err
	}
	b, _ := l.r.Peek(min(l.r.Buffered(), len(p)))
	for i, c := range b {
		if c != '\r' {
			continue
		}
		if i > 0 { // what stands before it
			b = b[:i]
			break
		}
		if next, _ := l.r.Peek(2); len(next) == 2 && next[1] == '\n' {
			l.r.Discard(1)
			return l.Read(p)
		}
		b = b[:1]
		break
	}
	n := copy(p, b)
	l.r.Discard(n)
	return n, nil
}
