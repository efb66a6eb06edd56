package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/daemon"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/keyring"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/senders"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/zone"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/listen"
	"svc.plus/mailsrvd/lda"
	"svc.plus/mailsrvd/maildir"
	"svc.plus/mailsrvd/smtpd/inbound"
	"svc.plus/mailsrvd/smtpd/inbound/filter"
	"svc.plus/mailsrvd/smtpd/relay/mtasts"
)

// authentication asks the back end for its own problems.
func (ck *checker) authentication(ctx context.Context) {
	p, f := daemon.BackendOptions(ck.cfg, nil, nil, nil)
	var err error
	var warnings []string
	key := "auth.pam.service"
	if p != nil {
		err, warnings = p.Check(ctx), p.Warnings()
	} else {
		key = "auth.passwd_file.path"
		ck.readable(key, f.Path)
		err, warnings = f.Check(ctx), f.Warnings()
	}
	for _, e := range flatten(err) {
		mend := "see the message"
		if errors.Is(e, fs.ErrNotExist) {
			mend = "install deploy/pam/mailsrvd as /etc/pam.d/" + ck.cfg.Auth.PAM.Service
			if f != nil {
				mend = "make the file, or correct the path"
			}
		}
		ck.errorAt(key, e.Error(), mend)
	}
	for _, w := range warnings {
		ck.warnAt(key, w, "see the message")
	}
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok && strings.Contains(err.Error(), "\n") {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	return []error{err}
}

// dkimKeys loads each key as the daemon would.
func (ck *checker) dkimKeys(context.Context) {
	signed := map[string]bool{}
	turns, err := dkim.LoadTurns(keyring.TurnsFile(ck.cfg))
	if onDisk := new(fs.PathError); err != nil && !errors.As(err, &onDisk) { // directories tells of those
		ck.warnAt("dkim", err.Error(), "remove the file; the daemon finds out anew")
	}
	for i, d := range ck.cfg.DKIM {
		key := fmt.Sprintf("dkim[%d].key", i)
		signed[d.Domain] = true
		if d.Key == "" {
			continue
		}
		r, err := dkim.OpenRing(d.Domain, d.Selector, d.Key)
		if err != nil {
			mend := "the file must be a private key in PEM"
			if errors.Is(err, fs.ErrNotExist) {
				mend = fmt.Sprintf("mailsrvd dkim genkey %s --selector %s", d.Domain, d.Selector)
			}
			ck.errorAt(key, err.Error(), mend)
			continue
		}
		for _, k := range keyring.States(ck.cfg, []*dkim.Ring{r}, turns, time.Now()) {
			ck.dkimKey(key, k)
		}
	}
	for _, d := range ck.cfg.Domains {
		if !signed[d] && len(ck.cfg.DKIM) > 0 {
			ck.warnAt("domains", "no [[dkim]] key signs the mail of "+d, "mailsrvd dkim genkey "+d)
		}
	}
}

// dkimKey looks at one key, and says what its rotation waits for.
func (ck *checker) dkimKey(key string, k keyring.Key) {
	ck.readable(key, k.Path)
	for _, w := range k.Key.Warnings() {
		ck.warnAt(key, k.Path+": "+w, "make a new key under another selector")
	}
	if k.State == dkim.Waiting || k.State == dkim.Spent {
		ck.warnAt(key, fmt.Sprintf("the key %s of %s is %s", k.Selector, k.Domain, k.State), k.Advice())
	}
}

// aliases reads the alias files as the daemon would, and asks for the accounts
// that they name.
func (ck *checker) aliases(ctx context.Context) {
	accounts, err := daemon.LocalAuthenticator(ck.cfg)
	if err != nil {
		return // authentication has told
	}
	o := daemon.LDAOptions(ck.cfg)
	o.Accounts, o.Stores = accounts, maildir.NewStores(maildir.Options{})
	defer o.Stores.Close()
	for _, e := range flatten(o.Check(ctx)) {
		var p *lda.Problem
		if errors.As(e, &p) {
			if strings.Contains(p.Text, "Postmaster cannot be reached") {
				continue // such as root: postmaster; the key is told below
			}
			ck.problems = append(ck.problems, config.Problem{File: p.File, Line: p.Line, Text: p.Text, Mend: "correct this line, then reload"})
			continue
		}
		key, mend := "aliases.file", "see the message"
		if strings.HasPrefix(e.Error(), "Sieve: ") {
			key, mend = "sieve", "correct the script, then reload; mailsrvd sieve check reads it alone"
		}
		if strings.HasPrefix(e.Error(), "Programs: ") {
			key, mend = "aliases.pipe_programs", "correct the path, the file or pipe_user"
		}
		if strings.Contains(e.Error(), "Postmaster") {
			key, mend = "postmaster", `set postmaster = "..." at the top to a user of this server, or to an address elsewhere`
		}
		ck.errorAt(key, e.Error(), mend)
	}
}

// files reads the smaller files.
func (ck *checker) files(context.Context) {
	if _, err := ck.cfg.Relay.Password(); err != nil {
		ck.errorAt("relay.password_file", err.Error(), "make the file, readable for the daemon")
	} else if f := ck.cfg.Relay.PasswordFile; f != "" {
		ck.readable("relay.password_file", f)
	}
	if _, err := senders.Load(ck.cfg.Submission.SendersFile); err != nil {
		for _, e := range flatten(err) {
			ck.errorAt("submission.senders_file", e.Error(), "correct the line, or the path")
		}
	}
}

// dane warns of a dane = true that cannot take effect. Not said, it is the
// default, which nobody relies on.
func (ck *checker) dane(context.Context) {
	if !ck.cfg.Given("relay.dane") || !ck.cfg.Relay.DANE || ck.cfg.Relay.Smarthost != "" {
		return
	}
	if servers := dns.Servers(ck.cfg.DNS.Resolver); !dns.OnLoopback(servers) {
		ck.warnAt("relay.dane", "has no effect: "+strings.Join(servers, ", ")+" is not on this host, so nothing vouches for its answers",
			"run a validating resolver, such as unbound, and set dns.resolver = \"127.0.0.1:53\"")
	}
}

// reports warns of reports that nobody would believe.
func (ck *checker) reports(context.Context) {
	if ck.cfg.TLSReports.Send {
		ck.reportContact("tls_reports.contact", ck.cfg.ReportContact(), "reports by mail that are not signed are ignored (RFC 8460 section 3)")
	}
	if ck.cfg.DMARC.Send {
		ck.reportContact("dmarc_reports.contact", ck.cfg.DMARCContact(), "reports that are not signed are not sent")
	}
}

func (ck *checker) reportContact(key, contact, why string) {
	domain := contact[strings.LastIndexByte(contact, '@')+1:]
	for _, d := range ck.cfg.DKIM {
		if d.Domain == domain || strings.HasSuffix(domain, "."+d.Domain) {
			return
		}
	}
	ck.warnAt(key, "no [[dkim]] key signs for "+domain+", and "+why, "mailsrvd dkim genkey "+domain)
}

// filters looks whether the content filters are there. A bad address is the
// rooms' to tell.
func (ck *checker) filters(ctx context.Context) {
	for i, f := range ck.cfg.Inbound.Filter {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := filter.Reach(ctx, f.Address)
		cancel()
		if err == nil || errors.Is(err, filter.ErrAddress) {
			continue
		}
		what := "mail is deferred until it does"
		if f.OnFailure == "accept" {
			what = "mail passes unfiltered until it does"
		}
		ck.warnAt(fmt.Sprintf("inbound.filter[%d].address", i), "the filter "+f.Name+" does not answer ("+err.Error()+"): "+what, "start it, correct the address, or let our user into the socket's group")
	}
}

// manageSieve warns of scripts that can be uploaded and never run.
func (ck *checker) manageSieve(context.Context) {
	if len(ck.cfg.Listen.ManageSieve) > 0 && !ck.cfg.Sieve.Enabled {
		ck.warnAt("listen.managesieve", "lets users upload filters, but [sieve] enabled = false runs none", "switch one of them")
	}
}

// ourPolicy looks at what [mta_sts] tells others, since a wrong policy keeps mail
// out.
func (ck *checker) ourPolicy(context.Context) {
	policy, ok := zone.Policy(ck.cfg)
	if !ok || ck.cfg.Hostname == "" {
		return
	}
	if policy.Mode != mtasts.None && !policy.Lists(ck.cfg.Hostname) {
		ck.errorAt("mta_sts.mx", "does not list hostname, "+ck.cfg.Hostname+": others refuse to deliver here", "add it")
	}
	if len(ck.cfg.Listen.HTTPS) == 0 {
		ck.warnAt("mta_sts.mode", "is set, but nothing here serves the policy", "add https = \":443\" to [listen], or serve it at https://mta-sts.<domain>/.well-known/mta-sts.txt by another web server")
		return
	}
	for _, d := range ck.cfg.Domains {
		if name := "mta-sts." + d; !ck.covered(name) {
			ck.warnAt("mta_sts.mode", "is set, but no certificate is for "+name+", so that nobody believes the policy of "+d, "add the name to the certificate, or to acme.names")
		}
	}
}

// covered reports whether a certificate is for name, or will be by ACME.
func (ck *checker) covered(name string) bool {
	if ck.cfg.ACME.Directory() != "" && slices.Contains(ck.cfg.ACMENames(), name) {
		return true
	}
	_, pairs := ck.cfg.TLS.Pairs()
	for _, p := range pairs {
		c, err := listen.LoadCertificates(nil, listen.Pair(p))
		if err == nil && !errors.Is(c.Check(time.Now(), name), listen.ErrNotCovered) {
			return true
		}
	}
	return false
}

// rooms asks the rooms that look at more than single keys.
func (ck *checker) rooms(ctx context.Context) {
	for _, p := range daemon.Check(ctx, ck.cfg) {
		for _, err := range flatten(p.Err) {
			ck.errorAt(p.Key, err.Error(), "see the message")
		}
	}
}

// dns compares the zones with what the domains need.
func (ck *checker) dns(ctx context.Context) {
	findings, err := checkZones(ctx, ck.cfg)
	if err != nil {
		ck.errorAt("dns", err.Error(), "correct the key")
		return
	}
	for _, f := range findings {
		key := map[string]string{"address": "hostname", "PTR": "hostname", "DKIM": "dkim"}[f.About]
		if key == "" {
			key = "domains"
		}
		report := ck.errorAt
		if f.Warning {
			report = ck.warnAt
		}
		report(key, f.About+": "+f.Text+"; "+f.Means, f.Mend)
	}
	ck.dnsLists(ctx)
}

// dnsLists asks each list for its test entries.
func (ck *checker) dnsLists(ctx context.Context) {
	resolver, err := dns.NewSystem(ck.cfg.DNS.Resolver)
	if err != nil {
		return // the zones have told
	}
	for i, l := range ck.cfg.Client.DNSBL {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := inbound.CheckList(ctx, resolver, l.Zone)
		cancel()
		if err != nil {
			ck.warnAt(fmt.Sprintf("inbound.dnsbl[%d].zone", i), l.Zone+" "+err.Error()+": it counts nothing, or too much", "look at the list's own pages; many want a resolver of one's own, [dns] resolver")
		}
	}
}
