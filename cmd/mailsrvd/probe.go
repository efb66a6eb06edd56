package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/probe"
	"svc.plus/mailsrvd/config"
)

type probeOptions struct {
	smtp, imap, user, passwordFile string
	insecure                       bool
	timeout                        time.Duration
	printer
}

func (a *app) probeCommand() *cobra.Command {
	var o probeOptions
	c := &cobra.Command{
		Use:   "probe --user USER",
		Short: "Send a message to oneself and read it back, as proof that mail works",
		Long: `probe submits a message by SMTP as USER, waits for it in USER's INBOX by IMAP,
reads it and deletes it. It uses TLS and the servers of the configuration, unless
--smtp and --imap name others; the ports 465 and 993, and those of
listen.submissions and listen.imaps, mean TLS from the first byte, all others
STARTTLS. A server on this machine is known by its configured certificate.
With both options and a USER that has a domain, no configuration is needed.

The password comes from --password-file, else from the environment variable
MAILSRVD_PASSWORD, else from the terminal or the first line of standard input.

Exit status: 0 it works; 1 it does not, and which step failed.`,
		Example: "  mailsrvd probe --user support\n  MAILSRVD_PASSWORD=... mailsrvd probe --user support --smtp smtp.svc.plus:465 --imap smtp.svc.plus:993",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runProbe(cmd.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.user, "user", "", "login `name`, with or without @domain")
	f.StringVar(&o.smtp, "smtp", "", "`host:port` of the submission server")
	f.StringVar(&o.imap, "imap", "", "`host:port` of the IMAP server")
	f.StringVar(&o.passwordFile, "password-file", "", "`file` whose first line is the password")
	f.BoolVar(&o.insecure, "insecure", false, "do not check certificates")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "longest `time` for all")
	c.MarkFlagRequired("user")
	o.flag(c)
	return c
}

// probeStep is a line of the result.
type probeStep struct {
	Step string  `json:"step"`
	MS   float64 `json:"ms"`
}

func (a *app) runProbe(ctx context.Context, o probeOptions) error {
	cfg, err := a.config()
	if errors.Is(err, fs.ErrNotExist) && o.elsewhere() {
		cfg, _ = config.Parse(a.configPath, "") // nothing of it matters
	} else if err != nil {
		return err
	}
	po, err := o.target(cfg)
	if err != nil {
		return err
	}
	if po.Password, err = a.probePassword(o); err != nil {
		return err
	}
	steps := []probeStep{}
	po.Step = func(name string, took time.Duration) {
		steps = append(steps, probeStep{name, float64(took.Microseconds()) / 1000})
	}
	failure := probe.Run(ctx, po)
	err = o.print(a, steps, func(w *tabwriter.Writer) {
		for _, s := range steps {
			fmt.Fprintf(w, "ok\t%s\t%.1f ms\n", s.Step, s.MS)
		}
	})
	return errors.Join(failure, err)
}

// elsewhere says that the options alone tell what to probe.
func (o probeOptions) elsewhere() bool {
	return o.smtp != "" && o.imap != "" && strings.Contains(o.user, "@")
}

// target is what the configuration and the options say about the servers.
func (o probeOptions) target(c *config.Config) (probe.Options, error) {
	po := probe.Options{User: o.user, Address: o.user, Timeout: o.timeout}
	if !strings.Contains(o.user, "@") {
		po.Address = o.user + "@" + c.Domain()
	}
	var err error
	if po.SMTP, po.ImplicitSMTP, err = server(o.smtp, "465", c.Listen.Submissions, c.Listen.Submission); err != nil {
		return po, fmt.Errorf("--smtp: %w", err)
	}
	if po.IMAP, po.ImplicitIMAP, err = server(o.imap, "993", c.Listen.IMAPS, c.Listen.IMAP); err != nil {
		return po, fmt.Errorf("--imap: %w", err)
	}
	po.TLS = &tls.Config{InsecureSkipVerify: o.insecure}
	if o.smtp == "" && o.imap == "" {
		po.TLS.ServerName = c.Hostname
		po.TLS.RootCAs, err = ownRoots(c)
	}
	return po, err
}

// server chooses an address: the one given, else ours with TLS from the first
// byte, else ours with STARTTLS.
func server(given, implicitPort string, implicit, starttls []string) (addr string, direct bool, err error) {
	if given != "" {
		_, port, err := net.SplitHostPort(given)
		if err != nil {
			return "", false, err
		}
		for _, a := range implicit {
			direct = direct || strings.HasSuffix(a, ":"+port)
		}
		return given, direct || port == implicitPort, nil
	}
	if a := reachable(implicit); a != "" {
		return a, true, nil
	}
	if a := reachable(starttls); a != "" {
		return a, false, nil
	}
	return "", false, errors.New("the configuration has no such listener; name the server")
}

// reachable is the first address that one can connect to; "" if there is none.
func reachable(list []string) string {
	for _, a := range list {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			continue
		}
		if host == "" || host == "0.0.0.0" || host == "::" {
			host = "127.0.0.1"
		}
		return net.JoinHostPort(host, port)
	}
	return ""
}

// ownRoots trusts our own certificate besides the system's roots: whoever can
// read the configuration knows that it is ours.
func ownRoots(c *config.Config) (*x509.CertPool, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	_, pairs := c.TLS.Pairs()
	for _, p := range pairs {
		pem, err := os.ReadFile(p.Certificate)
		if err != nil {
			return nil, err
		}
		roots.AppendCertsFromPEM(pem)
	}
	return roots, nil
}

func (a *app) probePassword(o probeOptions) (string, error) {
	if o.passwordFile != "" {
		return (&config.Relay{PasswordFile: o.passwordFile}).Password()
	}
	if p, ok := os.LookupEnv("MAILSRVD_PASSWORD"); ok {
		return p, nil
	}
	return a.password("Password of " + o.user + ": ")
}
