package tlsrpt

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// schema is the form of RFC 8460 section 4.4, member by member: "!" is one that
// must be there.
var schema = object{
	"organization-name!": text, "contact-info!": text, "report-id!": text,
	"date-range!": object{"start-datetime!": datetime, "end-datetime!": datetime},
	"policies!": list{object{
		"policy!": object{
			"policy-type!": oneOf{"tlsa", "sts", "no-policy-found"}, "policy-string": list{text},
			"policy-domain!": text, "mx-host": list{text},
		},
		"summary!": object{"total-successful-session-count!": count, "total-failure-session-count!": count},
		"failure-details": list{object{
			"result-type!": oneOf{
				"starttls-not-supported", "certificate-host-mismatch", "certificate-expired", "certificate-not-trusted", "validation-failure",
				"tlsa-invalid", "dnssec-invalid", "dane-required", "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid",
			},
			"sending-mta-ip": address, "receiving-mx-hostname": text, "receiving-mx-helo": text, "receiving-ip": address,
			"failed-session-count!": count, "additional-information": text, "failure-reason-code": text,
		}},
	}},
}

type (
	// object is members with their rules, list a list of one rule.
	object map[string]any
	list   []any
	oneOf  []string
	rule   func(any) bool
)

var (
	text     rule = func(v any) bool { s, ok := v.(string); return ok && s != "" }
	count    rule = func(v any) bool { n, ok := v.(float64); return ok && n >= 0 && n == float64(int64(n)) }
	datetime rule = func(v any) bool {
		s, _ := v.(string)
		_, err := time.Parse(time.RFC3339, s)
		return err == nil
	}
	address rule = func(v any) bool {
		s, _ := v.(string)
		a, err := netip.ParseAddr(s)
		return err == nil && a.String() == s
	}
)

// checkSchema holds a report to the schema.
func checkSchema(t *testing.T, report string) {
	t.Helper()
	for _, problem := range violations(report) {
		t.Error(problem)
	}
}

func violations(report string) []string {
	var v any
	if err := json.Unmarshal([]byte(report), &v); err != nil {
		return []string{err.Error()}
	}
	return violated("report", schema, v)
}

func violated(at string, want, v any) (problems []string) {
	switch want := want.(type) {
	case object:
		m, ok := v.(map[string]any)
		if !ok {
			return []string{at + " is no object"}
		}
		for name, r := range want {
			plain, needed := strings.CutSuffix(name, "!")
			child, there := m[plain]
			if !there && needed {
				problems = append(problems, at+" has no "+plain)
			}
			if there {
				problems = append(problems, violated(at+"."+plain, r, child)...)
			}
			delete(m, plain)
		}
		for name := range m {
			problems = append(problems, at+" has an unknown "+name)
		}
	case list:
		l, ok := v.([]any)
		if !ok || len(l) == 0 {
			return []string{at + " is no list, or empty"}
		}
		for i, child := range l {
			problems = append(problems, violated(fmt.Sprintf("%s[%d]", at, i), want[0], child)...)
		}
	case oneOf:
		if s, _ := v.(string); !slices.Contains(want, s) {
			return []string{fmt.Sprintf("%s is %v", at, v)}
		}
	case rule:
		if !want(v) {
			return []string{fmt.Sprintf("%s is %v", at, v)}
		}
	}
	return problems
}

// TestTheSchemaFindsFaults, so that its silence means something.
func TestTheSchemaFindsFaults(t *testing.T) {
	const good = `{"organization-name":"x","contact-info":"c","report-id":"i","date-range":{"start-datetime":"2026-11-25T00:00:00Z","end-datetime":"2026-11-25T23:59:59Z"},` +
		`"policies":[{"policy":{"policy-type":"sts","policy-domain":"a"},"summary":{"total-successful-session-count":1,"total-failure-session-count":0}}]}`
	if v := violations(good); len(v) > 0 {
		t.Fatal(v)
	}
	for _, r := range [][2]string{{`"x"`, `1`}, {`"sts"`, `"STS"`}, {`T00:00:00Z`, ``}, {`:1,`, `:"1",`}, {`"report-id"`, `"report_id"`}, {`[{`, `{"a":[{`}} {
		if bad := strings.Replace(good, r[0], r[1], 1); len(violations(bad)) == 0 {
			t.Errorf("nothing wrong in %s", bad)
		}
	}
}
