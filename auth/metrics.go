package auth

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts attempts. Its labels are bounded: services come from our own
// code, results from Kind.
type metrics struct {
	attempts  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	cacheHits prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailsrvd_auth_attempts_total", Help: "Login attempts by service and result.",
		}, []string{"service", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mailsrvd_auth_seconds", Help: "Time to answer a login attempt, with deliberate delays.",
			Buckets: []float64{.001, .01, .05, .1, .5, 1, 2.5, 5, 15, 30},
		}, []string{"result"}),
		cacheHits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mailsrvd_auth_cache_hits_total", Help: "Logins that were answered from memory.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.attempts, m.seconds, m.cacheHits)
	}
	return m
}

func (m metrics) observe(service string, e *Error, took time.Duration) {
	result := "ok"
	if e != nil {
		result = e.Kind.String()
	}
	m.attempts.WithLabelValues(service, result).Inc()
	m.seconds.WithLabelValues(result).Observe(took.Seconds())
}
