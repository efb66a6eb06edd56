package dmarcrpt

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"fmt"
	"io"
)

// Report is the XML form of an aggregate report (RFC 7489 appendix C). Reports of
// others have more elements, and some of these empty.
type Report struct {
	XMLName   xml.Name  `xml:"feedback" json:"-"`
	Version   string    `xml:"version,omitempty" json:"version,omitempty"`
	Metadata  Metadata  `xml:"report_metadata" json:"metadata"`
	Published Published `xml:"policy_published" json:"policy"`
	Records   []Record  `xml:"record" json:"records"`
}

// Metadata says who reports.
type Metadata struct {
	Organization string    `xml:"org_name" json:"organization"`
	Email        string    `xml:"email" json:"email"`
	Contact      string    `xml:"extra_contact_info,omitempty" json:"contact,omitempty"`
	ID           string    `xml:"report_id" json:"id"`
	Range        DateRange `xml:"date_range" json:"range"`
	Errors       []string  `xml:"error,omitempty" json:"errors,omitempty"`
}

// DateRange is in Unix seconds.
type DateRange struct {
	Begin int64 `xml:"begin" json:"begin"`
	End   int64 `xml:"end" json:"end"`
}

// Published is the policy that the domain has published.
type Published struct {
	Domain  string `xml:"domain" json:"domain"`
	ADKIM   string `xml:"adkim,omitempty" json:"adkim,omitempty"`
	ASPF    string `xml:"aspf,omitempty" json:"aspf,omitempty"`
	P       string `xml:"p" json:"p"`
	SP      string `xml:"sp,omitempty" json:"sp,omitempty"`
	NP      string `xml:"np,omitempty" json:"np,omitempty"`
	Percent string `xml:"pct,omitempty" json:"pct,omitempty"`
}

// Record is messages that are alike.
type Record struct {
	Row         Row         `xml:"row" json:"row"`
	Identifiers Identifiers `xml:"identifiers" json:"identifiers"`
	Results     Results     `xml:"auth_results" json:"auth_results"`
}

// Row is where they came from, and what became of them.
type Row struct {
	Source    string    `xml:"source_ip" json:"source_ip"`
	Count     int       `xml:"count" json:"count"`
	Evaluated Evaluated `xml:"policy_evaluated" json:"policy_evaluated"`
}

// Evaluated is DMARC's verdict.
type Evaluated struct {
	Disposition string   `xml:"disposition" json:"disposition"`
	DKIM        string   `xml:"dkim" json:"dkim"`
	SPF         string   `xml:"spf" json:"spf"`
	Reasons     []Reason `xml:"reason,omitempty" json:"reasons,omitempty"`
}

// Reason says why it was not what the domain wants.
type Reason struct {
	Type    string `xml:"type" json:"type"`
	Comment string `xml:"comment,omitempty" json:"comment,omitempty"`
}

// Identifiers are the domains in the messages.
type Identifiers struct {
	EnvelopeTo   string `xml:"envelope_to,omitempty" json:"envelope_to,omitempty"`
	EnvelopeFrom string `xml:"envelope_from,omitempty" json:"envelope_from,omitempty"`
	HeaderFrom   string `xml:"header_from" json:"header_from"`
}

// Results are what the checks said.
type Results struct {
	DKIM []DKIMResult `xml:"dkim" json:"dkim,omitempty"`
	SPF  []SPFResult  `xml:"spf" json:"spf"`
}

// DKIMResult is that of one signature.
type DKIMResult struct {
	Domain   string `xml:"domain" json:"domain"`
	Selector string `xml:"selector,omitempty" json:"selector,omitempty"`
	Result   string `xml:"result" json:"result"`
}

// SPFResult is that of the reverse-path ("mfrom") or of the greeting ("helo").
type SPFResult struct {
	Domain string `xml:"domain" json:"domain"`
	Scope  string `xml:"scope,omitempty" json:"scope,omitempty"`
	Result string `xml:"result" json:"result"`
}

// maxRecords bounds what Read takes.
const maxRecords = 500_000

// Read reads a report from XML of at most limit bytes. It takes what is
// well-formed and names a domain and a reporter.
func Read(r io.Reader, limit int64) (*Report, error) {
	limited := &io.LimitedReader{R: r, N: limit}
	d := xml.NewDecoder(limited)
	d.CharsetReader = func(string, io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("its charset is not UTF-8")
	}
	var report Report
	if err := d.Decode(&report); err != nil {
		if limited.N <= 0 {
			return nil, fmt.Errorf("a report of more than %d bytes", limit)
		}
		return nil, fmt.Errorf("reading a DMARC report: %w", err)
	}
	switch {
	case report.Published.Domain == "" || report.Metadata.Organization == "" && report.Metadata.Email == "":
		return nil, fmt.Errorf("the XML is no DMARC report: it names no domain or no reporter")
	case len(report.Records) > maxRecords:
		return nil, fmt.Errorf("a report of more than %d records", maxRecords)
	}
	return &report, nil
}

// pack is the XML, compressed.
func (r *Report) pack() ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, xml.Header)
	e := xml.NewEncoder(z)
	e.Indent("", " ")
	if err := e.Encode(r); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
