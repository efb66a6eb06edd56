package tlsrpt

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// postTime bounds one POST.
const postTime = time.Minute

// client makes the HTTP client: no redirects, no proxy of the environment, and
// only public addresses, since whoever owns a domain names the URL.
func (c *Collector) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            c.dial,
			TLSClientConfig:        &tls.Config{RootCAs: c.o.RootCAs, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       postTime,
	}
}

func (c *Collector) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{a}
	} else {
		a, err := c.o.Resolver.Addrs(ctx, host)
		if err != nil {
			return nil, err
		}
		addrs = a.Records
	}
	err = errors.New(host + " has no public address")
	for _, ip := range addrs {
		if !public(ip) {
			continue
		}
		var conn net.Conn
		d := net.Dialer{Timeout: 10 * time.Second}
		if conn, err = d.DialContext(ctx, network, net.JoinHostPort(ip.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func public(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsGlobalUnicast() && !ip.IsPrivate()
}

// post hands a report over by HTTPS (RFC 8460 section 5.4).
func (c *Collector) post(ctx context.Context, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the answer of %s is %s", url, resp.Status)
	}
	return nil
}
