package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestUpgrade(t *testing.T) {
	cert := newPair(t, "localhost")
	certs, err := LoadCertificates(nil, cert.pair)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer b.Close()
	go func() {
		c := tls.Client(b, &tls.Config{RootCAs: cert.pool, ServerName: "localhost"})
		io.WriteString(c, "hello")
	}()
	c, err := Upgrade(context.Background(), a, SMTPConfig(certs), 0)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "hello" {
		t.Errorf("read %q, %v", buf, err)
	}
}

func TestUpgradeFailsAndCloses(t *testing.T) {
	certs, err := LoadCertificates(nil, newPair(t, "localhost").pair)
	if err != nil {
		t.Fatal(err)
	}
	config := SMTPConfig(certs)
	for name, client := range map[string]func(net.Conn){
		"no TLS":  func(c net.Conn) { io.WriteString(c, "EHLO what is this\r\n") },
		"silence": func(net.Conn) {},
		"a drip": func(c net.Conn) {
			for { // a record that never ends
				if _, err := c.Write([]byte{22}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
		"the end": func(c net.Conn) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				began := time.Now()
				left := make(chan struct{})
				go func() {
					defer close(left)
					client(b)
					io.Copy(io.Discard, b)
				}()
				if _, err := Upgrade(context.Background(), a, config, time.Minute); err == nil {
					t.Error("Upgrade succeeded")
				}
				if took := time.Since(began); took > time.Minute {
					t.Errorf("it took %v", took)
				}
				if _, err := a.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("the connection is open: %v", err)
				}
				b.Close()
				<-left
			})
		})
	}
}
