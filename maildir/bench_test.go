package maildir

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
)

// bigMaildir makes a Maildir of n small messages in cur/ with their uidlist.
func bigMaildir(b *testing.B, n int) (dir string) {
	b.Helper()
	dir = filepath.Join(b.TempDir(), "Maildir")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			b.Fatal(err)
		}
	}
	first := ""
	list := fmt.Appendf(nil, "3 V1700000000 N%d G6ae4b403ee73046bd33e000083ecc375\n", n+1)
	for i := range n {
		base := fmt.Sprintf("%d.M%dP4711.bench.example,S=12,W=14", 1700000000+i, i*7%1000000)
		name := filepath.Join(dir, "cur", base+":2,S")
		if i%1000 == 0 { // the others are links to it: making and removing files takes minutes
			first = name
			if err := os.WriteFile(name, []byte("Subject: x\n\n"), 0o600); err != nil {
				b.Fatal(err)
			}
		} else if err := os.Link(first, name); err != nil {
			b.Fatal(err)
		}
		list = fmt.Appendf(list, "%d :%s\n", i+1, base)
	}
	if err := os.WriteFile(filepath.Join(dir, listName), list, 0o600); err != nil {
		b.Fatal(err)
	}
	return dir
}

func benchStore(b *testing.B, dir string) *Store {
	b.Helper()
	stores := NewStores(Options{})
	b.Cleanup(func() { stores.Close() })
	return stores.Store(asuser.Self("bench", filepath.Dir(dir)), dir)
}

func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := bigMaildir(b, n)
			ctx := context.Background()
			for b.Loop() {
				s := benchStore(b, dir)
				m, err := s.Open(ctx, "INBOX")
				if err != nil {
					b.Fatal(err)
				}
				if m.Len() != n {
					b.Fatal(m.Len())
				}
				m.Close()
				s.all.Close()
			}
		})
	}
}

func BenchmarkReopenIdle(b *testing.B) {
	s := benchStore(b, bigMaildir(b, 10_000))
	ctx := context.Background()
	for b.Loop() {
		m, err := s.Open(ctx, "INBOX")
		if err != nil {
			b.Fatal(err)
		}
		m.Close()
	}
}

func BenchmarkStoreOneFlag(b *testing.B) {
	s := benchStore(b, bigMaildir(b, 100_000))
	ctx := context.Background()
	m, err := s.Open(ctx, "INBOX")
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	w := m.Watch(nil)
	defer w.Close()
	b.ReportAllocs()
	op := RemoveFlags
	for i := 0; b.Loop(); i++ {
		if i%100_000 == 0 {
			op = AddFlags + RemoveFlags - op
		}
		if _, _, err := m.StoreFlags(ctx, []UID{UID(i%100_000 + 1)}, op, Flagged, nil, StoreOptions{By: w}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchContent() *message.Content {
	return message.FromBytes([]byte("From: a@example.org\r\nTo: b@example.org\r\nSubject: bench\r\n\r\n" + strings.Repeat("The quick brown fox jumps over the lazy dog.\r\n", 60)))
}

func BenchmarkDeliver(b *testing.B) {
	for _, writers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := benchStore(b, filepath.Join(b.TempDir(), "Maildir"))
			ctx := context.Background()
			if err := s.Prepare(ctx); err != nil {
				b.Fatal(err)
			}
			c := benchContent()
			parallel(b, writers, func() error {
				_, err := s.Deliver(ctx, "INBOX", c, Delivery{})
				return err
			})
		})
	}
}

func BenchmarkDeliverOpen(b *testing.B) {
	for _, writers := range []int{1, 8} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := benchStore(b, filepath.Join(b.TempDir(), "Maildir"))
			ctx := context.Background()
			m, err := s.Open(ctx, "INBOX")
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			w := m.Watch(nil)
			defer w.Close()
			c := benchContent()
			parallel(b, writers, func() error {
				_, err := s.Deliver(ctx, "INBOX", c, Delivery{})
				return err
			})
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("into=%d", size), func(b *testing.B) {
			s := benchStore(b, bigMaildir(b, size))
			ctx := context.Background()
			m, err := s.Open(ctx, "INBOX")
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			w := m.Watch(nil)
			defer w.Close()
			c := benchContent()
			for b.Loop() {
				if _, err := m.Append(ctx, c, Delivery{Flags: Seen}); err != nil {
					b.Fatal(err)
				}
				w.Changes()
			}
		})
	}
}

func BenchmarkParseUIDList(b *testing.B) {
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, "%d :%d.M%dP4711.bench.example,S=12,W=14\n", i+1, 1700000000+i, i*7%1000000)
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseList(text.String(), 3, 0, func(listLine) {}); err != nil {
			b.Fatal(err)
		}
	}
}

// parallel runs work b.N times in n goroutines.
func parallel(b *testing.B, n int, work func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan error, n)
	b.ResetTimer()
	for range n {
		go func() {
			for left.Add(-1) >= 0 {
				if err := work(); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range n {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

// BenchmarkDeliverToWatcher measures from the call of Deliver to the moment when
// an IDLE session knows the message's UID.
func BenchmarkDeliverToWatcher(b *testing.B) {
	s := benchStore(b, filepath.Join(b.TempDir(), "Maildir"))
	ctx := context.Background()
	m, err := s.Open(ctx, "INBOX")
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	w := m.Watch(nil)
	defer w.Close()
	c := benchContent()
	for b.Loop() {
		if _, err := s.Deliver(ctx, "INBOX", c, Delivery{}); err != nil {
			b.Fatal(err)
		}
		for len(w.Changes()) == 0 {
			<-w.C()
		}
	}
}
