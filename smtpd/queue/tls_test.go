package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

// TestHowTheConnectionWasProtectedIsTold in the log, and in the envelope file,
// which is what queue list and queue show print.
func TestHowTheConnectionWasProtectedIsTold(t *testing.T) {
	secure := message.TLS{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Verified: "sts"}
	for _, c := range []struct {
		name string
		tls  message.TLS
		log  string
		json string
	}{
		{"TLS", secure, `tls="TLS 1.3" cipher=TLS_AES_128_GCM_SHA256 verified=sts`, `"tls":{"version":"TLS 1.3","cipher":"TLS_AES_128_GCM_SHA256","verified":"sts"}`},
		{"none", message.TLS{}, "tls=none", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			f := newFixture(t, func(_ context.Context, rcpt string, _ int) message.Outcome {
				out := accepted
				if rcpt == "later@a.example" {
					out = later
				}
				out.TLS = c.tls
				return out
			}, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			env := message.Envelope{Trace: "t1", ReversePath: "alice@example.org", Trusted: true,
				Recipients: []message.Recipient{{Address: "bob@a.example"}, {Address: "later@a.example"}}}
			f.put(env)
			f.run(30 * time.Second)
			if !strings.Contains(log.String(), "msg=delivered ") || !strings.Contains(log.String(), c.log) {
				t.Errorf("%s: log:\n%s", c.name, &log)
			}
			items, err := f.List(t.Context(), Filter{})
			if err != nil || len(items) != 1 {
				t.Fatal(items, err)
			}
			if got := items[0].Recipients[1].Last.TLS; got != c.tls {
				t.Errorf("%s: %+v", c.name, got)
			}
			b, err := json.Marshal(items)
			if err != nil || strings.Contains(string(b), `"tls"`) != (c.json != "") || !strings.Contains(string(b), c.json) {
				t.Errorf("%s: %s, %v", c.name, b, err)
			}
		})
	}
}
