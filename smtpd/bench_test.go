package smtpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/message"
)

// nowhere takes every message at once.
type nowhere struct{}

func (nowhere) Deliver(_ context.Context, _ message.Envelope, _ *message.Content, to []message.Local) []error {
	return make([]error, len(to))
}
func (nowhere) Enqueue(context.Context, message.Envelope, *message.Content) error { return nil }

// bencher is a client that sends one message again and again.
type bencher struct {
	conn net.Conn
	br   *bufio.Reader
	text []byte
}

func newBencher(b *testing.B, h *house, size int, secure bool) *bencher {
	b.Helper()
	c, err := net.Dial(h.addr.Network(), h.addr.String())
	if err != nil {
		b.Fatal(err)
	}
	p := &bencher{conn: c, br: bufio.NewReader(c)}
	p.expect(b, "220")
	if secure {
		p.command(b, "EHLO x", "250")
		p.command(b, "STARTTLS", "220")
		c = tls.Client(c, clientTLS)
		p.conn, p.br = c, bufio.NewReader(c)
	}
	p.command(b, "EHLO x", "250")
	line := strings.Repeat("x", 74) + "\r\n"
	from := "x@there.test"
	if h.o.Mode == Submission {
		from = "alice@here.test"
	}
	p.text = []byte("From: " + from + "\r\nTo: alice@here.test\r\nSubject: bench\r\nDate: Sat, 3 Feb 2024 04:05:06 +0000\r\nMessage-ID: <1@there.test>\r\n\r\n" +
		strings.Repeat(line, size/len(line)) + ".\r\n")
	return p
}

func (p *bencher) command(b *testing.B, line, code string) {
	io.WriteString(p.conn, line+"\r\n")
	p.expect(b, code)
}

func (p *bencher) expect(b *testing.B, code string) {
	for {
		line, err := p.br.ReadSlice('\n')
		if err != nil || string(line[:3]) != code {
			b.Errorf("got %q, %v, want %s", line, err, code)
			return
		}
		if line[3] == ' ' {
			return
		}
	}
}

// send sends a message and returns the time from its last byte to the reply.
func (p *bencher) send(b *testing.B) time.Duration { return p.sendFrom(b, "x@there.test") }

func (p *bencher) sendFrom(b *testing.B, from string) time.Duration {
	p.command(b, "MAIL FROM:<"+from+">", "250")
	p.command(b, "RCPT TO:<alice@here.test>", "250")
	p.command(b, "DATA", "354")
	p.conn.Write(p.text)
	began := time.Now()
	p.expect(b, "250")
	return time.Since(began)
}

// BenchmarkReceive gives the rate of messages for connections that send one
// after the other, to a Deliverer that does nothing; client and server share
// the processor.
func BenchmarkReceive(b *testing.B) {
	for _, c := range []struct {
		conns, size int
		tls         bool
	}{{1, 4 << 10, false}, {32, 4 << 10, false}, {32, 4 << 10, true}, {8, 1 << 20, false}} {
		b.Run(fmt.Sprintf("conns=%d/size=%d/tls=%v", c.conns, c.size, c.tls), func(b *testing.B) {
			h := build(b, MX, func(o *Options) { o.Deliverer, o.Queue, o.Logger = nowhere{}, nowhere{}, nil })
			var clients []*bencher
			for range c.conns {
				clients = append(clients, newBencher(b, h, c.size, c.tls))
			}
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			var mu sync.Mutex
			var all []time.Duration
			var wg sync.WaitGroup
			for _, p := range clients {
				wg.Go(func() {
					var took []time.Duration
					for left.Add(-1) >= 0 {
						took = append(took, p.send(b))
					}
					mu.Lock()
					defer mu.Unlock()
					all = append(all, took...)
				})
			}
			wg.Wait()
			b.StopTimer()
			slices.Sort(all)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
			for _, p := range clients {
				p.conn.Close()
			}
		})
	}
}

// BenchmarkChunks is one large message by BDAT.
func BenchmarkChunks(b *testing.B) {
	h := build(b, MX, func(o *Options) { o.Deliverer, o.Queue, o.Logger = nowhere{}, nowhere{}, nil })
	p := newBencher(b, h, 10<<20, false)
	text := p.text[:len(p.text)-len(".\r\n")]
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		p.command(b, "MAIL FROM:<x@there.test>", "250")
		p.command(b, "RCPT TO:<alice@here.test>", "250")
		fmt.Fprintf(p.conn, "BDAT %d LAST\r\n", len(text))
		p.conn.Write(text)
		p.expect(b, "250")
	}
}

// BenchmarkSubmit is a user's program that sends one message: connect, STARTTLS,
// AUTH, the message, QUIT. The client's own work is part of the figure; checking
// the password and storing the message are not. The signatures are DKIM's.
func BenchmarkSubmit(b *testing.B) {
	for _, alg := range []dkim.Algorithm{"", dkim.RSA, dkim.Ed25519} {
		b.Run("signed="+string(alg), func(b *testing.B) {
			var signer Signer
			if alg != "" {
				key, err := dkim.GenerateKey(alg)
				if err != nil {
					b.Fatal(err)
				}
				if signer, err = dkim.NewSigner([]dkim.Identity{{Domain: "here.test", Selector: "x", Key: key}}); err != nil {
					b.Fatal(err)
				}
			}
			h := build(b, Submission, func(o *Options) {
				o.Deliverer, o.Queue, o.Logger, o.Signer = nowhere{}, nowhere{}, nil, signer
			})
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p := newBencher(b, h, 4<<10, true)
					p.command(b, "AUTH PLAIN AGFsaWNlAHB3LWFsaWNl", "235")
					p.sendFrom(b, "alice@here.test")
					p.command(b, "QUIT", "221")
					p.conn.Close()
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
