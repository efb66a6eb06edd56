package filter

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// rspamd is asked by its own protocol: a POST of the message to /checkv2 with
// the envelope in header fields, answered by JSON.
type rspamd struct {
	url      string
	hostname string
	http     *http.Client
}

// maxReply bounds the answer in bytes.
const maxReply = 4 << 20

func newRspamd(at address, hostname string) *rspamd {
	t := &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, DisableCompression: true}
	if at.network != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return at.dial(ctx) }
	}
	return &rspamd{url: at.url + "/checkv2", hostname: hostname, http: &http.Client{Transport: t}}
}

// rspamdReply is what we read of the answer.
type rspamdReply struct {
	Action   string            `json:"action"`
	Score    float64           `json:"score"`
	Required float64           `json:"required_score"`
	Subject  string            `json:"subject"`
	Symbols  map[string]any    `json:"symbols"`
	Messages map[string]any    `json:"messages"`
	Error    string            `json:"error"`
	Milter   rspamdMilterReply `json:"milter"`
}

// rspamdMilterReply is what its modules want done to the header.
type rspamdMilterReply struct {
	Add    map[string]json.RawMessage `json:"add_headers"`
	Remove map[string]json.RawMessage `json:"remove_headers"`
}

// ask implements asker.
func (f *rspamd) ask(ctx context.Context, m Mail) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, m.Content.NewReader())
	if err != nil {
		return answer{}, err
	}
	req.ContentLength = m.Content.Size()
	f.describe(req.Header, m)
	resp, err := f.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return answer{}, fmt.Errorf("reading the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("it answers %s: %s", resp.Status, printable(string(body), 120))
	}
	var r rspamdReply
	if err := json.Unmarshal(body, &r); err != nil {
		return answer{}, fmt.Errorf("reading the answer: %w", err)
	}
	return r.answer()
}

// describe puts the envelope into header fields.
func (f *rspamd) describe(h http.Header, m Mail) {
	set := func(name, value string) {
		if value != "" {
			h.Add(name, printable(value, 1000))
		}
	}
	if m.Remote.IsValid() {
		set("IP", m.Remote.String())
	}
	set("Hostname", m.RemoteName)
	set("Helo", m.HELO)
	set("From", m.ReversePath)
	for _, to := range m.Recipients {
		set("Rcpt", to)
	}
	if len(m.Recipients) == 1 {
		set("Deliver-To", m.Recipients[0])
	}
	set("User", m.User)
	set("Queue-Id", m.Trace)
	set("MTA-Name", f.hostname)
	if m.TLS != nil {
		set("TLS-Version", tls.VersionName(m.TLS.Version))
		set("TLS-Cipher", tls.CipherSuiteName(m.TLS.CipherSuite))
	}
}

func (r *rspamdReply) answer() (answer, error) {
	a := answer{edits: r.Milter.edits(), detail: r.detail()}
	text, _ := r.Messages["smtp_message"].(string)
	switch r.Action {
	case "no action":
	case "add header", "quarantine":
		a.action = Junk
		a.edits = append(a.edits, edit{kind: add, name: "X-Spam", value: "Yes"})
	case "rewrite subject":
		if r.Subject != "" {
			a.edits = append(a.edits, edit{kind: change, name: "Subject", value: r.Subject})
		}
	case "greylist", "soft reject":
		a.action, a.err = Defer, refusal(Defer, cmp.Or(text, "Try again later"))
	case "reject", "discard":
		a.action, a.err = Reject, refusal(Reject, text)
	case "":
		return answer{}, fmt.Errorf("it gives no action: %s", printable(r.Error, 120))
	default:
		return answer{}, fmt.Errorf("it gives the action %q, which is not known here", printable(r.Action, 40))
	}
	if r.Action != "reject" {
		a.edits = append(a.edits, edit{kind: add, name: "X-Rspamd-Score", value: r.score()})
	}
	return a, nil
}

func (r *rspamdReply) score() string { return fmt.Sprintf("%.2f / %.2f", r.Score, r.Required) }

// detail is for the log: the score, and the symbols by name, a few of them.
func (r *rspamdReply) detail() string {
	const most = 12
	names := slices.Sorted(maps.Keys(r.Symbols))
	more := ""
	if len(names) > most {
		names, more = names[:most], "…"
	}
	return printable(r.Action, 40) + ", " + r.score() + ", " + printable(strings.Join(names, " "), 300) + more
}

// edits read "name": "value", {"value": …, "order": …} or a list of those.
func (m rspamdMilterReply) edits() []edit {
	var edits []edit
	for _, name := range slices.Sorted(maps.Keys(m.Remove)) {
		index := 1
		json.Unmarshal(m.Remove[name], &index)
		if index == 0 {
			edits = append(edits, edit{kind: purge, name: name})
		} else if index > 0 {
			edits = append(edits, edit{kind: change, name: name, index: index})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Add)) {
		var list []json.RawMessage
		if json.Unmarshal(m.Add[name], &list) != nil {
			list = []json.RawMessage{m.Add[name]}
		}
		for _, raw := range list {
			var v struct {
				Value string `json:"value"`
				Order *int   `json:"order"`
			}
			if json.Unmarshal(raw, &v.Value) != nil && json.Unmarshal(raw, &v) != nil || len(edits) >= maxEdits {
				continue
			}
			e := edit{kind: add, name: name, value: v.Value}
			if v.Order != nil && *v.Order >= 0 {
				e.kind, e.index = insert, *v.Order
			}
			edits = append(edits, e)
		}
	}
	return edits
}
