package config

import (
	"regexp"
	"time"
)

// IMAP is [imap].
type IMAP struct {
	// Separator is between the parts of folder names, "." or "/".
	Separator string
	// IdleTimeout ends silent sessions.
	IdleTimeout time.Duration
	// Disable lists capabilities that are not offered, in upper case.
	Disable []string
}

var capabilityName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.=+-]*$`)

func (s *IMAP) section() section {
	return section{name: "imap", doc: "IMAP.", keys: []key{
		{name: "separator", def: `"."`, value: choice(&s.Separator, ".", "/"),
			doc: "The separator of folder names as clients see it. Take over the old server's: clients keep names, and a change looks like deleted folders."},
		{name: "idle_timeout", def: `"30m"`, value: duration(&s.IdleTimeout, 30*time.Minute, 24*time.Hour),
			doc: "A session that says nothing for this long is closed; RFC 9051 section 5.4 wants at least 30 minutes."},
		{name: "disable", def: `[]`, value: texts(&s.Disable, func(c string) error {
			if !capabilityName.MatchString(c) {
				return faultf(`write it as in "CONDSTORE"`, "%q is not the name of a capability", c)
			}
			return nil
		}),
			doc: "Capabilities not to offer, for clients that stumble over them, as in [\"COMPRESS=DEFLATE\"]."},
	}}
}
