package config

import (
	"strings"
	"testing"
	"time"
)

// TestRenamesLeadSomewhere: each new name is a key, no old one is, and nobody is
// given less than a year... which only a reviewer can see, so the day must at
// least be one.
func TestRenamesLeadSomewhere(t *testing.T) {
	known := map[string]bool{}
	for _, s := range allSections() {
		for _, k := range s.keys {
			known[join(s.name, k.name)] = true
		}
	}
	for _, r := range renames {
		if _, err := time.Parse(time.DateOnly, r.until); err != nil || !known[r.to] || known[r.from] {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestRenamedKeys(t *testing.T) {
	table := []rename{
		{"greeting", "hostname", "2027-11-01"},
		{"mail.size_limit", "mail.message_size_limit", "2027-11-01"},
		{"quotas.size", "quota.storage", "2027-11-01"},
		{"dkim.file", "dkim.key", "2027-11-01"},
	}
	for _, tt := range []struct {
		name, text string
		warnings   []string
		errors     []string
		check      func(*Config) bool
	}{
		{name: "new names", text: minimal, check: func(c *Config) bool { return c.Hostname == "mail.example.org" }},
		{name: "at the top", text: strings.Replace(minimal, "hostname", "greeting", 1), warnings: []string{`m.toml:1: warning: greeting: is now called hostname`},
			check: func(c *Config) bool {
				return c.Hostname == "mail.example.org" && c.Given("hostname") && c.Where("hostname") == "/m.toml:1"
			}},
		{name: "in a section", text: minimal + "[mail]\nsize_limit = \"3MiB\"\n", warnings: []string{"m.toml:7: warning: mail.size_limit: is now called mail.message_size_limit"},
			check: func(c *Config) bool { return c.Mail.MessageSizeLimit == 3<<20 }},
		{name: "a wrong value, with its line", text: minimal + "[mail]\nsize_limit = true\n", warnings: []string{"is now called"}, errors: []string{"m.toml:7: error: mail.message_size_limit"}},
		{name: "both", text: minimal + "[mail]\nsize_limit = \"3MiB\"\nmessage_size_limit = \"4MiB\"\n", errors: []string{"old name of mail.message_size_limit, which is set as well"}},
		{name: "in a list", text: minimal + "[[dkim]]\ndomain = \"example.org\"\nfile = \"k\"\n[[dkim]]\ndomain = \"example.net\"\nkey = \"l\"\n", warnings: []string{"m.toml:8: warning: dkim[0].file"},
			check: func(c *Config) bool { return len(c.DKIM) == 2 && c.DKIM[0].Key == "/k" && c.DKIM[1].Key == "/l" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, problems := parse("/m.toml", tt.text, table)
			got := problems.Error()
			for _, p := range problems {
				if !p.Warning && len(tt.errors) == 0 {
					t.Errorf("unwanted: %v", p)
				}
			}
			for _, want := range append(tt.warnings, tt.errors...) {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in %q", want, got)
				}
			}
			if len(problems) != len(tt.warnings)+len(tt.errors) {
				t.Errorf("%d problems: %s", len(problems), got)
			}
			if tt.check != nil && !tt.check(c) {
				t.Errorf("%+v", c)
			}
		})
	}
	// A section that no longer is.
	c, problems := parse("/m.toml", minimal+"[quotas]\nsize = \"1GiB\"\n", table)
	if problems.HasErrors() || c.Quota.Storage != 1<<30 || !strings.Contains(problems.Error(), "is now called quota.storage") {
		t.Errorf("%d, %v", c.Quota.Storage, problems)
	}
}
