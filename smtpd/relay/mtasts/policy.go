package mtasts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/dns"
)

// Mode is what a policy asks of senders (RFC 8461 section 5).
type Mode string

// The modes: deliver only as the policy says, report only, or no policy.
const (
	Enforce Mode = "enforce"
	Testing Mode = "testing"
	None    Mode = "none"
)

// Policy is the content of a policy file (RFC 8461 section 3.2).
type Policy struct {
	Mode Mode `json:"mode"`
	// MX are the patterns of the mail exchangers: lower-case names, the first
	// label of which may be "*".
	MX []string `json:"mx"`
	// MaxAge is how long the policy counts, from when it was fetched.
	MaxAge time.Duration `json:"max_age"`
}

const (
	version = "STSv1"
	// maxMaxAge is a year, the most that RFC 8461 section 3.2 allows.
	maxMaxAge = 31557600
	// maxMX bounds the list; real ones have a handful.
	maxMX = 1000
)

// Parse reads a policy file. Unknown keys are passed over, and of a repeated key
// other than mx the first counts (RFC 8461 section 3.2).
func Parse(text string) (Policy, error) {
	var p Policy
	first := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		key, value = strings.Trim(key, " \t"), strings.Trim(value, " \t")
		switch {
		case !ok:
		case key != "mx":
			if _, again := first[key]; !again {
				first[key] = value
			}
		case len(p.MX) < maxMX:
			if name, ok := pattern(value); ok {
				p.MX = append(p.MX, name)
			}
		}
	}
	if first["version"] != version {
		return Policy{}, fmt.Errorf("MTA-STS policy: version %.20q, want %s", first["version"], version)
	}
	seconds, err := strconv.ParseUint(first["max_age"], 10, 64)
	if err != nil {
		return Policy{}, fmt.Errorf("MTA-STS policy: max_age %.20q is no number of seconds", first["max_age"])
	}
	p.MaxAge = time.Duration(min(seconds, maxMaxAge)) * time.Second
	switch p.Mode = Mode(first["mode"]); p.Mode {
	case Enforce, Testing:
		if len(p.MX) == 0 {
			return Policy{}, errors.New("MTA-STS policy: no mx")
		}
	case None:
	default:
		return Policy{}, fmt.Errorf("MTA-STS policy: mode %.20q", first["mode"])
	}
	return p, nil
}

// String is the policy file (RFC 8461 section 3.2), with CRLF.
func (p Policy) String() string { return strings.Join(p.lines(), "\r\n") + "\r\n" }

// ID names the policy in the record at _mta-sts (RFC 8461 section 3.1): another
// policy has another one.
func (p Policy) ID() string {
	sum := sha256.Sum256([]byte(p.String()))
	return hex.EncodeToString(sum[:10])
}

func (p Policy) lines() []string {
	lines := []string{"version: " + version, "mode: " + string(p.Mode)}
	for _, m := range p.MX {
		lines = append(lines, "mx: "+m)
	}
	return append(lines, fmt.Sprintf("max_age: %d", int64(p.MaxAge/time.Second)))
}

// pattern puts an mx value into the form in which names are compared.
func pattern(value string) (string, bool) {
	rest, wild := strings.CutPrefix(value, "*.")
	name, err := dns.ToASCII(rest)
	if err != nil {
		return "", false
	}
	if wild {
		name = "*." + name
	}
	return name, true
}

// Lists reports whether host, in A-labels, is one of the policy's mail
// exchangers. "*" stands for exactly one label (RFC 8461 section 4.1).
func (p Policy) Lists(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	_, parent, _ := strings.Cut(host, ".")
	for _, m := range p.MX {
		if rest, wild := strings.CutPrefix(m, "*."); m == host || wild && rest == parent {
			return true
		}
	}
	return false
}

// RecordID gives the id of the domain's record among the texts of its name; no
// record, or more than one, means no policy (RFC 8461 section 3.1).
func RecordID(texts []string) (id string, ok bool) {
	for _, text := range texts {
		fields := strings.Split(text, ";")
		if strings.TrimRight(fields[0], " \t") != "v="+version {
			continue
		}
		if ok {
			return "", false
		}
		for _, f := range fields[1:] {
			key, value, _ := strings.Cut(strings.Trim(f, " \t"), "=")
			if key == "id" && !ok && validID(value) {
				id, ok = value, true
			}
		}
		if !ok {
			return "", false
		}
	}
	return id, ok
}

// validID is 1*32(ALPHA / DIGIT).
func validID(id string) bool {
	return id != "" && len(id) <= 32 && strings.IndexFunc(id, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
	}) < 0
}
