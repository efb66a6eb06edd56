package smtpd

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/observe"
)

// metrics are those of one Server; Servers with the same Registerer share the
// vectors and differ in the label mode.
type metrics struct {
	mode     string
	sessions prometheus.Counter
	messages *prometheus.CounterVec // mode, class of the reply
	bytes    prometheus.Counter
	replies  *prometheus.CounterVec // mode, code; negative ones only
	duration prometheus.Observer
	limits   *prometheus.CounterVec // mode, limit: recipients, errors
	tarpit   prometheus.Counter
	early    prometheus.Counter
}

func newMetrics(r prometheus.Registerer, mode Mode) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return observe.Register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mailsrvd_smtpd_" + name, Help: help}, labels))
	}
	duration := observe.Register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "mailsrvd_smtpd_message_seconds",
		Help:    "Time from DATA to the last reply.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 30, 120},
	}, []string{"mode"}))
	m := mode.String()
	return &metrics{
		mode:     m,
		sessions: counter("sessions_total", "Connections served.", "mode").WithLabelValues(m),
		messages: counter("messages_total", "Messages received, by the class of the reply.", "mode", "class"),
		bytes:    counter("message_bytes_total", "Bytes of messages received.", "mode").WithLabelValues(m),
		replies:  counter("negative_replies_total", "Negative replies, by code.", "mode", "code"),
		limits:   counter("limited_total", "Clients that have reached a limit of one connection: recipients of a message, or negative replies (errors).", "mode", "limit"),
		tarpit:   counter("tarpit_total", "Answers about unknown recipients that were delayed.", "mode").WithLabelValues(m),
		early:    counter("early_talkers_total", "Clients that talked before the greeting.", "mode").WithLabelValues(m),
		duration: duration.WithLabelValues(m),
	}
}

func (m *metrics) negative(code string) { m.replies.WithLabelValues(m.mode, code).Inc() }

func (m *metrics) limited(limit string) { m.limits.WithLabelValues(m.mode, limit).Inc() }

func (m *metrics) message(code int, size int64, took time.Duration) {
	m.messages.WithLabelValues(m.mode, string(rune('0'+code/100))+"xx").Inc()
	m.bytes.Add(float64(size))
	m.duration.Observe(took.Seconds())
}
