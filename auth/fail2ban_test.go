package auth

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"svc.plus/mailsrvd/internal/observe"
)

const filterFile = "../deploy/fail2ban/filter.d/mailsrvd.conf"

// failregex reads the expressions of the filter, with fail2ban's own words in
// Go's form.
func failregex(t *testing.T) []*regexp.Regexp {
	t.Helper()
	conf, err := os.ReadFile(filterFile)
	if err != nil {
		t.Fatal(err)
	}
	value := regexp.MustCompile(`(?m)^_value = (.*)$`).FindSubmatch(conf)
	block := regexp.MustCompile(`(?m)^failregex = (.*(?:\n[ \t]+.*)*)`).FindSubmatch(conf)
	if value == nil || block == nil {
		t.Fatal("the filter has no _value or no failregex")
	}
	var all []*regexp.Regexp
	for line := range strings.Lines(string(block[1])) {
		re := strings.NewReplacer("%(_value)s", string(value[1]), "<F-USER>", "(?P<user>", "</F-USER>", ")",
			"<ADDR>", `(?P<ip>[0-9a-fA-F.:]+)`, "%%", "%").Replace(strings.TrimSpace(line))
		all = append(all, regexp.MustCompile(re))
	}
	return all
}

// logLines are what attempts leave in the log, in one of the daemon's formats.
func logLines(t *testing.T, format string, attempts ...Credentials) []string {
	t.Helper()
	var out bytes.Buffer
	log, err := observe.NewLogger(&out, format, slog.LevelDebug)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		a, _ := fake(t, func(o *Options) { o.Logger = log })
		for _, c := range attempts {
			a.Authenticate(t.Context(), c)
		}
	})
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

// forgeries are names that would like to have somebody else banned.
var forgeries = []string{
	"x ip=198.51.100.1 service=imap",
	`x" ip=198.51.100.1 service="imap`,
	"x\" ip=198.51.100.1 service=imap\n",
	`msg="auth failed" user=x ip=198.51.100.1 service=imap`,
	`\" ip=198.51.100.1 service=imap`,
	`\`, `"`, "", " ", "=", "x\nmsg=\"auth failed\" user=x ip=198.51.100.1 service=imap",
	`x","ip":"198.51.100.1","service":"imap`,
}

func TestLogLineIsStable(t *testing.T) {
	got := logLines(t, "text", Credentials{Login: "support", Password: "wrong", Remote: netip.MustParseAddr("::ffff:192.0.2.1"), Service: "imap"})
	if len(got) != 1 || !strings.Contains(got[0], ` level=WARN msg="auth failed" user=support ip=192.0.2.1 service=imap kind=refused `) {
		t.Errorf("%q", got)
	}
	if strings.Contains(got[0], "password=") || strings.Contains(strings.ReplaceAll(got[0], "wrong password", ""), "wrong") {
		t.Errorf("the password is in the log: %q", got)
	}
}

func TestFilterFindsEveryFailureAndNoForgery(t *testing.T) {
	for _, format := range []string{"text", "journal", "json"} {
		for _, name := range append([]string{"support", "nobody@example.org", strings.Repeat("x", 5000)}, forgeries...) {
			for _, ip := range []string{"192.0.2.1", "2001:db8::1"} {
				lines := logLines(t, format, Credentials{Login: name, Password: "x", Remote: netip.MustParseAddr(ip), Service: "imap"})
				if len(lines) != 1 {
					t.Fatalf("%q left %d lines", name, len(lines))
				}
				line := strings.TrimPrefix(lines[0], "<4>") // as the journal does
				for _, prefix := range []string{"", "host mailsrvd[123]: ", "Nov 25 02:12:31 host mailsrvd[123]: "} {
					if got := banned(t, prefix+line); got != ip {
						t.Errorf("%s: %q bans %q", format, prefix+line, got)
					}
				}
			}
		}
	}
}

func banned(t *testing.T, line string) string {
	t.Helper()
	for _, re := range failregex(t) {
		if m := re.FindStringSubmatch(line); m != nil {
			return m[re.SubexpIndex("ip")]
		}
	}
	return ""
}

func TestFilterLeavesOthersAlone(t *testing.T) {
	for _, c := range []Credentials{
		{Login: "support", Password: "right", Remote: home, Service: "imap"},
		{Login: "expired", Password: "pw", Remote: home, Service: "imap"},
		{Login: "disabled", Password: "pw", Remote: home, Service: "imap"},
		{Login: "away", Password: "pw", Remote: home, Service: "imap"},
		{Login: "support", Password: "wrong", Service: "test"},
	} {
		for _, line := range logLines(t, "text", c) {
			if got := banned(t, line); got != "" {
				t.Errorf("%q bans %s", line, got)
			}
		}
	}
}

func TestFilterWorksInFail2ban(t *testing.T) {
	tool, err := exec.LookPath("fail2ban-regex")
	if err != nil {
		t.Skip("missing: fail2ban-regex (Debian package fail2ban)")
	}
	var log []string
	var attempts []Credentials
	for _, name := range append([]string{"support"}, forgeries...) {
		attempts = append(attempts, Credentials{Login: name, Password: "x", Remote: home, Service: "submission"})
	}
	log = append(logLines(t, "text", attempts...), logLines(t, "json", attempts...)...)
	log = append(log, logLines(t, "journal", attempts...)...)
	want := len(log)
	log = append(log, logLines(t, "text", Credentials{Login: "expired", Password: "pw", Remote: home, Service: "imap"})...)
	file := filepath.Join(t.TempDir(), "mail.log")
	if err := os.WriteFile(file, []byte(strings.Join(log, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tool, "--out", "ip", file, filterFile).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := strings.Fields(string(out))
	if len(got) != want {
		t.Errorf("%d of %d lines found", len(got), want)
	}
	for _, ip := range got {
		if ip != home.String() {
			t.Errorf("%s would be banned", ip)
		}
	}
}
