package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

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

// Health tells whether the daemon can do its work: nil, or what is wrong, which
// becomes the body of a 503 answer. It is called for each request and must not
// block.
type Health func() error

// HTTP serves /metrics (Prometheus and OpenMetrics) and /healthz.
type HTTP struct {
	server *http.Server
}

// NewHTTP makes the server. The log gets the errors of connections.
func NewHTTP(g prometheus.Gatherer, health Health, log *slog.Logger) *HTTP {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer, code := map[string]string{"status": "ok"}, http.StatusOK
		if err := health(); err != nil {
			answer, code = map[string]string{"status": "failing", "reason": err.Error()}, http.StatusServiceUnavailable
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(answer)
	})
	return &HTTP{&http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
}

// Serve answers on l until Shutdown; then it returns nil.
func (h *HTTP) Serve(l net.Listener) error {
	if err := h.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving metrics: %w", err)
	}
	return nil
}

// Shutdown stops listening and waits for running requests until ctx ends.
func (h *HTTP) Shutdown(ctx context.Context) error { return h.server.Shutdown(ctx) }
