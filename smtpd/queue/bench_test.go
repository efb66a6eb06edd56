package queue

import (
	"bytes"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"svc.plus/mailsrvd/internal/message"
)

func benchQueue(b *testing.B) *Queue {
	b.Helper()
	q, err := Open(Options{Dir: filepath.Join(b.TempDir(), "queue"), Hostname: "mail.example.org", Transport: short{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { q.Close() })
	return q
}

func BenchmarkEnqueue(b *testing.B) {
	for _, writers := range []int{1, 8, 32} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			q := benchQueue(b)
			c := message.FromBytes(bytes.Repeat([]byte("0123456789abcdef\r\n"), 500))
			b.ReportAllocs()
			b.SetParallelism((writers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					env := envelope("bob@a.example", "eve@b.example")
					env.Trace = newID()
					if err := q.Enqueue(b.Context(), env, c); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkList10000(b *testing.B) {
	q := benchQueue(b)
	c := message.FromBytes([]byte(text))
	for i := range 10000 {
		env := envelope(fmt.Sprintf("u%d@d%d.example", i, i%100))
		env.Trace = fmt.Sprintf("q%d", i)
		if err := q.Enqueue(b.Context(), env, c); err != nil {
			b.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ReportAllocs()
	for b.Loop() {
		items, err := q.List(b.Context(), Filter{})
		if err != nil || len(items) != 10000 {
			b.Fatal(len(items), err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc)/10000, "heap-B/item")
}
