package dmarcrpt

import (
	"strconv"

	"svc.plus/mailsrvd/smtpd/inbound"
)

// Bounds on the counts of a day: mail with other domains or addresses is not
// counted then.
const (
	maxDomains = 10_000
	maxRows    = 2_000 // of a domain
)

// tally counts the messages of one policy's domain. Records have a Count of 0;
// that is in the map.
type tally struct {
	Published Published `json:"policy"`
	Rows      []*row    `json:"rows"`
	// Sent are the addresses that have the report already.
	Sent []string `json:"sent,omitempty"`

	index map[string]*row
}

type row struct {
	Key string `json:"key"`
	Record
}

// add counts one message. The policy is the last one seen.
func (t *tally) add(e inbound.Evaluation) {
	t.Published = Published{Domain: e.Domain, ADKIM: e.Published.ADKIM, ASPF: e.Published.ASPF, P: e.Published.P, SP: e.Published.SP, NP: e.Published.NP}
	if e.Published.Percent != nil {
		t.Published.Percent = strconv.Itoa(*e.Published.Percent)
	}
	if t.index == nil {
		t.index = make(map[string]*row, len(t.Rows))
		for _, r := range t.Rows {
			t.index[r.Key] = r
		}
	}
	rec := record(e)
	key := rec.key()
	r := t.index[key]
	if r == nil {
		if len(t.Rows) >= maxRows {
			return
		}
		r = &row{Key: key, Record: rec}
		t.Rows = append(t.Rows, r)
		t.index[key] = r
	}
	r.Row.Count++
}

func record(e inbound.Evaluation) Record {
	word := map[bool]string{true: "pass", false: "fail"}
	r := Record{
		Row: Row{Source: e.Remote.String(), Evaluated: Evaluated{
			Disposition: e.Disposition, DKIM: word[e.DKIMAligned], SPF: word[e.SPFAligned],
		}},
		Identifiers: Identifiers{EnvelopeFrom: e.EnvelopeFrom, HeaderFrom: e.From},
	}
	if e.Override != "" {
		r.Row.Evaluated.Reasons = []Reason{{Type: e.Override, Comment: e.OverrideComment}}
	}
	for _, s := range e.DKIM {
		r.Results.DKIM = append(r.Results.DKIM, DKIMResult(s))
	}
	r.Results.SPF = []SPFResult{SPFResult(e.SPF)}
	return r
}

// key tells records apart.
func (r Record) key() string {
	k := r.Row.Source + " " + r.Row.Evaluated.Disposition + " " + r.Row.Evaluated.DKIM + " " + r.Row.Evaluated.SPF
	for _, reason := range r.Row.Evaluated.Reasons {
		k += " " + reason.Type
	}
	k += " " + r.Identifiers.EnvelopeFrom + " " + r.Identifiers.HeaderFrom
	for _, d := range r.Results.DKIM {
		k += " " + d.Domain + "/" + d.Selector + "=" + d.Result
	}
	for _, s := range r.Results.SPF {
		k += " " + s.Domain + "=" + s.Result
	}
	return k
}

// records are the rows as a report has them.
func (t *tally) records() []Record {
	list := make([]Record, 0, len(t.Rows))
	for _, r := range t.Rows {
		list = append(list, r.Record)
	}
	return list
}
