package daemon

import "svc.plus/mailsrvd/maildir/index"

// openIndex opens the cache of what is in messages. Without it everything works,
// slower: no mail waits for a cache.
func (d *Daemon) openIndex() {
	c := d.cfg
	if !c.Index.Enabled {
		return
	}
	x, err := index.Open(index.Options{
		Dir: c.CacheDir(), MaxBytes: c.Index.MaxBytes, NoText: !c.Index.FullText, Logger: d.log, Registerer: d.registry,
	})
	if err != nil {
		d.log.Warn("serving without a cache", "err", err)
		return
	}
	d.index = x
}
