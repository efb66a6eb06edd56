package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// commandServer answers each line with "ok" after two words from work (begin
// and end), says "bye" when it is woken, and is idle only while it waits for a
// line.
func commandServer(work <-chan struct{}) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		br := bufio.NewReader(c)
		t := Of(c)
		for {
			t.SetIdle(true)
			c.SetReadDeadline(time.Now().Add(time.Hour))
			if t.Draining() {
				io.WriteString(c, "bye\r\n")
				return
			}
			_, err := br.ReadString('\n')
			t.SetIdle(false)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				io.WriteString(c, "bye\r\n")
				return
			}
			if err != nil {
				return
			}
			<-work
			<-work
			io.WriteString(c, "ok\r\n")
		}
	}
}

func TestDrainWakesIdleAndWaitsForWork(t *testing.T) {
	cert := newPair(t, "localhost")
	certs, _ := LoadCertificates(nil, cert.pair)
	for name, config := range map[string]*tls.Config{"plain": nil, "TLS": SMTPConfig(certs)} {
		t.Run(name, func(t *testing.T) {
			l := newTest(t, Options{TLS: config, RollingDeadlines: true})
			work := make(chan struct{})
			acceptAll(l, commandServer(work))
			open := func() net.Conn {
				c := dial(t, l)
				if config != nil {
					c = tls.Client(c, &tls.Config{RootCAs: cert.pool, ServerName: "localhost"})
				}
				io.WriteString(c, "hello\r\n")
				return c
			}
			idle, busy := open(), open()
			for range 4 {
				work <- struct{}{}
			}
			readLine(t, idle)
			readLine(t, busy)
			io.WriteString(busy, "more\r\n")
			work <- struct{}{}
			for idleConns(l) != 1 {
				time.Sleep(time.Millisecond)
			}

			drained := make(chan error, 1)
			go func() { drained <- l.Drain(context.Background()) }()
			if got := readLine(t, idle); got != "bye\r\n" {
				t.Errorf("idle connection heard %q", got)
			}
			select {
			case err := <-drained:
				t.Fatalf("Drain did not wait for the work: %v", err)
			default:
			}
			work <- struct{}{}
			br := bufio.NewReader(busy)
			for _, want := range []string{"ok\r\n", "bye\r\n"} {
				if got, err := br.ReadString('\n'); got != want {
					t.Errorf("busy connection heard %q, %v, want %q", got, err, want)
				}
			}
			if err := <-drained; err != nil {
				t.Errorf("Drain = %v", err)
			}
		})
	}
}

func idleConns(l *Listener) (n int) {
	for _, c := range l.Conns() {
		c.mu.Lock()
		if c.idle {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

func TestDrainCutsWhenItsContextEnds(t *testing.T) {
	l := newTest(t, Options{})
	served := make(chan struct{})
	acceptAll(l, func(c net.Conn) { greet(c); close(served); io.Copy(io.Discard, c) })
	c := dial(t, l)
	readLine(t, c)
	<-served
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain = %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection lives on: %v", err)
	}
	if n := len(l.Conns()); n != 0 {
		t.Errorf("%d connections tracked", n)
	}
	if err := l.Drain(context.Background()); err != nil {
		t.Errorf("second Drain = %v", err)
	}
}

func TestWorkThatBeginsWhileDrainingMayRead(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	l := newTest(t, Options{})
	c := l.admit(a)
	c.SetIdle(true)
	c.SetReadDeadline(time.Now().Add(time.Hour))
	c.drain()
	c.SetIdle(false) // a command had come just before
	go io.WriteString(b, "x")
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("reading the rest of a command: %v", err)
	}
	c.SetIdle(true)
	c.SetReadDeadline(time.Now().Add(time.Hour)) // must not hide the wake-up
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("idle while draining: %v", err)
	}
}
