// Package probe proves that a mail server works: it submits a message to itself
// and reads it back by IMAP, as a user's programs would.
package probe

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Options say whom to probe.
type Options struct {
	// SMTP and IMAP are "host:port"; ImplicitSMTP and ImplicitIMAP mean TLS from
	// the first byte, else STARTTLS.
	SMTP, IMAP                 string
	ImplicitSMTP, ImplicitIMAP bool
	// TLS checks the servers' certificates.
	TLS *tls.Config
	// User and Password log in to both; Address is the user's own address.
	User, Password, Address string
	// Timeout bounds the whole probe.
	Timeout time.Duration
	// Step is told of each step that is done, and how long it took; it may be
	// nil.
	Step func(name string, took time.Duration)
}

// Run sends a message to Address, waits until it is in the INBOX, reads it and
// deletes it. The error names the step that failed.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("not done within %s", o.Timeout))
	defer cancel()
	p := &probe{o: o, ctx: ctx, token: rand.Text(), last: time.Now()}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"connect to IMAP", p.connect},
		{"log in to IMAP", p.login},
		{"submit a message", p.submit},
		{"find it in the INBOX", p.find},
		{"read it", p.read},
		{"delete it", p.remove},
	} {
		if err := step.do(); err != nil {
			p.close()
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("could not %s: %w", step.name, err)
		}
		if o.Step != nil {
			o.Step(step.name, time.Since(p.last))
		}
		p.last = time.Now()
	}
	return p.logout()
}

type probe struct {
	o     Options
	ctx   context.Context
	token string // in the message's Message-ID and text
	last  time.Time

	imap *imapclient.Client
	uid  imap.UID
}

// dial opens a connection that ends with the probe.
func (p *probe) dial(addr string, implicit bool) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(p.ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(p.ctx, func() { conn.Close() })
	if implicit {
		conn = tls.Client(conn, p.tls(addr))
	}
	return conn, nil
}

// tls is the configuration for a host: its name is checked unless another one
// is set.
func (p *probe) tls(addr string) *tls.Config {
	c := p.o.TLS.Clone()
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(addr)
	}
	return c
}

func (p *probe) connect() error {
	conn, err := p.dial(p.o.IMAP, p.o.ImplicitIMAP)
	if err != nil {
		return err
	}
	if p.o.ImplicitIMAP {
		p.imap = imapclient.New(conn, nil)
		return p.imap.WaitGreeting()
	}
	p.imap, err = imapclient.NewStartTLS(conn, &imapclient.Options{TLSConfig: p.tls(p.o.IMAP)})
	return err
}

func (p *probe) login() error {
	if err := p.imap.Login(p.o.User, p.o.Password).Wait(); err != nil {
		return err
	}
	_, err := p.imap.Select("INBOX", nil).Wait()
	return err
}

func (p *probe) submit() error {
	conn, err := p.dial(p.o.SMTP, p.o.ImplicitSMTP)
	if err != nil {
		return err
	}
	defer conn.Close()
	var c *smtp.Client
	if p.o.ImplicitSMTP {
		c = smtp.NewClient(conn)
	} else if c, err = smtp.NewClientStartTLS(conn, p.tls(p.o.SMTP)); err != nil {
		return err
	}
	if err := c.Auth(sasl.NewPlainClient("", p.o.User, p.o.Password)); err != nil {
		return err
	}
	if err := c.SendMail(p.o.Address, []string{p.o.Address}, strings.NewReader(p.message())); err != nil {
		return err
	}
	return c.Quit()
}

func (p *probe) message() string {
	_, domain, _ := strings.Cut(p.o.Address, "@")
	return strings.ReplaceAll(fmt.Sprintf(`From: <%[1]s>
To: <%[1]s>
Subject: mailsrvd probe
Date: %[2]s
Message-ID: <%[3]s@%[4]s>
Auto-Submitted: auto-generated

This message proves that mail arrives: %[3]s
`, p.o.Address, time.Now().Format(time.RFC1123Z), p.token, domain), "\n", "\r\n")
}

// find waits for the message. NOOP lets a server without IDLE tell, too.
func (p *probe) find() error {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		if err := p.imap.Noop().Wait(); err != nil {
			return err
		}
		data, err := p.imap.UIDSearch(&imap.SearchCriteria{
			Header: []imap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: p.token}},
		}, nil).Wait()
		if err != nil {
			return err
		}
		if uids := data.AllUIDs(); len(uids) > 0 {
			p.uid = uids[0]
			return nil
		}
		select {
		case <-p.ctx.Done():
			return context.Cause(p.ctx)
		case <-time.After(wait):
		}
	}
}

func (p *probe) read() error {
	section := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierText, Peek: true}
	messages, err := p.imap.Fetch(imap.UIDSetNum(p.uid), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		return err
	}
	if len(messages) != 1 || !strings.Contains(string(messages[0].FindBodySection(section)), p.token) {
		return errors.New("the message that came back is not the one that was sent")
	}
	return nil
}

// remove deletes our message alone, where the server can (UIDPLUS).
func (p *probe) remove() error {
	set := imap.UIDSetNum(p.uid)
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted, imap.FlagSeen}}
	if err := p.imap.Store(set, store, nil).Close(); err != nil {
		return err
	}
	if !p.imap.Caps().Has(imap.CapUIDPlus) && !p.imap.Caps().Has(imap.CapIMAP4rev2) {
		return nil // a plain EXPUNGE would take others' messages along
	}
	return p.imap.UIDExpunge(set).Close()
}

func (p *probe) logout() error {
	defer p.close()
	if err := p.imap.Logout().Wait(); err != nil {
		return fmt.Errorf("could not log out: %w", err)
	}
	return nil
}

func (p *probe) close() {
	if p.imap != nil {
		p.imap.Close()
	}
}
