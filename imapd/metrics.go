package imapd

import "github.com/prometheus/client_golang/prometheus"

// metrics are what a Server counts; they work unregistered too.
type metrics struct {
	connections prometheus.Gauge
	loggedIn    prometheus.Gauge
	idling      prometheus.Gauge
	commands    *prometheus.CounterVec // command, result
	appended    prometheus.Counter
	panics      prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mailsrvd_imapd_connections", Help: "IMAP connections open now."}),
		loggedIn: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mailsrvd_imapd_sessions", Help: "IMAP connections that are logged in now."}),
		idling: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mailsrvd_imapd_idle_sessions", Help: "IMAP connections in the IDLE command now."}),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailsrvd_imapd_commands_total", Help: "IMAP commands by name and result (ok, no, bad)."},
			[]string{"command", "result"}),
		appended: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mailsrvd_imapd_appended_messages_total", Help: "Messages stored by APPEND."}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mailsrvd_imapd_panics_total", Help: "IMAP connections ended by a fault of ours."}),
	}
	if r != nil {
		r.MustRegister(m.connections, m.loggedIn, m.idling, m.commands, m.appended, m.panics)
	}
	return m
}
