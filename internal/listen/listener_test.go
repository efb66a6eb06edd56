package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// patience is how long a test waits for what must happen; never for what must
// not.
const patience = 10 * time.Second

func newTest(t *testing.T, o Options) *Listener {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(raw, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		l.Drain(ctx)
	})
	return l
}

func dial(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

// acceptAll serves every connection with serve, or keeps it open.
func acceptAll(l *Listener, serve func(net.Conn)) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if serve != nil {
				go serve(c)
			}
		}
	}()
}

func greet(c net.Conn) { io.WriteString(c, "hello\r\n") }

func readLine(t *testing.T, c net.Conn) string {
	t.Helper()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatalf("reading a line: %q, %v", line, err)
	}
	return line
}

func TestLimitsRefuseWithTheLine(t *testing.T) {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	for name, c := range map[string]struct {
		options Options
		refused bool
		reason  string
	}{
		"in all":                    {Options{MaxConns: 1}, true, "total"},
		"per address":               {Options{MaxPerIP: 1, MaxConns: 9}, true, "per_ip"},
		"per network":               {Options{MaxPerNetwork: 1}, true, "per_network"},
		"per minute":                {Options{RatePerIP: 1}, true, "rate"},
		"per minute and network":    {Options{RatePerNetwork: 1}, true, "rate"},
		"banned but allowed":        {Options{Banned: func(netip.Addr) bool { return true }, Allow: []netip.Prefix{loopback}}, false, ""},
		"none":                      {Options{}, false, ""},
		"the allow-list wins":       {Options{MaxConns: 1, MaxPerIP: 1, Allow: []netip.Prefix{loopback}}, false, ""},
		"a foreign allow-list does": {Options{MaxConns: 1, Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, true, "total"},
	} {
		t.Run(name, func(t *testing.T) {
			c.options.Refusal = "421 busy\r\n"
			c.options.Name = "mx"
			reg := prometheus.NewRegistry()
			c.options.Registerer = reg
			l := newTest(t, c.options)
			acceptAll(l, greet)
			first := dial(t, l)
			if got := readLine(t, first); got != "hello\r\n" {
				t.Fatalf("first connection: %q", got)
			}
			want := "hello\r\n"
			if c.refused {
				want = "421 busy\r\n"
			}
			if got := readLine(t, dial(t, l)); got != want {
				t.Errorf("second connection: %q, want %q", got, want)
			}
			if c.refused {
				if n := testutil.ToFloat64(l.metrics.refused.WithLabelValues("mx", c.reason)); n != 1 {
					t.Errorf("refused metric = %v", n)
				}
			}
		})
	}
}

func TestBannedAreRefused(t *testing.T) {
	l := newTest(t, Options{Banned: func(ip netip.Addr) bool { return ip == netip.MustParseAddr("127.0.0.1") }, Refusal: "421 busy\r\n"})
	acceptAll(l, greet)
	if got := readLine(t, dial(t, l)); got != "421 busy\r\n" {
		t.Errorf("%q", got)
	}
	if n := testutil.ToFloat64(l.metrics.refused.WithLabelValues("", "banned")); n != 1 {
		t.Errorf("refused metric = %v", n)
	}
}

func TestClosingMakesRoom(t *testing.T) {
	l := newTest(t, Options{MaxConns: 1, MaxPerIP: 1, Refusal: "busy\r\n"})
	served := make(chan net.Conn, 4)
	acceptAll(l, func(c net.Conn) { greet(c); served <- c })
	for range 3 {
		c := dial(t, l)
		if got := readLine(t, c); got != "hello\r\n" {
			t.Fatalf("got %q", got)
		}
		s := <-served
		s.Close()
		s.Close() // a second Close must not count twice
	}
	if len(l.Conns()) != 0 || l.counted != 0 || len(l.perIP) != 0 {
		t.Errorf("left over: %d tracked, %d counted, %v", len(l.Conns()), l.counted, l.perIP)
	}
}

func TestOriginGroupsByWhatOneCustomerHolds(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"::ffff:192.0.2.1", "192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:2", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		a := origin(remoteIP(&net.TCPAddr{IP: net.ParseIP(c.a)}))
		b := origin(remoteIP(&net.TCPAddr{IP: net.ParseIP(c.b)}))
		if (a == b) != c.same {
			t.Errorf("%s and %s: %v, %v", c.a, c.b, a, b)
		}
	}
}

func TestSilentTLSClientDoesNotBlockOthers(t *testing.T) {
	cert := newPair(t, "localhost")
	certs, err := LoadCertificates(nil, cert.pair)
	if err != nil {
		t.Fatal(err)
	}
	l := newTest(t, Options{TLS: SMTPConfig(certs), HandshakeTimeout: time.Hour})
	acceptAll(l, greet)
	for range 5 {
		dial(t, l) // says nothing
	}
	c := tls.Client(dial(t, l), &tls.Config{RootCAs: cert.pool, ServerName: "localhost"})
	if got := readLine(t, c); got != "hello\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestHandshakeTimeoutEndsSilentClient(t *testing.T) {
	certs, err := LoadCertificates(nil, newPair(t, "localhost").pair)
	if err != nil {
		t.Fatal(err)
	}
	// Rolling deadlines must not let a dripping client live on.
	l := newTest(t, Options{TLS: SMTPConfig(certs), HandshakeTimeout: 50 * time.Millisecond, RollingDeadlines: true})
	acceptAll(l, nil)
	c := dial(t, l)
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server did not hang up")
	}
}

func TestAcceptGivesFinishedTLS(t *testing.T) {
	cert := newPair(t, "localhost")
	certs, _ := LoadCertificates(nil, cert.pair)
	l := newTest(t, Options{TLS: SMTPConfig(certs), Name: "x"})
	got := make(chan net.Conn, 1)
	acceptAll(l, func(c net.Conn) { greet(c); got <- c })
	readLine(t, tls.Client(dial(t, l), &tls.Config{RootCAs: cert.pool, ServerName: "localhost"}))
	c := <-got
	tc, ok := c.(*tls.Conn)
	if !ok || !tc.ConnectionState().HandshakeComplete {
		t.Fatalf("Accept gave %T", c)
	}
	if Of(c) == nil || Of(c) != tc.NetConn() {
		t.Error("Of does not find the tracked connection")
	}
	if tc.ConnectionState().Version < tls.VersionTLS12 {
		t.Error("old TLS")
	}
}

func TestCloseEndsAccept(t *testing.T) {
	certs, _ := LoadCertificates(nil, newPair(t, "localhost").pair)
	for name, o := range map[string]Options{"plain": {}, "TLS": {TLS: SMTPConfig(certs)}} {
		t.Run(name, func(t *testing.T) {
			l := newTest(t, o)
			done := make(chan error, 1)
			go func() { _, err := l.Accept(); done <- err }()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept = %v", err)
			}
			if err := l.Close(); err != nil {
				t.Errorf("second Close = %v", err)
			}
		})
	}
}

// flaky fails with what may heal before it accepts.
type flaky struct {
	net.Listener
	failures int
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.failures > 0 {
		f.failures--
		return nil, errors.New("accept4: too many open files")
	}
	return f.Listener.Accept()
}

func TestAcceptOutlivesPassingErrors(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(&flaky{Listener: raw, failures: 3}, Options{})
	defer l.Close()
	acceptAll(l, greet)
	readLine(t, dial(t, l))
}

func TestTwoListenersShareARegistry(t *testing.T) {
	reg := prometheus.NewRegistry()
	newTest(t, Options{Name: "a", Registerer: reg})
	newTest(t, Options{Name: "b", Registerer: reg})
	n, err := testutil.GatherAndCount(reg, "mailsrvd_listen_connections")
	if err != nil || n != 2 {
		t.Errorf("%d series, %v", n, err)
	}
}
