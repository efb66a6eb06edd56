package durable

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkDisk measures what the file system gives to ways of storing a
// message, with one writer and with several: the floor under every delivery.
// ext4 creates files many times slower for minutes after others were deleted
// nearby: all stay until the end, and a second run wants another TMPDIR.
//
//	TMPDIR=/var/tmp go test -run '^$' -bench Disk ./internal/durable
func BenchmarkDisk(b *testing.B) {
	top := b.TempDir()
	for _, way := range []struct {
		name  string
		store func(d *diskDirs, name string) error
	}{
		{"nothing-synced", unsynced},
		{"fsync,rename", renamed},
		{"fsync,rename,fsync-dir", renamedAndSynced},
		{"fdatasync,rename,fsync-dir", dataSynced},
		{"O_TMPFILE,fsync,linkat,fsync-dir", linked},
		{"create-in-place,fsync,fsync-dir", inPlace},
		{"sync_file_range,rename,fsync-dir", rangeSynced},
		{"rename,fsync", syncedLast},
		{"fsync,rename,shared-fsync-dir", sharedDirSync},
		{"rename,shared-syncfs", sharedSyncfs},
	} {
		for _, writers := range []int{1, 8, 16} {
			b.Run(fmt.Sprintf("%s/writers=%d", way.name, writers), func(b *testing.B) { benchDisk(b, top, writers, way.store) })
		}
	}
}

// diskDirs are the directories of a Maildir, and who has begun to sync them.
type diskDirs struct {
	tmp, new int
	group    group
}

// group lets callers who come while an action runs share the next one.
type group struct {
	mu      sync.Mutex // held while the action runs
	begun   atomic.Int64
	lastErr error
}

// do returns after an action that began after the call.
func (g *group) do(action func() error) error {
	before := g.begun.Load()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.begun.Load() > before {
		return g.lastErr
	}
	g.begun.Add(1)
	g.lastErr = action()
	return g.lastErr
}

func benchDisk(b *testing.B, top string, writers int, store func(d *diskDirs, name string) error) {
	dir, err := os.MkdirTemp(top, "")
	if err != nil {
		b.Fatal(err)
	}
	d := &diskDirs{}
	for name, fd := range map[string]*int{"tmp": &d.tmp, "new": &d.new} {
		p := filepath.Join(dir, name)
		if err := os.Mkdir(p, 0o700); err != nil {
			b.Fatal(err)
		}
		f, err := os.Open(p)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		*fd = int(f.Fd())
	}
	var next atomic.Int64
	var mu sync.Mutex
	var all []time.Duration
	var cpu [2]unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &cpu[0])
	b.ResetTimer()
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			var took []time.Duration
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				began := time.Now()
				if err := store(d, fmt.Sprint(i)); err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	wg.Wait()
	b.StopTimer()
	unix.Getrusage(unix.RUSAGE_SELF, &cpu[1])
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	spent := cpu[1].Utime.Nano() + cpu[1].Stime.Nano() - cpu[0].Utime.Nano() - cpu[0].Stime.Nano()
	b.ReportMetric(float64(spent)/1e3/float64(b.N), "cpu-µs/op")
}

var diskText = make([]byte, 4<<10)

// written makes a file of 4 KiB, calls sync for it and closes it.
func written(dir int, name string, flags int, then func(fd int) error) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CLOEXEC|flags, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, diskText); err != nil {
		return err
	}
	return then(fd)
}

const createNew = unix.O_CREAT | unix.O_EXCL

func (d *diskDirs) rename(name string) error {
	return unix.Renameat2(d.tmp, name, d.new, name, unix.RENAME_NOREPLACE)
}

func (d *diskDirs) syncNew() error { return unix.Fsync(d.new) }

// inOrder runs steps until one fails.
func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func unsynced(d *diskDirs, name string) error {
	if err := written(d.tmp, name, createNew, func(int) error { return nil }); err != nil {
		return err
	}
	return d.rename(name)
}

func renamed(d *diskDirs, name string) error {
	if err := written(d.tmp, name, createNew, unix.Fsync); err != nil {
		return err
	}
	return d.rename(name)
}

func renamedAndSynced(d *diskDirs, name string) error {
	return inOrder(func() error { return renamed(d, name) }, d.syncNew)
}

func dataSynced(d *diskDirs, name string) error {
	if err := written(d.tmp, name, createNew, unix.Fdatasync); err != nil {
		return err
	}
	return inOrder(func() error { return d.rename(name) }, d.syncNew)
}

func linked(d *diskDirs, name string) error {
	err := written(d.tmp, ".", unix.O_TMPFILE, func(fd int) error {
		if err := unix.Fsync(fd); err != nil {
			return err
		}
		return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), d.new, name, unix.AT_SYMLINK_FOLLOW)
	})
	if err != nil {
		return err
	}
	return d.syncNew()
}

func inPlace(d *diskDirs, name string) error {
	if err := written(d.new, name, createNew, unix.Fsync); err != nil {
		return err
	}
	return d.syncNew()
}

func rangeSynced(d *diskDirs, name string) error {
	const all = unix.SYNC_FILE_RANGE_WRITE_AND_WAIT
	if err := written(d.tmp, name, createNew, func(fd int) error { return unix.SyncFileRange(fd, 0, 0, all) }); err != nil {
		return err
	}
	return inOrder(func() error { return d.rename(name) }, d.syncNew)
}

func syncedLast(d *diskDirs, name string) error {
	return written(d.tmp, name, createNew, func(fd int) error {
		return inOrder(func() error { return d.rename(name) }, func() error { return unix.Fsync(fd) })
	})
}

func sharedDirSync(d *diskDirs, name string) error {
	if err := renamed(d, name); err != nil {
		return err
	}
	return d.group.do(d.syncNew)
}

func sharedSyncfs(d *diskDirs, name string) error {
	if err := unsynced(d, name); err != nil {
		return err
	}
	return d.group.do(func() error { return unix.Syncfs(d.new) })
}
