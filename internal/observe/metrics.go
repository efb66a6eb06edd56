package observe

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry makes a registry with the metrics of the process, of the Go
// runtime, and mailsrvd_build_info.
func NewRegistry(version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mailsrvd_build_info", Help: "Constant 1, with the version.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Register puts c into r and returns it, or the collector that stands there under
// its name already: several parts of a room may count the same. Without r, c counts
// for nobody.
func Register[C prometheus.Collector](r prometheus.Registerer, c C) C {
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

// Health tells whether the daemon can do its work: nil, or what is wrong, which
// becomes the body of a 503 answer. It is called for each request and must not
// block.
type Health func() error

// Handler serves /metrics (Prometheus and OpenMetrics), /livez, which answers as
// long as the process does, and /healthz, which tells whether it can work. They
// differ in what helps: a restart empties no disk. The caller may add to it before
// it serves.
func Handler(g prometheus.Gatherer, health Health) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer, code := map[string]string{"status": "ok"}, http.StatusOK
		if err := health(); err != nil {
			answer, code = map[string]string{"status": "failing", "reason": err.Error()}, http.StatusServiceUnavailable
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(answer)
	})
	return mux
}
