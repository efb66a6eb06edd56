package daemon

import (
	"crypto/tls"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/web"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/zone"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/acme"
	"svc.plus/mailsrvd/internal/listen"
	"svc.plus/mailsrvd/internal/observe"
	"svc.plus/mailsrvd/smtpd/queue"
)

// buildWeb makes the HTTP servers: the site for mail programs with and without
// TLS, metrics and health, and the administrator's status page.
func (d *Daemon) buildWeb() {
	site := d.site().Handler()
	plain := site
	if len(d.cfg.Listen.HTTPS) > 0 {
		plain = web.Secure(site, config.Port(d.cfg.Listen.HTTPS))
	}
	metrics := observe.Handler(prometheus.Gatherers{d.registry, d.board}, d.Health)
	for _, h := range []struct {
		name    string
		handler http.Handler
	}{{"https", site}, {"http", plain}, {"metrics", metrics}, {"status", web.StatusPage(d.cfg.Hostname, d.overview)}} {
		s := web.NewServer(h.handler, d.log)
		d.servers = append(d.servers, &server{name: h.name, serve: s.Serve, shutdown: s.Shutdown})
	}
}

func (d *Daemon) site() *web.Site {
	l := &d.cfg.Listen
	s := &web.Site{
		Hostname: d.cfg.Hostname, Domains: d.cfg.Domains,
		Submission: config.Port(l.Submission), Submissions: config.Port(l.Submissions), IMAP: config.Port(l.IMAP), IMAPS: config.Port(l.IMAPS),
	}
	s.Policy = func(string) string {
		if p, ok := zone.Policy(d.board.live.Load().cfg); ok {
			return p.String()
		}
		return ""
	}
	if d.acme != nil {
		s.Proof = d.acme
	}
	return s
}

// webTLS also answers the questions of an ACME server.
func (d *Daemon) webTLS() *tls.Config {
	c := listen.ServerConfig(d.certs, listen.TLSOptions{MinVersion: d.cfg.TLS.MinVersion(), Tickets: true})
	c.NextProtos = []string{"http/1.1"}
	if d.acme == nil {
		return c
	}
	c.NextProtos = append(c.NextProtos, acme.ALPN)
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if cert, err := d.acme.Challenge(hello); cert != nil || err != nil {
			return cert, err
		}
		return d.certs.GetCertificate(hello)
	}
	return c
}

// overview is what the status page shows.
func (d *Daemon) overview(r *http.Request) (web.Overview, error) {
	items, err := d.queue.List(r.Context(), queue.Filter{})
	o := web.Overview{Now: time.Now(), Status: d.Status(), Queue: items, DNS: d.zones.Load()}
	if h := d.o.History; h != nil {
		o.Mail = h.Last(50, web.IsMail)
		o.Failures = h.Last(50, web.IsFailure)
	}
	return o, err
}
