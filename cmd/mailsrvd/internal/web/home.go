package web

import (
	"embed"
	"html/template"
	"net/http"
)

//go:embed pages
var pages embed.FS

var homePage = template.Must(template.ParseFS(pages, "pages/head.html", "pages/home.html"))

// home shows the settings to whoever sets up a mail program by hand.
func (s *Site) home(w http.ResponseWriter, r *http.Request) {
	domain := s.domain(r, "")
	if domain == "" {
		http.NotFound(w, r)
		return
	}
	show(w, homePage, "home.html", map[string]any{"Domain": domain, "Hostname": s.Hostname, "Services": s.services()})
}

// show writes a page that may load nothing from elsewhere and run no script.
func show(w http.ResponseWriter, t *template.Template, name string, data any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if err := t.ExecuteTemplate(w, name, data); err != nil {
		panic(http.ErrAbortHandler) // half a page is out: end the connection
	}
}
