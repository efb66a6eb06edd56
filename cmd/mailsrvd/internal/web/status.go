package web

import (
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/zone"
	"svc.plus/mailsrvd/internal/observe"
	"svc.plus/mailsrvd/smtpd/queue"
)

// Overview is what the status page shows.
type Overview struct {
	Now    time.Time
	Status admin.Status
	// Queue has the items of the queue, the oldest first.
	Queue []queue.Item
	// Mail and Failures are lines of the log, the latest first.
	Mail, Failures []observe.Record
	// DNS is the latest comparison of the zones; nil if there was none yet.
	DNS *Zones
}

// Zones is what was found in the DNS.
type Zones struct {
	At       time.Time
	Findings []zone.Finding
}

// IsMail chooses the lines that tell the fate of a message.
func IsMail(r observe.Record) bool {
	switch r.Text {
	case "message", "delivered", "deferred", "failed":
		return true
	}
	return strings.HasPrefix(r.Text, "msgid=")
}

// IsFailure chooses the lines that an administrator should look at.
func IsFailure(r observe.Record) bool { return r.Level >= slog.LevelWarn }

var statusPage = template.Must(template.New("").Funcs(template.FuncMap{
	"ago": ago, "until": func(now, t time.Time) string { return ago(t, now) },
	"days": func(now, t time.Time) int { return int(t.Sub(now).Hours() / 24) },
	"when": func(t time.Time) string { return t.Local().Format("Jan 2 15:04:05") },
	"size": size, "join": strings.Join, "pending": pending,
}).ParseFS(pages, "pages/head.html", "pages/status.html"))

// StatusPage shows the state of the server to the administrator's browser. It
// changes nothing and needs no script. It is asked for by address, as localhost
// or by our name: to any other name a foreign page could have led the browser
// (DNS rebinding), to read who writes to whom.
func StatusPage(hostname string, overview func(*http.Request) (Overview, error)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if !ownName(r.Host, hostname) {
			http.Error(w, "ask for this page as localhost, by an address, or as "+hostname, http.StatusForbidden)
			return
		}
		o, err := overview(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		show(w, statusPage, "status.html", struct {
			Overview
			Hostname string
		}{o, hostname})
	})
	return mux
}

func ownName(host, hostname string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost") || strings.EqualFold(host, hostname)
}

// ago says in one unit how long before now t is.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// pending are the recipients of an item that wait.
func pending(it queue.Item) []queue.Recipient {
	var out []queue.Recipient
	for _, r := range it.Recipients {
		if r.State == queue.Pending {
			out = append(out, r)
		}
	}
	return out
}
