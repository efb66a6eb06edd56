// Package migrate reads the configurations of chasquid and Dovecot and makes one
// of mailsrvd's from them, with a report of every setting: what became of it,
// or what its administrator must do because we have nothing like it. It changes
// nothing but the files that it writes.
package migrate

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Level says what a Finding asks for.
type Level string

// The levels of a Finding.
const (
	Kept Level = "kept" // carried over
	Note Level = "note" // works in another way here
	Todo Level = "todo" // has no counterpart: somebody must act or decide
)

// Finding is what became of one setting.
type Finding struct {
	Level Level `json:"level"`
	// Where is a file with a line, or the name of a setting.
	Where string `json:"where"`
	// Text says what became of it, Mend what to do.
	Text string `json:"text"`
	Mend string `json:"mend,omitempty"`
}

// File is one file to write beside the configuration.
type File struct {
	// Name is relative to the directory of the configuration.
	Name string
	Data []byte
	// Secret files are for group mailsrvd alone.
	Secret bool
}

// Read reads both configurations; an empty path stands for none.
func Read(ctx context.Context, chasquid, dovecot string) (*Plan, error) {
	p := new(Plan)
	if chasquid != "" {
		if err := p.chasquid(chasquid); err != nil {
			return nil, err
		}
	}
	if dovecot != "" {
		if err := p.dovecot(ctx, dovecot); err != nil {
			return nil, err
		}
	}
	p.finish()
	return p, nil
}

// Plan is the new configuration with its report.
type Plan struct {
	Findings []Finding
	Files    []File

	settings []setting
	tables   []table
	domains  []string
	hostname string
	pairs    []pair
	// queued is how many messages wait in chasquid's queue.
	queued int
	// postmaster says that there is an alias for it.
	postmaster bool
	// scripts are filters around users' own, by key of [sieve].
	scripts map[string]scripts
}

// setting is one key; section is empty for the keys at the top.
type setting struct{ section, key, value, origin string }

// table is one [[name]].
type table struct {
	name   string
	keys   []setting
	origin string
}

// pair is a certificate with its key.
type pair struct{ name, certificate, key, origin string }

func (p *Plan) kept(where, format string, args ...any) {
	p.Findings = append(p.Findings, Finding{Level: Kept, Where: where, Text: fmt.Sprintf(format, args...)})
}

func (p *Plan) note(where, format string, args ...any) {
	p.Findings = append(p.Findings, Finding{Level: Note, Where: where, Text: fmt.Sprintf(format, args...)})
}

// Todo adds a finding that somebody must look at.
func (p *Plan) Todo(where, mend, format string, args ...any) {
	p.Findings = append(p.Findings, Finding{Level: Todo, Where: where, Text: fmt.Sprintf(format, args...), Mend: mend})
}

// Todos counts the findings that somebody must look at.
func (p *Plan) Todos() int {
	n := 0
	for _, f := range p.Findings {
		if f.Level == Todo {
			n++
		}
	}
	return n
}

// set gives a key its value, a TOML value, and says where that comes from. The
// first one wins; the two servers may disagree.
func (p *Plan) set(section, key, value, origin string) {
	name := strings.TrimPrefix(section+"."+key, ".")
	for _, s := range p.settings {
		if s.section != section || s.key != key {
			continue
		}
		if s.value != value {
			p.Todo(origin, "decide which one is right", "would make %s %s, but %s makes it %s", name, value, s.origin, s.value)
		}
		return
	}
	p.settings = append(p.settings, setting{section, key, value, origin})
	p.kept(origin, "is now %s = %s", name, value)
}

// override gives a key a value that is more to the point than one it may have.
func (p *Plan) override(section, key, value, origin string) {
	p.settings = slices.DeleteFunc(p.settings, func(s setting) bool { return s.section == section && s.key == key })
	p.set(section, key, value, origin)
}

func quote(s string) string { return strconv.Quote(s) }

// quoted is a list of texts, without its brackets.
func quoted(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return strings.Join(quoted, ", ")
}

// addDomain adds a local domain once.
func (p *Plan) addDomain(d string) {
	if d = strings.ToLower(d); !slices.Contains(p.domains, d) {
		p.domains = append(p.domains, d)
	}
}

// finish decides what depends on both servers.
func (p *Plan) finish() {
	p.setScripts()
	if p.hostname == "" {
		p.Todo("hostname", "set hostname to the name in the MX record and in the certificate", "neither server has a name of its own")
		p.hostname = "mail.example.org"
	}
	if len(p.domains) == 0 {
		p.Todo("domains", "list the local domains", "no domain was found")
		p.domains = []string{"example.org"}
	}
	if !p.postmaster {
		p.Todo("postmaster", "set postmaster at the top of the new configuration to a user, as in postmaster = \"support\"", "no alias says who gets the mail for postmaster, which every domain must accept")
	}
	if len(p.pairs) == 0 {
		p.Todo("tls", "name the certificate in [tls]", "no certificate was found")
	}
	// The pair with our own name is offered to those who ask for no name.
	slices.SortStableFunc(p.pairs, func(a, b pair) int {
		return btoi(b.name == p.hostname) - btoi(a.name == p.hostname)
	})
	var seen []pair
	for _, c := range p.pairs {
		if slices.ContainsFunc(seen, func(o pair) bool { return o.certificate == c.certificate }) {
			continue
		}
		if seen = append(seen, c); len(seen) == 1 {
			p.set("tls", "certificate", quote(c.certificate), c.origin)
			p.set("tls", "key", quote(c.key), c.origin)
			continue
		}
		p.tables = append(p.tables, table{"tls.extra", []setting{{key: "certificate", value: quote(c.certificate)}, {key: "key", value: quote(c.key)}}, c.origin})
		p.kept(c.origin, "is a further certificate, [[tls.extra]]")
	}
	if len(p.domains) > 1 {
		p.note("domains", "every user has the address user@ each of %s", strings.Join(p.domains, ", "))
	}
	if p.queued > 0 {
		p.Todo("chasquid's queue", "leave chasquid running without listeners until its queue is empty, or start it again for a while after the switch", "%d messages wait in it, which only chasquid can send", p.queued)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sections is the order of the sections in the file.
var sections = []string{"", "listen", "tls", "auth", "auth.pam", "auth.passwd_file", "mail", "lda", "sieve", "imap", "quota", "limits", "queue", "relay", "aliases"}

// Text is the configuration. With trial it is one to run beside the old pair:
// other ports and directories, and no mail leaves.
func (p *Plan) Text(trial bool) string {
	settings := slices.Clone(p.settings)
	if trial {
		settings = trialSettings(settings)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by mailsrvd migrate. All keys: man mailsrvd.toml\n")
	if trial {
		b.WriteString("# For a trial beside the old servers: other ports, its own state, no mail leaves.\n")
	}
	fmt.Fprintf(&b, "\nhostname = %s\ndomains = [%s]\n", quote(p.hostname), quoted(p.domains))
	for _, s := range sections {
		head := s != ""
		for _, k := range settings {
			if k.section != s {
				continue
			}
			if head {
				fmt.Fprintf(&b, "\n[%s]\n", s)
				head = false
			}
			writeKey(&b, k)
		}
	}
	for _, t := range p.tables {
		fmt.Fprintf(&b, "\n# From %s\n[[%s]]\n", t.origin, t.name)
		for _, k := range t.keys {
			writeKey(&b, k)
		}
	}
	return b.String()
}

func writeKey(b *strings.Builder, k setting) {
	fmt.Fprintf(b, "%s = %s", k.key, k.value)
	if k.origin != "" {
		fmt.Fprintf(b, " # %s", k.origin)
	}
	b.WriteByte('\n')
}

// trialPorts are 10000 above the real ones.
var trialPorts = []setting{
	{"listen", "mx", `":10025"`, ""}, {"listen", "submission", `":10587"`, ""}, {"listen", "submissions", `":10465"`, ""},
	{"listen", "imap", `":10143"`, ""}, {"listen", "imaps", `":10993"`, ""},
	{"", "state_dir", `"/var/lib/mailsrvd-trial"`, ""}, {"", "run_dir", `"/run/mailsrvd-trial"`, ""},
	{"relay", "hold", "true", ""},
}

func trialSettings(settings []setting) []setting {
	settings = slices.DeleteFunc(settings, func(s setting) bool {
		return s.section == "listen" || s.key == "state_dir" || s.key == "run_dir" || s.section == "relay" && s.key == "hold"
	})
	return append(slices.Clone(trialPorts), settings...)
}
