package daemon

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/observe"
)

// described are the names of all metrics that a daemon has, with their labels.
func described(t *testing.T) map[string]string {
	t.Helper()
	d := newDaemon(t)
	edit(t, d.cfg.File, "hold = true", "hold = false") // the relay has metrics, too
	if err := d.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	ch := make(chan *prometheus.Desc)
	go func() {
		defer close(ch)
		g := d.board.live.Load()
		for _, r := range []*prometheus.Registry{d.registry, g.registry, g.auth.registry} {
			r.Describe(ch)
		}
	}()
	form := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)
	names := map[string]string{}
	for desc := range ch {
		if m := form.FindStringSubmatch(desc.String()); m != nil {
			names[m[1]] = m[2]
		}
	}
	return names
}

var (
	metricName = regexp.MustCompile(`\b(mailsrvd|process|go)_[a-z_]+`)
	byLabels   = regexp.MustCompile(`by \(([a-z, ]+)\)`)
	selected   = regexp.MustCompile(`\b(mailsrvd_[a-z_]+)\{([^}]*)\}`)
	labelName  = regexp.MustCompile(`(?:^|,)\s*([a-z_]+)\s*[=!]`)
)

// TestDashboardAndAlertsNameRealMetrics: nothing in deploy/grafana asks for a
// metric, or sorts or selects by a label, that the daemon has not.
func TestDashboardAndAlertsNameRealMetrics(t *testing.T) {
	names := described(t)
	for _, file := range []string{"mailsrvd.json", "alerts.yaml"} {
		b, err := os.ReadFile(filepath.Join("../../../../deploy/grafana", file))
		if err != nil {
			t.Fatal(err)
		}
		exprs := expressions(t, file, b)
		if len(exprs) < 5 {
			t.Fatalf("%s: only %d expressions were found", file, len(exprs))
		}
		for _, e := range exprs {
			used := metricName.FindAllString(e, -1)
			for _, name := range used {
				if _, ok := names[strings.TrimSuffix(name, "_bucket")]; !ok && !strings.HasPrefix(name, "go_") {
					t.Errorf("%s: there is no metric %s", file, name)
				}
			}
			for _, m := range selected.FindAllStringSubmatch(e, -1) {
				for _, label := range labelName.FindAllStringSubmatch(m[2], -1) {
					if l := label[1]; l != "job" && l != "instance" && !strings.Contains(","+names[strings.TrimSuffix(m[1], "_bucket")]+",", ","+l+",") {
						t.Errorf("%s: %s has no label %s", file, m[1], l)
					}
				}
			}
			for _, m := range byLabels.FindAllStringSubmatch(e, -1) {
				for _, label := range strings.Split(m[1], ", ") {
					if label != "le" && label != "instance" && !strings.Contains(","+names[strings.TrimSuffix(used[0], "_bucket")]+",", ","+label+",") {
						t.Errorf("%s: %s has no label %s", file, used[0], label)
					}
				}
			}
		}
	}
}

// expressions finds what is asked of Prometheus.
func expressions(t *testing.T, file string, b []byte) []string {
	t.Helper()
	var out []string
	if strings.HasSuffix(file, ".yaml") {
		for _, m := range regexp.MustCompile(`(?m)^ +expr: (.*)$`).FindAllSubmatch(b, -1) {
			out = append(out, string(m[1]))
		}
		return out
	}
	var dashboard struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			out = append(out, target.Expr)
		}
	}
	return out
}

// Prometheus's own checker reads the rules.
func TestPrometheusTakesTheAlerts(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("missing: promtool (package prometheus)")
	}
	if out, err := exec.Command(promtool, "check", "rules", "../../../../deploy/grafana/alerts.yaml").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestPrometheusLikesTheMetrics: their names, types and texts.
func TestPrometheusLikesTheMetrics(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("missing: promtool (package prometheus)")
	}
	d := newDaemon(t)
	w := httptest.NewRecorder()
	observe.Handler(prometheus.Gatherers{d.registry, d.board}, d.Health).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if n := strings.Count(w.Body.String(), "# TYPE mailsrvd_"); n < 20 {
		t.Fatalf("only %d metrics", n)
	}
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = w.Body
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}
