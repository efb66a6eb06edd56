package zone

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestFetchTakesNoRedirectAndNoEndlessAnswer(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "version: STSv1\n") })
	mux.Handle("/moved", http.RedirectHandler("/ok", http.StatusFound))
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1<<20)) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	if s, err := FetchPolicy(context.Background(), srv.URL+"/ok"); err != nil || s != "version: STSv1\n" {
		t.Errorf("%q, %v", s, err)
	}
	if _, err := FetchPolicy(context.Background(), srv.URL+"/moved"); err == nil || !strings.Contains(err.Error(), "302") {
		t.Errorf("redirect: %v", err)
	}
	if s, err := FetchPolicy(context.Background(), srv.URL+"/long"); err != nil || len(s) != 64<<10 {
		t.Errorf("long: %d, %v", len(s), err)
	}
}
