package maildir

import "github.com/prometheus/client_golang/prometheus"

// metrics counts what the storage does. Without a registerer it counts for
// nobody.
type metrics struct {
	delivered *prometheus.CounterVec // by result
	syncs     *prometheus.CounterVec // by what was read
	assigned  prometheus.Counter
	expunged  prometheus.Counter
	open      prometheus.Gauge
	idle      prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	const ns, sub = "mailsrvd", "maildir"
	counter := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: ns, Subsystem: sub, Name: name, Help: help}
	}
	m := &metrics{
		delivered: prometheus.NewCounterVec(prometheus.CounterOpts(counter("stored_total",
			"Messages stored, by result: ok, quota, full, error.")), []string{"result"}),
		syncs: prometheus.NewCounterVec(prometheus.CounterOpts(counter("syncs_total",
			"Looks at a folder's directories, by outcome: unchanged, scanned.")), []string{"outcome"}),
		assigned: prometheus.NewCounter(prometheus.CounterOpts(counter("uids_assigned_total", "UIDs given to messages."))),
		expunged: prometheus.NewCounter(prometheus.CounterOpts(counter("expunged_total", "Messages expunged, by us or by other programs."))),
		open:     prometheus.NewGauge(prometheus.GaugeOpts(counter("open_mailboxes", "Folders in use by sessions."))),
		idle:     prometheus.NewGauge(prometheus.GaugeOpts(counter("idle_mailboxes", "Folders kept in memory without a user."))),
	}
	if r != nil {
		r.MustRegister(m.delivered, m.syncs, m.assigned, m.expunged, m.open, m.idle)
	}
	return m
}
