package index

import "github.com/prometheus/client_golang/prometheus"

// metrics counts what the cache does. Without a registerer it counts for nobody.
type metrics struct {
	rows      prometheus.Counter
	rebuilt   prometheus.Counter
	failed    prometheus.Counter
	compacted prometheus.Counter
	dropped   prometheus.Counter
	texts     prometheus.Counter
	segments  prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "mailsrvd", Subsystem: "index", Name: name, Help: help})
	}
	m := &metrics{
		rows:      counter("rows_written_total", "Messages whose data was written to the cache."),
		rebuilt:   counter("rebuilt_total", "Cache files that were damaged or of another version, and removed."),
		failed:    counter("write_failures_total", "Failed attempts to write the cache."),
		compacted: counter("compactions_total", "Cache files that were rewritten without dead data."),
		dropped:   counter("folders_dropped_total", "Folders whose cache gave way to others of the same user."),
		texts:     counter("texts_indexed_total", "Messages put into the full-text index."),
		segments:  counter("segments_written_total", "Segments of the full-text index written, merged ones included."),
	}
	if r != nil {
		r.MustRegister(m.rows, m.rebuilt, m.failed, m.compacted, m.dropped, m.texts, m.segments)
	}
	return m
}
