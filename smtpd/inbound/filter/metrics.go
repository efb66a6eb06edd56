package filter

import (
	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/observe"
)

type metrics struct {
	results *prometheus.CounterVec // filter, result
	seconds *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) metrics {
	return metrics{
		results: observe.Register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailsrvd_filter_results_total", Help: "What content filters said: accept, junk, defer, reject, failed (no answer), skipped (too big).",
		}, []string{"filter", "result"})),
		seconds: observe.Register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mailsrvd_filter_seconds", Help: "Time a content filter took for a message.",
			Buckets: []float64{.005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"filter"})),
	}
}
