package filter

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	results *prometheus.CounterVec // filter, result
	seconds *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) metrics {
	return metrics{
		results: register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailsrvd_filter_results_total", Help: "What content filters said: accept, junk, defer, reject, failed (no answer), skipped (too big).",
		}, []string{"filter", "result"})),
		seconds: register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mailsrvd_filter_seconds", Help: "Time a content filter took for a message.",
			Buckets: []float64{.005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"filter"})),
	}
}

// register returns c, or the collector that stands under its name already.
func register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	if r == nil {
		return c
	}
	err := r.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if old, ok := already.ExistingCollector.(C); ok {
			return old
		}
	}
	return c
}
