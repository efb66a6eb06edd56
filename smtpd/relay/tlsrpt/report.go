package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"time"
)

// Report is the JSON form of a report (RFC 8460 section 4.4).
type Report struct {
	Organization string         `json:"organization-name"`
	Dates        DateRange      `json:"date-range"`
	Contact      string         `json:"contact-info"`
	ID           string         `json:"report-id"`
	Policies     []PolicyReport `json:"policies"`
}

// DateRange is the day, in RFC 3339.
type DateRange struct {
	Start time.Time `json:"start-datetime"`
	End   time.Time `json:"end-datetime"`
}

// PolicyReport is what came of one policy.
type PolicyReport struct {
	Policy  AppliedPolicy   `json:"policy"`
	Summary Summary         `json:"summary"`
	Details []FailureDetail `json:"failure-details,omitempty"`
}

// AppliedPolicy is the policy.
type AppliedPolicy struct {
	Type   string   `json:"policy-type"`
	Text   []string `json:"policy-string,omitempty"`
	Domain string   `json:"policy-domain"`
	MX     []string `json:"mx-host,omitempty"`
}

// Summary counts sessions.
type Summary struct {
	Success int `json:"total-successful-session-count"`
	Failure int `json:"total-failure-session-count"`
}

// FailureDetail counts failures that are alike.
type FailureDetail struct {
	Result      string `json:"result-type"`
	SendingIP   string `json:"sending-mta-ip,omitempty"`
	MX          string `json:"receiving-mx-hostname,omitempty"`
	ReceivingIP string `json:"receiving-ip,omitempty"`
	Count       int    `json:"failed-session-count"`
	Reason      string `json:"failure-reason-code,omitempty"`
}

// noPolicy is the type where the domain had none.
const noPolicy = "no-policy-found"

// report makes the report of a day for a domain.
func (c *Collector) report(date time.Time, domain string, t *tally, s Settings) Report {
	r := Report{
		Organization: s.Organization, Contact: s.Contact,
		Dates: DateRange{date, date.Add(24*time.Hour - time.Second)},
		ID:    fmt.Sprintf("%s_%s@%s", date.Format(time.DateOnly), domain, c.o.Hostname),
	}
	for _, p := range t.Policies {
		pr := PolicyReport{
			Policy:  AppliedPolicy{Type: noPolicy, Text: p.Text, Domain: p.Domain, MX: p.MX},
			Summary: Summary{p.Success, p.Failure},
		}
		if p.Type != "" {
			pr.Policy.Type = string(p.Type)
		}
		for _, d := range p.Details {
			pr.Details = append(pr.Details, FailureDetail{string(d.Result), d.Local, d.MX, d.Remote, d.Count, d.Reason})
		}
		r.Policies = append(r.Policies, pr)
	}
	return r
}

// pack is the report as it is sent.
func (r Report) pack() ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(r); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// fileName is that of RFC 8460 section 5.1.
func (r Report) fileName(hostname, domain string) string {
	return fmt.Sprintf("%s!%s!%d!%d!1.json.gz", hostname, domain, r.Dates.Start.Unix(), r.Dates.End.Unix())
}

const mediaType = "application/tlsrpt+gzip"
