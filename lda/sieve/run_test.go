package sieve

import (
	"testing"
)

func TestScriptsLeadToActions(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"nothing", "", "keep (implicit)"},
		{"keep", "keep;", "keep"},
		{"keep twice", "keep; keep;", "keep"},
		{"discard", "discard;", "discard"},
		{"keep and discard", "keep; discard;", "keep"},
		{"fileinto", `require "fileinto"; fileinto "Lists";`, `store in mailbox "Lists"`},
		{"fileinto twice", `require "fileinto"; fileinto "Lists"; fileinto "Lists";`, `store in mailbox "Lists"`},
		{"fileinto the inbox, then keep", `require "fileinto"; fileinto "inbox"; keep;`, `keep`},
		{"fileinto with copy", `require ["fileinto", "copy"]; fileinto :copy "Lists";`, `store in mailbox "Lists"; keep (implicit)`},
		{"redirect", `redirect "x@example.com";`, `redirect to <x@example.com>`},
		{"redirect to the same twice", `redirect "x@example.com"; redirect "X <x@EXAMPLE.com>";`, `redirect to <x@example.com>`},
		{"redirect with copy", `require "copy"; redirect :copy "x@example.com";`, `redirect to <x@example.com>; keep (implicit)`},
		{"stop", `stop; discard;`, "keep (implicit)"},
		{"reject", `require "reject"; reject "Go away";`, `reject: "Go away"`},
		{"flags", `require ["imap4flags", "fileinto"]; setflag "\\seen"; addflag ["$Junk \\flagged", "\\Recent"]; fileinto "a"; removeflag "\\SEEN"; keep;`,
			`store in mailbox "a", flags \Seen $Junk \Flagged; keep, flags $Junk \Flagged`},
		{"flags given", `require ["imap4flags", "fileinto"]; setflag "\\seen"; fileinto :flags "b" "a"; keep :flags ["c", "d"];`,
			`store in mailbox "a", flags b; keep, flags c d`},
		{"flags of the implicit keep", `require "imap4flags"; addflag "\\Seen";`, `keep (implicit), flags \Seen`},
		{"create", `require ["fileinto", "mailbox"]; fileinto :create "New";`, `store in mailbox "New", made if missing`},
		{"special use", `require ["fileinto", "special-use"]; fileinto :specialuse "\\Junk" "Spam";`, `store in mailbox "Spam" or that for \Junk`},
		{"if", `if false { discard; } elsif true { keep; } else { discard; }`, "keep"},
		{"else", `if false { keep; } elsif false { keep; } else { discard; }`, "discard"},
		{"variables", `require ["variables", "fileinto"]; set :upperfirst :lower "a" "LISTS"; if header :matches "Subject" "* from *" { fileinto "${a}.${2}"; }`,
			`store in mailbox "Lists.the zoo"`},
		{"vacation", `require "vacation"; vacation :addresses "bob@example.com" "I am away";`, `keep (implicit); answer <tim@example.org>`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := describe(runOn(t, c.script, plain, Env{From: "tim@example.org", To: "ann@example.com"})); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
