package mtasts

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"svc.plus/mailsrvd/smtpd/relay"
)

const (
	// maxSize bounds a policy file, as RFC 8461 section 3.3 suggests.
	maxSize = 64 << 10
	// fetchTime bounds the whole fetch, as that section suggests too.
	fetchTime = time.Minute
)

// errPolicy marks a file that could be had and is no policy.
var errPolicy = errors.New("unusable policy file")

// failureOf says how a fetch that failed is reported (RFC 8460 section 4.3.2.2).
func failureOf(err error) relay.TLSFailure {
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errPolicy):
		return relay.InvalidSTSPolicy
	case errors.As(err, &untrusted):
		return relay.UntrustedSTSHost
	}
	return relay.NoSTSPolicy
}

// client makes the HTTP client: TLS with a verified certificate, names looked up
// as the relay looks them up, no redirects (RFC 8461 section 3.3), no proxy of
// the environment, no connection kept.
func (r *Resolver) client() *http.Client {
	dial := r.o.Dial
	if dial == nil {
		dial = r.dial
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            dial,
			TLSClientConfig:        &tls.Config{RootCAs: r.o.RootCAs, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: maxSize,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       fetchTime,
	}
}

// dial tries the addresses that the relay's resolver gives.
func (r *Resolver) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	a, err := r.o.Resolver.Addrs(ctx, host)
	if err != nil {
		return nil, err
	}
	err = errors.New(host + " has no address")
	for _, ip := range a.Records {
		var c net.Conn
		d := net.Dialer{Timeout: 10 * time.Second}
		if c, err = d.DialContext(ctx, network, net.JoinHostPort(ip.String(), port)); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// fetch gets the policy of a domain. What the server says of the file's media
// type is not looked at: many say nothing sensible, and Parse takes nothing that
// is no policy.
func (r *Resolver) fetch(ctx context.Context, domain string) (Policy, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	url := "https://mta-sts." + domain + "/.well-known/mta-sts.txt"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Policy{}, err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return Policy{}, fmt.Errorf("fetching the MTA-STS policy: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Policy{}, fmt.Errorf("fetching %s: status %d", url, resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxSize+1))
	if err != nil {
		return Policy{}, fmt.Errorf("reading %s: %w", url, err)
	}
	if len(text) > maxSize {
		return Policy{}, fmt.Errorf("%s is larger than %d octets", url, maxSize)
	}
	p, err := Parse(string(text))
	if err != nil {
		return Policy{}, fmt.Errorf("%w: %w", errPolicy, err)
	}
	return p, nil
}
