package inbound

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/observe"
)

// metrics are those of one Inspector; Inspectors with the same Registerer share
// them.
type metrics struct {
	results  *prometheus.CounterVec // check, result
	actions  *prometheus.CounterVec // action
	refused  *prometheus.CounterVec // check
	lists    *prometheus.CounterVec // zone, result
	panics   prometheus.Counter
	duration prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	return &metrics{
		results: observe.Register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailsrvd_inbound_results_total", Help: "Results of checks of inbound mail; of several signatures, the best."}, []string{"check", "result"})),
		actions: observe.Register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailsrvd_inbound_actions_total", Help: "What the checks decided about inbound mail."}, []string{"action"})),
		refused: observe.Register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailsrvd_inbound_refused_recipients_total", Help: "Recipients refused because of the client, by check."}, []string{"check"})),
		lists: observe.Register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailsrvd_inbound_dnsbl_total", Help: "Answers of DNS lists: listed, failed."}, []string{"zone", "result"})),
		panics: observe.Register(r, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mailsrvd_inbound_panics_total", Help: "Checks that ended by a bug."})),
		duration: observe.Register(r, prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mailsrvd_inbound_seconds", Help: "Time for all checks of a message.",
			Buckets: []float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 5, 10}})),
	}
}

func (m *metrics) report(r Report, took time.Duration) {
	for _, check := range checkNames {
		if v, ok := r.best(check); ok && check != "greylist" { // counted when it is asked
			m.results.WithLabelValues(check, v.Result).Inc()
		}
	}
	m.actions.WithLabelValues(r.Action.String()).Inc()
	m.duration.Observe(took.Seconds())
}
