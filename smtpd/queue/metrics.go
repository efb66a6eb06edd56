package queue

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the queue's, registered where Options say.
type metrics struct {
	reg      prometheus.Registerer
	all      []prometheus.Collector
	enqueued prometheus.Counter
	results  *prometheus.CounterVec
	reports  *prometheus.CounterVec
	attempts prometheus.Histogram
	// at counts results by destination: those of the first maxNamed that were
	// seen, and "other" for the rest, since every name is a series for ever.
	at    *prometheus.CounterVec
	mu    sync.Mutex // guards named
	named map[string]bool
}

// maxNamed bounds the destinations that have counters of their own.
const maxNamed = 100

// result counts one recipient's result of an attempt.
func (m *metrics) result(destination, result string) {
	m.results.WithLabelValues(result).Inc()
	m.mu.Lock()
	if !m.named[destination] && len(m.named) < maxNamed {
		m.named[destination] = true
	}
	if !m.named[destination] {
		destination = "other"
	}
	m.mu.Unlock()
	m.at.WithLabelValues(destination, result).Inc()
}

func newMetrics(reg prometheus.Registerer, q *Queue) (*metrics, error) {
	m := &metrics{
		reg: reg,
		enqueued: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mailsrvd_queue_enqueued_total", Help: "Messages taken into the queue."}),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailsrvd_queue_results_total", Help: "Attempts by their result for one recipient: delivered, deferred, failed."}, []string{"result"}),
		at: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailsrvd_queue_destination_results_total", Help: "Attempts by destination (the first 100 that were seen, and other) and their result for one recipient."}, []string{"destination", "result"}),
		named: map[string]bool{},
		reports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailsrvd_queue_reports_total", Help: "Delivery status notifications by kind and result."}, []string{"kind", "result"}),
		attempts: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mailsrvd_queue_attempt_seconds", Help: "Duration of an attempt.", Buckets: prometheus.ExponentialBuckets(0.01, 4, 9)}),
	}
	gauge := func(name, help string, get func(Stats) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(get(q.Stats())) })
	}
	m.all = []prometheus.Collector{
		m.enqueued, m.results, m.at, m.reports, m.attempts,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "mailsrvd_queue_oldest_seconds", Help: "Age of the oldest message in the queue, 0 if there is none."},
			func() float64 { return q.oldest(time.Now()).Seconds() }),
		gauge("mailsrvd_queue_items", "Messages in the queue.", func(s Stats) int { return s.Items }),
		gauge("mailsrvd_queue_active", "Attempts under way.", func(s Stats) int { return s.Active }),
		gauge("mailsrvd_queue_destinations", "Destinations with messages waiting.", func(s Stats) int { return s.Destinations }),
		gauge("mailsrvd_queue_destinations_down", "Destinations where nobody could be reached.", func(s Stats) int { return s.Down }),
		gauge("mailsrvd_queue_destinations_paced", "Destinations whose messages wait for their rate.", func(s Stats) int { return s.Paced }),
	}
	if reg == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := reg.Register(c); err != nil {
			m.all = m.all[:i]
			m.unregister()
			return nil, fmt.Errorf("registering the queue's metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.reg == nil {
		return
	}
	for _, c := range m.all {
		m.reg.Unregister(c)
	}
}

// Stats is the queue in numbers.
type Stats struct {
	// Items counts messages, Active attempts under way, Destinations those with
	// work waiting or under way, Down those where nobody could be reached, Paced
	// those whose messages wait for Options.Rate.
	Items        int `json:"items"`
	Active       int `json:"active"`
	Destinations int `json:"destinations"`
	Down         int `json:"down"`
	Paced        int `json:"paced"`
}

// oldest is the age of the oldest item.
func (q *Queue) oldest(now time.Time) (age time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.entries {
		age = max(age, now.Sub(e.created))
	}
	return age
}

// Stats reads no files.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	s := Stats{Items: len(q.entries)}
	q.mu.Unlock()
	q.sched.mu.Lock()
	defer q.sched.mu.Unlock()
	s.Active = q.sched.active
	for _, d := range q.sched.dests {
		if d.key == reportKey {
			continue
		}
		s.Destinations++
		if d.down > 0 {
			s.Down++
		}
		if d.parked && d.line.len() > 0 {
			s.Paced++
		}
	}
	return s
}
