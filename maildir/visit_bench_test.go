package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"svc.plus/mailsrvd/internal/asuser"
)

// The cost of one visit to a folder: what STORE, FETCH BODY, NOOP and STATUS
// pay each time. Each benchmark runs as the process itself and as another user,
// which is how the daemon works.

// asBoth runs fn with a Store of the process's own and one of another uid.
func asBoth(b *testing.B, messages int, fn func(b *testing.B, s *Store)) {
	for _, uid := range []int{os.Geteuid(), 20021} {
		name := "own uid"
		if uid != os.Geteuid() {
			name = "other uid"
		}
		b.Run(name, func(b *testing.B) {
			if os.Geteuid() != 0 {
				b.Skip("missing: root, to change file system identities")
			}
			dir := bigMaildir(b, messages)
			own(b, dir, uid)
			stores := NewStores(Options{})
			b.Cleanup(func() { stores.Close() })
			fn(b, stores.Store(asuser.Owner{Name: "bench", UID: uid, GID: uid, Home: filepath.Dir(dir)}, dir))
		})
	}
}

// own gives a tree, and the way to it, to a user.
func own(b *testing.B, dir string, uid int) {
	b.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, uid))
	})
	for up := filepath.Dir(dir); err == nil && up != os.TempDir() && len(up) > 1; up = filepath.Dir(up) {
		err = os.Chmod(up, 0o711)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// watched opens INBOX with a session.
func watched(b *testing.B, s *Store) (*Mailbox, *Watcher) {
	b.Helper()
	m, err := s.Open(context.Background(), "INBOX")
	if err != nil {
		b.Fatal(err)
	}
	w := m.Watch(nil)
	b.Cleanup(func() { w.Close(); m.Close() })
	return m, w
}

func BenchmarkStoreFlags(b *testing.B) {
	ctx := context.Background()
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) {
			asBoth(b, 20_000, func(b *testing.B, s *Store) {
				m, w := watched(b, s)
				uids := make([]UID, n)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					for k := range uids {
						uids[k] = UID((i/2*n+k)%20_000 + 1)
					}
					if _, _, err := m.StoreFlags(ctx, uids, FlagOp(1+i%2), Flagged, nil, StoreOptions{By: w}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func BenchmarkOpenMessage(b *testing.B) {
	ctx := context.Background()
	asBoth(b, 10_000, func(b *testing.B, s *Store) {
		m, _ := watched(b, s)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			f, err := m.OpenMessage(ctx, UID(i%10_000+1))
			if err != nil {
				b.Fatal(err)
			}
			f.Close()
		}
	})
}

func BenchmarkTimes(b *testing.B) {
	ctx := context.Background()
	asBoth(b, 10_000, func(b *testing.B, s *Store) {
		m, _ := watched(b, s)
		uids := uidsOf(m.Messages())
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			if err := m.Times(ctx, uids, func(UID, Times, int64) bool { n++; return true }); err != nil || n != len(uids) {
				b.Fatal(n, err)
			}
		}
	})
}

// A NOOP of a session, and a STATUS of a folder that is in memory.
func BenchmarkSyncUnchanged(b *testing.B) {
	ctx := context.Background()
	asBoth(b, 1000, func(b *testing.B, s *Store) {
		m, _ := watched(b, s)
		b.ReportAllocs()
		for b.Loop() {
			if err := m.Sync(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkStatusUnchanged(b *testing.B) {
	ctx := context.Background()
	asBoth(b, 1000, func(b *testing.B, s *Store) {
		b.ReportAllocs()
		for b.Loop() {
			if st, err := s.Status(ctx, "INBOX", false); err != nil || st.Messages != 1000 {
				b.Fatal(st, err)
			}
		}
	})
}

// A Maildir that no IMAP server has seen: every message needs a UID.
func BenchmarkOpenWithoutList(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := bigMaildir(b, n)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				if err := os.Remove(filepath.Join(dir, listName)); err != nil {
					b.Fatal(err)
				}
				s := benchStore(b, dir)
				b.StartTimer()
				m, err := s.Open(context.Background(), "INBOX")
				if err != nil || m.Len() != n {
					b.Fatal(err)
				}
				m.Close()
				b.StopTimer()
				s.all.Close()
				b.StartTimer()
			}
		})
	}
}

func BenchmarkCopyMoveExpunge(b *testing.B) {
	ctx := context.Background()
	asBoth(b, 1000, func(b *testing.B, s *Store) {
		in, _ := watched(b, s)
		if err := s.Create(ctx, "A"); err != nil {
			b.Fatal(err)
		}
		out, err := s.Open(ctx, "A")
		if err != nil {
			b.Fatal(err)
		}
		defer out.Close()
		uids := uidsOf(in.Messages())
		b.ReportAllocs()
		for b.Loop() {
			_, to, err := in.Copy(ctx, uids, out)
			if err != nil || len(to) != len(uids) {
				b.Fatal(len(to), err)
			}
			if _, _, err := out.StoreFlags(ctx, to, AddFlags, Deleted, nil, StoreOptions{}); err != nil {
				b.Fatal(err)
			}
			if gone, err := out.Expunge(ctx, nil); err != nil || len(gone) != len(uids) {
				b.Fatal(len(gone), err)
			}
		}
	})
}
