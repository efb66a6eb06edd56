package imapd

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/listen"
)

// secureServer listens with TLS, as port 993 does, and has one message.
func secureServer(b *testing.B) (addr string) {
	b.Helper()
	h := newHarness(b, func(o *Options) { o.Limits.PerUser = 1000 })
	h.deliver("INBOX", mail("x"))
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ln := listen.New(raw, listen.Options{TLS: testTLS()})
	go h.srv.Serve(b.Context(), ln)
	return raw.Addr().String()
}

// BenchmarkSession is what a client does that looks for mail and goes: connect,
// handshake, the commands, LOGOUT. The client's own work is part of the figure;
// checking a password is not.
func BenchmarkSession(b *testing.B) {
	for _, c := range []struct {
		name     string
		commands string
		tls      *tls.Config
	}{
		{"login", "a LOGIN alice secret\r\n", &tls.Config{InsecureSkipVerify: true}},
		{"login-resumed", "a LOGIN alice secret\r\n", &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}},
		{"login-select", "a LOGIN alice secret\r\na SELECT INBOX\r\n", &tls.Config{InsecureSkipVerify: true}},
	} {
		b.Run(c.name, func(b *testing.B) {
			addr := secureServer(b)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := converse(addr, c.commands+"z LOGOUT\r\n", c.tls); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sessions/s")
		})
	}
}

// converse sends commands and reads to the reply to z.
func converse(addr, commands string, config *tls.Config) error {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(commands)); err != nil {
		return err
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "a ") && !strings.HasPrefix(line, "a OK") {
			return fmt.Errorf("server said %s", line)
		}
		if strings.HasPrefix(line, "z OK") {
			return nil
		}
	}
	return fmt.Errorf("connection ended: %w", lines.Err())
}

// BenchmarkAppend is APPEND over a connection without TLS, to the reply that says
// that the message is on disk.
func BenchmarkAppend(b *testing.B) {
	c := benchClient(b, 0, "")
	text := strings.Repeat("The quick brown fox jumps over the lazy dog.\r\n", 60)
	command := fmt.Sprintf("APPEND INBOX (\\Seen) {%d+}\r\nSubject: x\r\n\r\n%s", len(text)+len("Subject: x\r\n\r\n"), text)
	for b.Loop() {
		c.command(b, command)
	}
}
