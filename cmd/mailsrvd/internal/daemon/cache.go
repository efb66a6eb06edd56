package daemon

import (
	"path/filepath"

	"svc.plus/mailsrvd/maildir/index"
)

// openIndex opens the cache of what is in messages. Without it everything works,
// slower: no mail waits for a cache.
func (d *Daemon) openIndex() {
	x, err := index.Open(index.Options{
		Dir: filepath.Join(d.cfg.StateDir, "cache"), Logger: d.log, Registerer: d.registry,
	})
	if err != nil {
		d.log.Warn("serving without a cache", "err", err)
		return
	}
	d.index = x
}
