package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/observe"
)

// fakeJournalctl answers as journalctl does: the entries that the arguments match,
// or nothing, and exit status 1. Its entries are those of a message with the
// Message-ID <x@y>, of which one line does not hold it, and of another.
const fakeJournalctl = `#!/bin/sh
case "$*" in
*"--unit=mailsrvd --grep=x@y"*|*"--unit=mailsrvd --grep=q1"*) want=1 ;;
*"--unit=mailsrvd MAILSRVD_TRACE=t1") want=123 ;;
*--grep=broken*) echo "Failed to open the journal" >&2; exit 1 ;;
*) exit 1 ;;
esac
case $want in *3*) cat <<'END'
{"__CURSOR":"c3","__REALTIME_TIMESTAMP":"1795645800000000","PRIORITY":"4","MESSAGE":"msg=deferred to=b@c trace=t1 err=\"try later\"","MAILSRVD_ERR":"try later","MAILSRVD_TRACE":"t1","MAILSRVD_TO":"b@c","MAILSRVD_MSG":"deferred"}
END
esac
cat <<'END'
{"__CURSOR":"c1","__REALTIME_TIMESTAMP":"1795645799000000","PRIORITY":"6","MESSAGE":"msg=message msgid=x@y trace=t1","MAILSRVD_TRACE":"t1","MAILSRVD_MSGID":[120,64,121],"MAILSRVD_MSG":"message"}
END
case $want in *2*) cat <<'END'
{"__CURSOR":"c2","__REALTIME_TIMESTAMP":"1795645799500000","MESSAGE":"a line without fields","_PID":null}
END
esac
`

func TestMessageIsFollowedInTheJournal(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "journalctl"), []byte(fakeJournalctl), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	site := devSite(t)
	code, stdout, stderr := runCommand(t, "", "trace", "<x@y>", "-c", site.Config)
	if code != 1 || !strings.Contains(stderr, "nothing is known of <x@y>") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	code, stdout, stderr = runCommand(t, "", "trace", "q1", "-c", site.Config)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != 0 || len(lines) != 3 || !strings.HasSuffix(lines[0], "message  msgid=x@y  trace=t1") || !strings.HasSuffix(lines[1], "  a line without fields") ||
		!strings.HasSuffix(lines[2], "WARN: deferred  to=b@c  trace=t1  err=try later") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	var found []observe.Record
	_, stdout, _ = runCommand(t, "", "trace", "x@y", "--json", "-c", site.Config)
	if err := json.Unmarshal([]byte(stdout), &found); err != nil || len(found) != 3 || found[2].Get("err") != "try later" {
		t.Errorf("%v: %s", err, stdout)
	}
	if code, _, stderr := runCommand(t, "", "trace", "broken", "-c", site.Config); code != 1 || !strings.Contains(stderr, "journalctl: Failed to open") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
