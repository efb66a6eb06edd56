package listen

import (
	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/observe"
)

// metrics are those of one Listener; their vectors are shared by all that
// have the same Registerer.
type metrics struct {
	accepted          prometheus.Counter
	open              prometheus.Gauge
	handshakeFailures prometheus.Counter
	refused           *prometheus.CounterVec // listener, reason
}

func newMetrics(r prometheus.Registerer, name string) *metrics {
	counter := func(what, help string, labels ...string) *prometheus.CounterVec {
		return observe.Register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mailsrvd_listen_" + what, Help: help}, labels))
	}
	open := observe.Register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "mailsrvd_listen_connections", Help: "Connections open now.",
	}, []string{"listener"}))
	return &metrics{
		accepted:          counter("accepted_total", "Connections accepted.", "listener").WithLabelValues(name),
		open:              open.WithLabelValues(name),
		handshakeFailures: counter("handshake_failures_total", "TLS handshakes that failed.", "listener").WithLabelValues(name),
		refused:           counter("refused_total", "Connections refused by a limit.", "listener", "reason"),
	}
}
