package lda

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/status"
)

// metrics counts deliveries.
type metrics struct {
	deliveries *prometheus.CounterVec // by result: saved, deferred, rejected
	seconds    prometheus.Histogram
}

// newMetrics makes the metrics and registers them unless r is nil.
func newMetrics(r prometheus.Registerer) (metrics, error) {
	m := metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailsrvd_lda_deliveries_total", Help: "Deliveries to local accounts by result: saved, deferred or rejected."}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mailsrvd_lda_delivery_seconds", Help: "Time that one delivery to one account takes until it is durable.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .5, 1, 5, 30}}),
	}
	if r == nil {
		return m, nil
	}
	var err1, err2 error
	m.deliveries, err1 = register(r, m.deliveries)
	m.seconds, err2 = register(r, m.seconds)
	if err := errors.Join(err1, err2); err != nil {
		return m, fmt.Errorf("registering the metrics of local delivery: %w", err)
	}
	return m, nil
}

// register registers c; if an Agent before has done so, its collector goes on.
func register[C prometheus.Collector](r prometheus.Registerer, c C) (C, error) {
	err := r.Register(c)
	if again, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if old, ok := again.ExistingCollector.(C); ok {
			return old, nil
		}
	}
	return c, err
}

// count notes one delivery that ended with err after the time took.
func (m metrics) count(err error, took time.Duration) {
	result := "saved"
	switch {
	case err == nil:
		m.seconds.Observe(took.Seconds())
	case status.IsTemporary(err):
		result = "deferred"
	default:
		result = "rejected"
	}
	m.deliveries.WithLabelValues(result).Inc()
}
