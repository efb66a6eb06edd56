package index

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// checkEvery is how many bytes a folder may grow before its user's files are
// measured again.
const checkEvery = 4 << 20

// grow notes that a folder's files have grown, and makes room now and then. m.io
// is held.
func (m *Mailbox) grow(n int64) {
	if m.grown += n; m.grown < min(checkEvery, m.index.opt.MaxBytes/8) {
		return
	}
	m.grown = 0
	over := m.index.shrink(filepath.Dir(m.dir))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full = over
}

// folderFiles is the cache of a folder on disk.
type folderFiles struct {
	dir  string
	size int64
	used time.Time
}

// shrink removes the caches of a user's folders that were not used for longest,
// until the rest fits. Those in use stay; over reports that they are too big.
func (x *Index) shrink(userDir string) (over bool) {
	total := int64(0)
	var list []folderFiles
	entries, _ := os.ReadDir(userDir)
	for _, e := range entries {
		f := measure(filepath.Join(userDir, e.Name()))
		total += f.size
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b folderFiles) int { return a.used.Compare(b.used) })
	for _, f := range list {
		if total <= x.opt.MaxBytes {
			return false
		}
		if x.removeUnused(f.dir) {
			total -= f.size
			x.metrics.dropped.Inc()
		}
	}
	return total > x.opt.MaxBytes
}

// removeUnused removes the cache of a folder, if it is not in use.
func (x *Index) removeUnused(dir string) bool {
	x.mu.Lock()
	defer x.mu.Unlock() // held meanwhile: nobody shall begin to use it
	if x.boxes[dir] != nil {
		return false
	}
	return os.RemoveAll(dir) == nil
}

func measure(dir string) folderFiles {
	f := folderFiles{dir: dir}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue
		}
		f.size += info.Size()
		if info.ModTime().After(f.used) {
			f.used = info.ModTime()
		}
	}
	return f
}

// removeSiblings removes what was cached of the folder under another
// UIDVALIDITY.
func (m *Mailbox) removeSiblings() {
	name := filepath.Base(m.dir)
	guid := name[:strings.LastIndexByte(name, '.')+1]
	entries, _ := os.ReadDir(filepath.Dir(m.dir))
	for _, e := range entries {
		if e.Name() != name && strings.HasPrefix(e.Name(), guid) {
			m.index.removeUnused(filepath.Join(filepath.Dir(m.dir), e.Name()))
		}
	}
}
