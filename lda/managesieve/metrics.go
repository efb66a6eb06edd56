package managesieve

import "github.com/prometheus/client_golang/prometheus"

// metrics are what a Server counts; they work unregistered too.
type metrics struct {
	connections prometheus.Gauge
	loggedIn    prometheus.Gauge
	commands    *prometheus.CounterVec // command, result
	panics      prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mailsrvd_managesieve_connections", Help: "ManageSieve connections open now."}),
		loggedIn: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mailsrvd_managesieve_sessions", Help: "ManageSieve connections that are logged in now."}),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailsrvd_managesieve_commands_total", Help: "ManageSieve commands by name and result (ok, no)."},
			[]string{"command", "result"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mailsrvd_managesieve_panics_total", Help: "ManageSieve connections ended by a fault of ours."}),
	}
	if r != nil {
		r.MustRegister(m.connections, m.loggedIn, m.commands, m.panics)
	}
	return m
}
