package daemon

import (
	"strings"
	"testing"

	"svc.plus/mailsrvd/config"
)

// A capability that does not exist is found before the start.
func TestCheckKnowsCapabilities(t *testing.T) {
	const head = "hostname = \"a.example\"\ndomains = \"a.example\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n[relay]\nhold = true\n"
	for text, want := range map[string]string{
		"[imap]\ndisable = \"QUOTA\"\n":                                    "",
		"[imap]\ndisable = \"QUOTE\"\n":                                    `"QUOTE" is not a capability`,
		"[[imap.user]]\nname = \"alice\"\ndisable = [\"MOVE\", \"FLY\"]\n": `alice: "FLY"`,
	} {
		c, problems := config.Parse("/e/m.toml", head+text)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		found := ""
		for _, p := range Check(t.Context(), c) {
			if p.Key == "imap.disable" {
				found += p.Err.Error()
			}
		}
		if (want == "") != (found == "") || !strings.Contains(found, want) {
			t.Errorf("%s: %q, want %q", text, found, want)
		}
	}
}
