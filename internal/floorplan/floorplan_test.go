package floorplan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "svc.plus/mailsrvd/"

// plan says what each room may import from this module, beside internal/.
// A name ending in "/..." covers the packages below it too. Imports point down:
// a room that is not a key here must be added with its reason.
var plan = map[string][]string{
	"cmd/mailsrvd":  {"..."},
	"config":        {},
	"smtpd":         {"smtpd/inbound", "smtpd/inbound/filter", "smtpd/queue", "smtpd/relay", "auth", "dkim"},
	"smtpd/inbound": {"dkim"},
	// What users may still send.
	"smtpd/allowance": {},
	// What came of DMARC, told to the domains that ask.
	"smtpd/inbound/dmarcrpt": {"smtpd/inbound"},
	// Programs that judge content: milters and rspamd.
	"smtpd/inbound/filter": {},
	"smtpd/queue":          {},
	"smtpd/relay":          {"smtpd/relay/sevenbit"},
	// Mail for hosts without 8BITMIME.
	"smtpd/relay/sevenbit": {},
	// Policies of TLS for the relay, each a relay.Policy.
	"smtpd/relay/mtasts": {"smtpd/relay"},
	"smtpd/relay/dane":   {"smtpd/relay"},
	// What came of TLS, told to the destinations.
	"smtpd/relay/tlsrpt": {"smtpd/relay"},
	"imapd":              {"imapd/wire", "maildir", "maildir/index", "auth"},
	"imapd/wire":         {},
	"imapd/pop3":         {"maildir", "auth"},
	"lda":                {"maildir", "auth", "lda/sieve"},
	"lda/sieve":          {},
	"lda/managesieve":    {"lda/sieve", "auth"},
	"maildir":            {"maildir/index"},
	"maildir/index":      {},
	"auth":               {},
	"auth/pam":           {"auth"},
	// Who may not connect, after too many failed logins or by order.
	"auth/ban":        {},
	"auth/passwdfile": {"auth"},
	// The suite that holds both back ends to auth.Backend; for tests only.
	"auth/internal/backendtest": {"auth"},
	"dkim":                      {},
}

// noInternal lists rooms that import nothing of ours at all.
var noInternal = map[string]bool{"config": true}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var list []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func TestImportsPointDown(t *testing.T) {
	list := packages(t)
	if len(list) < 10 {
		t.Fatalf("only %d packages found", len(list))
	}
	for _, p := range list {
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			if err := allowed(from, to); err != nil {
				t.Error(err)
			}
		}
	}
}

// allowed judges one import by the plan.
func allowed(from, to string) error {
	switch {
	case strings.HasPrefix(from, "cmd/"):
		return nil
	case strings.HasPrefix(from, "deploy/"):
		return fmt.Errorf("%s: deploy holds no Go that the daemon needs", from)
	case strings.HasPrefix(from, "internal/"):
		if !strings.HasPrefix(to, "internal/") {
			return fmt.Errorf("%s imports %s: the ground imports nothing above it", from, to)
		}
		return nil
	}
	may, known := plan[from]
	if !known {
		return fmt.Errorf("%s is no room of the plan", from)
	}
	if strings.HasPrefix(to, "internal/") {
		if noInternal[from] {
			return fmt.Errorf("%s imports %s, but may import nothing of ours", from, to)
		}
		return nil
	}
	for _, m := range may {
		if m == to {
			return nil
		}
	}
	return fmt.Errorf("%s imports %s, which the plan does not allow", from, to)
}

func TestAllowedRefusesWhatThePlanForbids(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"smtpd", "maildir", false},
		{"smtpd", "imapd", false},
		{"maildir", "smtpd", false},
		{"config", "internal/status", false},
		{"internal/message", "maildir", false},
		{"imapd", "maildir", true},
		{"lda", "internal/durable", true},
		{"cmd/mailsrvd", "smtpd", true},
		{"util", "maildir", false},
	} {
		if err := allowed(c.from, c.to); (err == nil) != c.ok {
			t.Errorf("%s -> %s: %v", c.from, c.to, err)
		}
	}
}
