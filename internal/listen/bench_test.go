package listen

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// BenchmarkHandshake is a connection with its TLS handshake, the client's part included,
// by the kind of the server's key.
func BenchmarkHandshake(b *testing.B) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		key     crypto.Signer
		version uint16
		cache   tls.ClientSessionCache
	}{
		{"ecdsa-p256", ecdsaKey, tls.VersionTLS13, nil},
		{"rsa-2048", rsaKey, tls.VersionTLS13, nil},
		{"ecdsa-p256/resumed", ecdsaKey, tls.VersionTLS13, tls.NewLRUClientSessionCache(1)},
		{"rsa-2048/resumed", rsaKey, tls.VersionTLS13, tls.NewLRUClientSessionCache(1)},
		{"ecdsa-p256/TLS1.2", ecdsaKey, tls.VersionTLS12, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.test"}, NotAfter: time.Now().Add(time.Hour)}
			der, err := x509.CreateCertificate(rand.Reader, template, template, c.key.Public(), c.key)
			if err != nil {
				b.Fatal(err)
			}
			server := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: c.key}}}
			client := &tls.Config{ServerName: "mx.test", InsecureSkipVerify: true, MaxVersion: c.version, ClientSessionCache: c.cache}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			b.ReportAllocs()
			for b.Loop() {
				shakeHands(b, l, server, client)
			}
		})
	}
}

// shakeHands goes on until the client has read a byte, and with it the ticket for
// the next time.
func shakeHands(b *testing.B, l net.Listener, server, client *tls.Config) {
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		defer far.Close()
		tls.Server(far, server).Write([]byte{0})
	}()
	if _, err := tls.Client(near, client).Read(make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkIdleTLS tells what an idle connection costs this side: heap and
// stacks of a goroutine that waits in Read. The clients are in a child process,
// so that their memory is not counted.
func BenchmarkIdleTLS(b *testing.B) {
	for b.Loop() {
		measureIdle(b, 500)
	}
}

func measureIdle(b *testing.B, conns int) {
	certs, err := LoadCertificates(nil, newPair(b, "localhost").pair)
	if err != nil {
		b.Fatal(err)
	}
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	l := New(raw, Options{TLS: SMTPConfig(certs)})
	defer l.Drain(canceled())
	stop := startClients(b, l.Addr().String(), conns)
	defer stop()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range conns {
		c, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		c.Write([]byte("* OK hello\r\n"))
		go func() { c.Read(make([]byte, 64)) }()
	}
	time.Sleep(100 * time.Millisecond)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(conns), "heap-B/conn")
	b.ReportMetric(float64(after.StackInuse-before.StackInuse)/float64(conns), "stack-B/conn")
}

// startClients runs this binary again as n idle clients.
func startClients(b *testing.B, address string, n int) (stop func()) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	env := append(os.Environ(), "LISTEN_IDLE_CLIENTS="+address+" "+strings.Repeat("x", n))
	p, err := os.StartProcess(self, []string{self, "-test.run", "^TestIdleClients$"}, &os.ProcAttr{Env: env, Files: []*os.File{r, nil, os.Stderr}})
	if err != nil {
		b.Fatal(err)
	}
	r.Close()
	return func() { w.Close(); p.Wait() }
}

// TestIdleClients is the child of BenchmarkIdleTLS: it connects and waits for
// the end of its input.
func TestIdleClients(t *testing.T) {
	address, count, ok := strings.Cut(os.Getenv("LISTEN_IDLE_CLIENTS"), " ")
	if !ok {
		return
	}
	for range count {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	os.Stdin.Read(make([]byte, 1))
}
