package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestOpenListenersAreWarnedOf: those that need no password belong on addresses
// that the Internet does not reach.
func TestOpenListenersAreWarnedOf(t *testing.T) {
	for address, open := range map[string]bool{
		"127.0.0.1:9925": false, "[::1]:9925": false, "localhost:9925": false, "/run/mailsrvd/x.sock": false, "10.1.2.3:9925": false, "[fd00::1]:9925": false, "[fe80::1]:9925": false,
		":9925": true, "0.0.0.0:9925": true, "[::]:9925": true, "192.0.2.1:9925": true, "[2001:db8::1]:9925": true, "[::ffff:192.0.2.1]:9925": true,
	} {
		for _, key := range []string{"status", "metrics", "lmtp", "imaps"} {
			_, problems := Parse("/m.toml", minimal+fmt.Sprintf("[listen]\n%s = %q\n", key, address))
			warned := strings.Contains(problems.Error(), "listen."+key+": "+address+" may be reached from the Internet")
			if want := open && key != "imaps"; warned != want || problems.HasErrors() {
				t.Errorf("%s on %s: %v", key, address, problems)
			}
		}
	}
	_, problems := Parse("/m.toml", minimal+"[listen]\nstatus = \":9926\"\n")
	if !strings.Contains(problems.Error(), `use a loopback address, as in "127.0.0.1:9926"`) {
		t.Error(problems)
	}
}
