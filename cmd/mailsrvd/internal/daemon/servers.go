package daemon

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os/user"
	"slices"
	"strconv"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/imapd"
	"svc.plus/mailsrvd/internal/control"
	"svc.plus/mailsrvd/internal/listen"
	"svc.plus/mailsrvd/lda"
	"svc.plus/mailsrvd/lda/managesieve"
	"svc.plus/mailsrvd/smtpd"
)

// buildServers makes a server for each protocol; open gives them listeners.
func (d *Daemon) buildServers() error {
	if err := d.buildSMTP(); err != nil {
		return err
	}
	if err := d.buildIMAP(); err != nil {
		return err
	}
	if err := d.buildManageSieve(); err != nil {
		return err
	}
	d.buildControl()
	d.buildWeb()
	return nil
}

// smtpOptions are the same for all modes.
func (d *Daemon) smtpOptions(mode smtpd.Mode) smtpd.Options {
	o := smtpd.Options{
		Mode: mode, Hostname: d.cfg.Hostname, Domains: d.cfg.Domains,
		Router: d.board, Deliverer: d.board, Queue: d.queue, Report: d.queue.Report,
		Room: d.board.room, Forwarded: d.forwarded, SpoolDir: d.spoolDir(), Limits: d.smtpLimits(), Logger: d.log, Registerer: d.registry,
	}
	if d.certs != nil && (mode == smtpd.MX || mode == smtpd.Submission) {
		o.TLS = d.smtpTLS()
	}
	if mode == smtpd.Submission || mode == smtpd.Local {
		o.Allowance, o.AuthservID = d.sending, cmp.Or(d.cfg.Inbound.AuthservID, d.cfg.Hostname)
		o.Auth, o.SenderAllowed, o.Signer, o.LocalUser = d.board, d.board.senderAllowed, d.board, localUser
	}
	return o
}

func (d *Daemon) smtpTLS() *tls.Config {
	return listen.ServerConfig(d.certs, listen.TLSOptions{MinVersion: d.cfg.TLS.MinVersion()})
}

func (d *Daemon) imapTLS() *tls.Config {
	return listen.ServerConfig(d.certs, listen.TLSOptions{MinVersion: d.cfg.TLS.MinVersion(), Tickets: true})
}

// localUser names the account of a process that submits through our socket.
func localUser(uid int) (string, error) {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return "", err
	}
	return u.Username, nil
}

func (d *Daemon) buildSMTP() error {
	filters, err := d.filters()
	if err != nil {
		return err
	}
	for _, m := range []struct {
		mode  smtpd.Mode
		names []string
	}{
		{smtpd.MX, []string{"mx"}}, {smtpd.Submission, []string{"submission", "submissions"}},
		{smtpd.LMTP, []string{"lmtp"}}, {smtpd.Local, []string{"sendmail"}},
	} {
		o := d.smtpOptions(m.mode)
		o.Filters = filters
		if m.mode == smtpd.MX {
			o.GreetDelay = d.cfg.Client.GreetDelay
			var err error
			if o.Inbound, err = d.inspector(); err != nil {
				return err
			}
		}
		s, err := smtpd.New(o)
		if err != nil {
			return err
		}
		for _, name := range m.names {
			d.servers = append(d.servers, &server{name: name, serve: s.Serve, shutdown: s.Shutdown})
		}
	}
	return nil
}

func (d *Daemon) buildIMAP() error {
	o := imapd.Options{
		Hostname: d.cfg.Hostname, Version: d.o.Version, Auth: d.board, Stores: d.stores, Location: d.cfg.Mail.Location,
		SpoolDir: d.spoolDir(), Limits: imapLimits(d.cfg), DisableCapabilities: d.cfg.IMAP.Disable, DisableFor: d.cfg.IMAP.DisableFor(), Logger: d.log, Registerer: d.registry,
	}
	if d.certs != nil {
		o.TLS = d.imapTLS()
	}
	s, err := imapd.New(o)
	if err != nil {
		return err
	}
	for _, name := range []string{"imap", "imaps"} {
		d.servers = append(d.servers, &server{name: name, serve: s.Serve, shutdown: s.Shutdown})
	}
	return nil
}

// buildControl makes the sockets of our own commands: control for the
// administrator, lda for whoever may deliver, redirect for users whose filters send
// mail on.
func (d *Daemon) buildControl() {
	handlers := admin.QueueHandlers(d.queue)
	maps.Copy(handlers, admin.StatusHandlers(d.Status, d.Reload))
	maps.Copy(handlers, admin.DKIMHandlers(func(ctx context.Context) error {
		defer d.wakeKeys()
		return d.turnKeys(ctx)
	}))
	maps.Copy(handlers, admin.BanHandlers(d.bans))
	maps.Copy(handlers, admin.SendingHandlers(d.sending))
	maps.Copy(handlers, admin.TraceHandlers(d.o.History))
	maps.Copy(handlers, admin.ReindexHandlers(d.reindex))
	ctl := control.New(control.Options{Handlers: handlers, Logger: d.log})
	handover := func(ctx context.Context, c *control.Call) (any, error) {
		return d.board.live.Load().agent.Handover(lda.HandoverOptions{
			Group: d.mailGroup(), SpoolDir: d.spoolDir(), Limit: d.cfg.Mail.MessageSizeLimit,
		})(ctx, c)
	}
	deliver := control.New(control.Options{Handlers: map[string]control.Handler{lda.HandoverCall: handover}, Logger: d.log})
	redirects := func(ctx context.Context, c *control.Call) (any, error) {
		return d.board.live.Load().agent.Redirects(lda.RedirectOptions{
			SpoolDir: d.spoolDir(), Limit: d.cfg.Mail.MessageSizeLimit, Take: d.sending.Take, Send: d.redirectForUser,
		})(ctx, c)
	}
	redirect := control.New(control.Options{Handlers: map[string]control.Handler{lda.RedirectCall: redirects}, Logger: d.log})
	d.servers = append(d.servers,
		&server{name: "control", serve: ctl.Serve, shutdown: ctl.Shutdown},
		&server{name: "lda", serve: deliver.Serve, shutdown: deliver.Shutdown},
		&server{name: "redirect", serve: redirect.Serve, shutdown: redirect.Shutdown})
}

// mailGroup is the gid of [mail] group; -1 when there is none.
func (d *Daemon) mailGroup() int {
	g, err := user.LookupGroup(d.cfg.Mail.Group)
	if err != nil {
		return -1
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return -1
	}
	return gid
}

// plan says what each server listens on.
type plan struct {
	addresses []string
	unix      listen.Unix
	tls       *tls.Config // TLS from the first byte
	limited   bool        // [limits] holds
	login     bool        // users log in there
	refusal   string
}

func (d *Daemon) plan(name string) plan {
	p := plan{unix: listen.Unix{Mode: 0o660, Group: d.groupName()}}
	d.cfg.Listen.Each(func(key string, addresses []string) {
		if key == name {
			p.addresses = addresses
		}
	})
	p.login = slices.Contains([]string{"submission", "submissions", "imap", "imaps", "managesieve"}, name)
	switch name {
	case "mx", "submission", "submissions":
		p.limited, p.refusal = true, smtpd.Refusal(d.cfg.Hostname)
	case "imap", "imaps":
		p.limited, p.refusal = true, "* BYE Too many connections, try again later\r\n"
	case "managesieve":
		p.limited, p.refusal = true, managesieve.Refusal
	case "https", "http":
		p.limited = true
	case "sendmail", "redirect": // the kernel says who connects, and everybody may send
		p.addresses, p.unix = []string{d.cfg.Socket(name)}, listen.Unix{Mode: 0o666}
	case "status":
		p.unix = listen.Unix{Mode: 0o600}
	case "control":
		p.addresses, p.unix = []string{d.cfg.Socket(name)}, listen.Unix{Mode: 0o600}
	case "lda":
		p.addresses = []string{d.cfg.Socket(name)}
	}
	if d.certs != nil {
		switch name {
		case "submissions":
			p.tls = d.smtpTLS()
		case "imaps":
			p.tls = d.imapTLS()
		case "https":
			p.tls = d.webTLS()
		}
	}
	return p
}

// groupName is the group whose members may use the sockets of LMTP and lda. A
// daemon that is not in it leaves them to its own group.
func (d *Daemon) groupName() string {
	gid := d.mailGroup()
	if gid >= 0 && mayChown(gid) {
		return strconv.Itoa(gid)
	}
	return ""
}

// open opens all listeners, and reports all that fails at once.
func (d *Daemon) open(ctx context.Context) error {
	sockets, err := listen.FromSystemd()
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range d.servers {
		p := d.plan(s.name)
		raw, err := sockets.Open(ctx, s.name, p.addresses, p.unix)
		if err != nil {
			errs = append(errs, d.listenError(s.name, err))
			continue
		}
		d.raw = append(d.raw, raw...)
		for _, l := range raw {
			s.listeners = append(s.listeners, d.wrap(s.name, p, l))
		}
	}
	if unclaimed := sockets.Close(); len(unclaimed) > 0 {
		d.log.Warn("the service manager passed sockets that nobody wants; their FileDescriptorName must be a key of [listen]", "names", unclaimed)
	}
	d.servers = slices.DeleteFunc(d.servers, func(s *server) bool { return len(s.listeners) == 0 })
	return errors.Join(errs...)
}

func (d *Daemon) listenError(name string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, errInUse), errors.Is(err, control.ErrInUse):
		hint = "; is another mail server running? (ss -ltnp shows it)"
	case errors.Is(err, errAccess):
		hint = "; ports below 1024 need root or CAP_NET_BIND_SERVICE"
	}
	return fmt.Errorf("%s: listen.%s: %w%s", d.cfg.Where("listen."+name), name, err, hint)
}

// wrap gives a listener limits, tracking and TLS. Our own sockets need none.
func (d *Daemon) wrap(name string, p plan, raw net.Listener) net.Listener {
	switch name {
	case "control", "lda", "redirect", "metrics", "status":
		return raw
	}
	o := listen.Options{Name: name, TLS: p.tls, HandshakeTimeout: d.cfg.Limits.Handshake, Logger: d.log, Registerer: d.registry}
	if p.limited {
		l := d.cfg.Limits
		o.MaxConns, o.MaxPerIP, o.Allow, o.Refusal = l.Connections, l.ConnectionsPerIP, l.Trusted, p.refusal
		o.MaxPerNetwork, o.RatePerIP, o.RatePerNetwork = l.ConnectionsPerNetwork, l.RatePerIP, l.RatePerNetwork
		o.Banned = func(ip netip.Addr) bool { return d.bans.Banned(ip, p.login) }
	}
	return listen.New(raw, o)
}
