package inbound

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/dmarc"

	"svc.plus/mailsrvd/internal/dns"
)

// What a set of TXT records may be beside a policy.
var (
	errNoRecord    = errors.New("there is no DMARC record")
	errManyRecords = errors.New("there are several DMARC records")
)

// record is a DMARC record with the tag that the library does not know.
type record struct {
	dmarc.Record
	missing dmarc.Policy // np= (RFC 9091); "" if not given
	reports []string     // rua=
}

// chooseRecord finds the one DMARC record among TXT records. Several count as
// none (RFC 7489 section 6.6.3).
func chooseRecord(txts []string) (*record, error) {
	var found []string
	for _, txt := range txts {
		first, _, _ := strings.Cut(txt, ";")
		name, value, _ := strings.Cut(first, "=")
		if strings.TrimSpace(name) == "v" && strings.TrimSpace(value) == "DMARC1" {
			found = append(found, txt)
		}
	}
	switch len(found) {
	case 0:
		return nil, errNoRecord
	case 1:
		return parseRecord(found[0])
	}
	return nil, errManyRecords
}

// Tags that say what to do, and the values that they may have.
var decisive = map[string][]string{
	"p":     {"none", "quarantine", "reject"},
	"sp":    {"none", "quarantine", "reject"},
	"np":    {"none", "quarantine", "reject"},
	"adkim": {"r", "s"},
	"aspf":  {"r", "s"},
}

// parseRecord reads a record as RFC 7489 section 6.3 wants it: what is unknown
// or wrong is passed over, except that a wrong p= or sp= spoils a record
// without rua=, and makes "none" of one with it (section 6.6.3).
func parseRecord(txt string) (*record, error) {
	kept := []string{"v=DMARC1"}
	given := map[string]string{}
	bad := ""
	var reports []string
	for pair := range strings.SplitSeq(txt, ";") {
		name, value, _ := strings.Cut(pair, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if name == "rua" && given[name] == "" {
			reports = strings.Split(value, ",")
		}
		value = strings.ToLower(value)
		if _, twice := given[name]; twice || name == "" {
			continue
		}
		given[name] = value
		switch allowed := decisive[name]; {
		case slices.Contains(allowed, value), name == "pct" && isPercent(value):
			kept = append(kept, name+"="+value)
		case name == "p" || name == "sp":
			bad = name
		}
	}
	if given["p"] == "" {
		bad = "p"
	}
	if bad != "" {
		if !strings.Contains(given["rua"], ":") {
			return nil, fmt.Errorf("the DMARC record has no good %s=", bad)
		}
		kept = []string{"v=DMARC1", "p=none"}
	}
	r, err := dmarc.Parse(strings.Join(kept, ";"))
	if err != nil {
		return nil, fmt.Errorf("the DMARC record: %w", err)
	}
	rec := &record{Record: *r, reports: reports}
	if bad == "" && slices.Contains(decisive["np"], given["np"]) {
		rec.missing = dmarc.Policy(given["np"])
	}
	return rec, nil
}

// isPercent reports whether s is a number from 0 to 100.
func isPercent(s string) bool {
	if s == "" || len(s) > 3 || strings.Trim(s, "0123456789") != "" {
		return false
	}
	return len(s) < 3 || s == "100" || s[0] == '0'
}

func isNotFound(err error) bool {
	return errors.Is(err, dns.ErrNotFound)
}
