package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
)

// TestAStolenAccountIsStopped sends as a thief would, and what the administrator
// sees of it.
func TestAStolenAccountIsStopped(t *testing.T) {
	tr := startDev(t, func(s *dev.Site) {
		f, err := os.OpenFile(s.Config, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprint(f, "\n[submission]\nmessages_per_hour = 3\nrecipients_per_day = 4\nunlimited_users = [\"bob\"]\n")
	})
	alice, bob := "alice@"+dev.Domain, "bob@"+dev.Domain
	for i, want := range []string{"", "", "", "450"} {
		err := tr.submit(t, "alice", alice, bob)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), "3 messages within an hour") {
			t.Errorf("message %d: %v", i+1, err)
		}
		if err := tr.submit(t, "bob", bob, alice, bob); err != nil {
			t.Error(err)
		}
	}
	if _, out, stderr := tr.command(t, "", "sending", "list"); !strings.Contains(out, "bob    4               4    8                 8    -") ||
		!strings.Contains(out, "alice  3               3    3                 3    messages_per_hour") {
		t.Errorf("%s%s", out, stderr)
	}
	if code, _, stderr := tr.command(t, "", "sending", "reset", "carol"); code != 1 || !strings.Contains(stderr, "carol has sent nothing") {
		t.Errorf("%d %s", code, stderr)
	}
	if code, _, stderr := tr.command(t, "", "sending", "reset", "alice"); code != 0 {
		t.Errorf("%d %s", code, stderr)
	}
	if err := tr.submit(t, "alice", alice, bob); err != nil {
		t.Error(err)
	}
	if !strings.Contains(tr.log.String(), "limit=messages_per_hour") {
		t.Error("the log does not tell")
	}
}
