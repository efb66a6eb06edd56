package zone

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/keyring"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/smtpd/relay/mtasts"
)

// Of gives the domains of the configuration, or those that are named. It reads
// their keys.
func Of(c *config.Config, names ...string) ([]Domain, error) {
	if len(names) == 0 {
		names = c.Domains
	}
	keys, err := keyring.Load(c)
	if err != nil {
		return nil, err
	}
	addresses := PublicAddresses()
	var out []Domain
	for _, name := range names {
		if name = strings.ToLower(name); !slices.Contains(c.Domains, name) {
			return nil, fmt.Errorf("%s is not one of domains (%s)", name, c.Where("domains"))
		}
		d := Domain{
			Name: name, Hostname: c.Hostname, Addresses: addresses, Postmaster: "postmaster",
			Submission: config.Port(c.Listen.Submission), Submissions: config.Port(c.Listen.Submissions),
			IMAP: config.Port(c.Listen.IMAP), IMAPS: config.Port(c.Listen.IMAPS), ManageSieve: config.Port(c.Listen.ManageSieve),
			HTTPS: config.Port(c.Listen.HTTPS),
		}
		d.Policy, d.HasPolicy = Policy(c)
		for _, k := range keys {
			if k.Domain == name {
				d.Keys = append(d.Keys, Key{Selector: k.Selector, Key: k.Key, State: k.State})
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// Policy is the MTA-STS policy of our domains; ok is false without one.
func Policy(c *config.Config) (p mtasts.Policy, ok bool) {
	if c.MTASTS.Mode == "off" {
		return mtasts.Policy{}, false
	}
	return mtasts.Policy{Mode: mtasts.Mode(c.MTASTS.Mode), MX: c.STSHosts(), MaxAge: c.MTASTS.MaxAge}, true
}

// CheckAll checks the domains within two minutes. resolver is that of the
// configuration.
func CheckAll(ctx context.Context, resolver string, domains []Domain) ([]Finding, error) {
	r, err := dns.NewSystem(resolver)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var findings []Finding
	for _, d := range domains {
		findings = append(findings, d.Check(ctx, r, FetchPolicy)...)
	}
	return findings, nil
}

// FetchPolicy reads an MTA-STS policy: at most 64 KiB, without redirects (RFC
// 8461 section 3.3).
func FetchPolicy(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the answer is %s", resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return string(b), err
}
