package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/setup"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/control"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/queue"
)

// table is what fn prints through the aligning writer.
func table(fn func(w *tabwriter.Writer)) string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fn(w)
	w.Flush()
	return b.String()
}

func TestQueueListShowsWhatEachMessageWaitsFor(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	item := func(id string, change func(*queue.Item)) queue.Item {
		it := queue.Item{ID: id, Created: now.Add(-90 * time.Minute), Size: 2048, Envelope: queue.Envelope{Envelope: message.Envelope{ReversePath: "a@b"}},
			Recipients: []queue.Recipient{{Recipient: message.Recipient{Address: "x@y"}, State: queue.Pending, Next: now.Add(10 * time.Minute)}}}
		change(&it)
		return it
	}
	for _, tt := range []struct {
		name string
		it   queue.Item
		want []string
	}{
		{"waiting", item("i1", func(*queue.Item) {}), []string{"i1  1h30m  2.0KiB  in 10m  a@b", "i1  -> x@y", "not tried yet"}},
		{"due", item("i2", func(it *queue.Item) { it.Recipients[0].Next = now }), []string{"due"}},
		{"held", item("i3", func(it *queue.Item) { it.Held = true }), []string{"held"}},
		{"active", item("i4", func(it *queue.Item) { it.Active = true }), []string{"sending"}},
		{"bounce", item("i5", func(it *queue.Item) { it.Envelope.ReversePath = "" }), []string{"<>"}},
		{"old", item("i6", func(it *queue.Item) { it.Created = now.Add(-75*time.Hour - time.Minute) }), []string{"3d3h"}},
		{"young and big", item("i7", func(it *queue.Item) { it.Created, it.Size = now.Add(-2*time.Second), 3<<20 }), []string{"2s", "3.0MiB"}},
		{"small", item("i8", func(it *queue.Item) { it.Size = 12 }), []string{"12B"}},
		{"remote reply", item("i9", func(it *queue.Item) {
			it.Recipients[0].Last = &queue.Result{Code: 451, Remote: "mx.y[192.0.2.1]", Reply: "451 4.7.1 Greylisted"}
		}), []string{"mx.y[192.0.2.1]: 451 4.7.1 Greylisted"}},
		{"our own reason", item("i10", func(it *queue.Item) {
			it.Recipients[0].Last = &queue.Result{Code: 451, Enhanced: "4.4.1", Text: "No answer"}
		}), []string{"451 4.4.1 No answer"}},
	} {
		got := table(func(w *tabwriter.Writer) { printItems(w, []queue.Item{tt.it}, now) })
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", tt.name, want, got)
			}
		}
	}
	done := item("i11", func(it *queue.Item) {
		it.Envelope.User = "alice"
		it.Recipients = append(it.Recipients, queue.Recipient{Recipient: message.Recipient{Address: "done@y"}, State: queue.Delivered, Attempts: 1, Last: &queue.Result{Code: 250, Remote: "mx", Reply: "250 ok",
			TLS: message.TLS{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Verified: "dane"}}})
	})
	if got := table(func(w *tabwriter.Writer) { printItems(w, []queue.Item{done}, now) }); strings.Contains(got, "done@y") {
		t.Errorf("a recipient who has the message is listed:\n%s", got)
	}
	part := item("i12", func(it *queue.Item) {
		it.Recipients[0].Local = &message.Local{Program: "/bin/ticket --new", Address: "x@y"}
	})
	if got := table(func(w *tabwriter.Writer) { printItem(w, part, now) }); !strings.Contains(got, "x@y (|/bin/ticket --new): pending") {
		t.Errorf("show: the program is not named:\n%s", got)
	}
	got := table(func(w *tabwriter.Writer) { printItem(w, done, now) })
	for _, want := range []string{"user       alice", "done@y: delivered, 1 attempts; mx: 250 ok", "by TLS 1.3, TLS_AES_128_GCM_SHA256, verified: dane", "x@y: pending, 0 attempts", "2048 bytes"} {
		if !strings.Contains(got, want) {
			t.Errorf("show: no %q in\n%s", want, got)
		}
	}
}

func TestStatusNamesProblemsAndReloads(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := admin.Status{Version: "v1", PID: 7, Started: now.Add(-49 * time.Hour), Config: "/m.toml", Reloaded: now.Add(-time.Minute), Problem: "no room",
		Listeners: []admin.Listener{{Name: "mx", Address: ":25", Connections: 3}}, Queue: queue.Stats{Items: 2, Active: 1, Destinations: 2, Down: 1},
		Certificates: []admin.Certificate{{Names: []string{"a.example", "b.example"}, NotAfter: now.Add(50 * time.Hour)}, {Names: []string{"c.example"}, NotAfter: now.Add(-time.Hour)}}}
	got := table(func(w *tabwriter.Writer) { printStatus(w, s, now) })
	for _, want := range []string{"v1, pid 7, up 2d1h", "/m.toml, reloaded 1m ago", "PROBLEM        no room", "mx             :25, 3 connections", "2 messages, 1 being sent, 2 destinations of which 1 do", "a.example b.example, until 2026-01-04, 2 days left", "c.example, until 2026-01-02, HAS ENDED"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestSetupUserPrintsTheMend(t *testing.T) {
	for _, tt := range []struct {
		r    setup.Report
		want string
	}{
		{setup.Report{User: "a", Maildir: "/m", Missing: true}, "the first message makes it"},
		{setup.Report{User: "a", Maildir: "/m", Odd: "is not a directory"}, "/m is not a directory"},
		{setup.Report{User: "a", Maildir: "/m", Mode: "0700", Made: true}, "was made, with 0 messages"},
		{setup.Report{User: "a", Maildir: "/m", Mode: "0700", Messages: 3, ForeignCount: 2, Foreign: []string{"/m/new/1"}}, "2 entries are not a's, such as /m/new/1"},
		{setup.Report{User: "a", Maildir: "/m", ForeignCount: 2, Foreign: []string{"/m/new/1"}}, "mend, as root: find /m "},
		{setup.Report{User: "a", Maildir: "/m", Unreadable: []string{"/m/.x"}}, "/m/.x cannot be read as a"},
	} {
		if got := table(func(w *tabwriter.Writer) { printSetup(w, &tt.r) }); !strings.Contains(got, tt.want) {
			t.Errorf("no %q in\n%s", tt.want, got)
		}
	}
}

func TestMailboxCommandsReadAMaildir(t *testing.T) {
	s := devSite(t)
	dir := filepath.Join(s.Dir, "home", "alice", "Maildir")
	for _, d := range []string{"", ".Sent"} {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(dir, d, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, text := range map[string]string{"new/1.M1P1.h": "Subject: a\n\nb\n", "cur/2.M1P1.h:2,S": "Subject: b\n\nc\n", ".Sent/cur/3.M1P1.h:2,S": "x\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, stderr := runCommand(t, "", "mailbox", "list", "alice", "-c", s.Config)
	if code != 0 || !strings.Contains(stdout, "INBOX") || !strings.Contains(stdout, `Sent   \Sent`) {
		t.Errorf("list: exit %d: %s%s", code, stdout, stderr)
	}
	code, stdout, stderr = runCommand(t, "", "mailbox", "status", "alice@example.test", "-c", s.Config, "--json")
	var lines []folderStatus
	if err := json.Unmarshal([]byte(stdout), &lines); err != nil || code != 0 || len(lines) != 2 {
		t.Fatalf("status: exit %d: %s%s %v", code, stdout, stderr, err)
	}
	for _, l := range lines {
		if l.Folder == "INBOX" && (l.Messages != 2 || l.Unseen != 1 || l.Size != 34 || l.UIDNext != 3) {
			t.Errorf("%+v", l)
		}
	}
	if _, stdout, _ := runCommand(t, "", "mailbox", "status", "alice", "-c", s.Config); !strings.Contains(stdout, "INBOX   2         1       34B") {
		t.Errorf("status: %s", stdout)
	}
	for _, args := range [][]string{{"mailbox", "status", "nobody-here"}, {"mailbox", "list", "x@example.net"}} {
		if code, _, stderr := runCommand(t, "", append(args, "-c", s.Config)...); code != 1 || stderr == "" {
			t.Errorf("%q: exit %d: %s", args, code, stderr)
		}
	}
}

// withZone gives the site a resolver that knows what the server itself prints,
// and lets change edit the zone.
func withZone(t *testing.T, change func(*dns.Fake)) (configPath string) {
	t.Helper()
	s := devSite(t)
	f, err := dns.NewFake("")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	addr, err := f.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	edit(t, s.Config, "[relay]", "[dns]\nresolver = \""+addr+"\"\n[relay]")
	code, stdout, stderr := runCommand(t, "", "dns", "records", "-c", s.Config, "--json")
	var records []struct{ Name, Type, Value string }
	if err := json.Unmarshal([]byte(stdout), &records); err != nil || code != 0 {
		t.Fatalf("records: exit %d: %s%s %v", code, stdout, stderr, err)
	}
	text, addresses := "", 0
	for _, r := range records {
		text += r.Name + " " + r.Type + " " + r.Value + "\n"
		if r.Type == "A" || r.Type == "AAAA" { // this machine's own
			addresses++
			text += reverseName(t, r.Value) + " PTR mail.example.test.\n"
		}
	}
	if addresses == 0 {
		text += "mail.example.test A 127.0.0.1\n1.0.0.127.in-addr.arpa PTR mail.example.test\n"
	}
	if err := f.Add(text); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(f)
	}
	return s.Config
}

func reverseName(t *testing.T, address string) string {
	t.Helper()
	name, err := mdns.ReverseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDNSCheckComparesTheZone(t *testing.T) {
	good := withZone(t, nil)
	code, stdout, stderr := runCommand(t, "", "dns", "check", "-c", good)
	if code != 0 || !strings.Contains(stdout, "as it should be") {
		t.Errorf("good zone: exit %d: %s%s", code, stdout, stderr)
	}
	if code, stdout, _ := runCommand(t, "", "check-config", "--dns", "--strict", "-c", good); code != 0 {
		t.Errorf("check-config: exit %d: %s", code, stdout)
	}

	bad := withZone(t, func(f *dns.Fake) {
		f.Remove("_dmarc.example.test")
		f.Remove("dev._domainkey.example.test")
	})
	code, stdout, _ = runCommand(t, "", "dns", "check", "-c", bad)
	for _, want := range []string{"DKIM: dev._domainkey.example.test", "DMARC: example.test has no DMARC record", "means: our signatures do not verify", "mend: add to the zone: dev._domainkey"} {
		if code != 1 || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, no %q in\n%s", code, want, stdout)
		}
	}
	if code, stdout, _ := runCommand(t, "", "dns", "check", "-c", bad, "--json"); code != 1 || !strings.Contains(stdout, `"about": "DKIM"`) {
		t.Errorf("JSON: exit %d: %s", code, stdout)
	}
	code, stdout, _ = runCommand(t, "", "check-config", "--dns", "-c", bad)
	for _, want := range []string{"error: dkim: DKIM: ", "warning: domains: DMARC: "} {
		if code != 2 || !strings.Contains(stdout, want) {
			t.Errorf("check-config: exit %d, no %q in\n%s", code, want, stdout)
		}
	}
}

func TestCheckConfigAsksDNSLists(t *testing.T) {
	file := withZone(t, func(f *dns.Fake) {
		if err := f.Add("2.0.0.127.good.bl A 127.0.0.2\n2.0.0.127.all.bl A 127.0.0.2\n1.0.0.127.all.bl A 127.0.0.2\n"); err != nil {
			t.Fatal(err)
		}
	})
	edit(t, file, "[relay]", "[[inbound.dnsbl]]\nzone = \"good.bl\"\n[[inbound.dnsbl]]\nzone = \"all.bl\"\n[[inbound.dnsbl]]\nzone = \"gone.bl\"\n[relay]")
	_, stdout, _ := runCommand(t, "", "check-config", "--dns", "-c", file)
	for _, want := range []string{"inbound.dnsbl[1].zone: all.bl lists 127.0.0.1", "inbound.dnsbl[2].zone: gone.bl does not list its test entry"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "good.bl") {
		t.Errorf("%s", stdout)
	}
}

func TestRecordsInEachForm(t *testing.T) {
	s := devSite(t)
	for format, want := range map[string]string{
		"bind": "\tTLSA\t3 1 1 ", "cloudflare": `"type": "TLSA"`, "route53": `"Type": "TLSA"`,
		"terraform-cloudflare": "matching_type = 1", "terraform-route53": `type    = "TLSA"`,
	} {
		if code, stdout, stderr := runCommand(t, "", "dns", "records", "-c", s.Config, "--tlsa", "--format", format); code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit %d, no %q in\n%s%s", format, code, want, stdout, stderr)
		}
	}
	if code, _, stderr := runCommand(t, "", "dns", "records", "-c", s.Config, "--format", "x"); code != 1 || !strings.Contains(stderr, "want one of") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestRootIsRefusedWithPAM(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to be refused")
	}
	parse := func(text string) *config.Config {
		c, _ := config.Parse("m.toml", "hostname = \"a.example\"\ndomains = [\"a.example\"]\n"+text)
		return c
	}
	if err := leaveRoot(parse("user = \"\"")); err == nil || !strings.Contains(err.Error(), "m.toml:3: root never handles") {
		t.Errorf("no user: %v", err)
	}
	if err := leaveRoot(parse("user = \"no-such-user-here\"")); err == nil || !strings.Contains(err.Error(), "sysusers") {
		t.Errorf("unknown user: %v", err)
	}
	if err := leaveRoot(parse("[auth]\nbackend = \"passwd-file\"")); err != nil {
		t.Errorf("a container with a passwd-file: %v", err)
	}
}

func TestMessagesSayTheNextStep(t *testing.T) {
	problems := config.Problems{{File: "m.toml", Line: 3, Key: "k", Text: "is wrong", Mend: "mend it"}}
	for _, tt := range []struct {
		err  error
		code int
		want string
	}{
		{problems, exitConfig, "m.toml:3: error: k: is wrong\n    mend: mend it"},
		{fmt.Errorf("asking: %w", control.ErrNoDaemon), exitNoDaemon, "is mailsrvd serve running"},
		{fmt.Errorf("%w: gone", errConfig), exitConfig, "no usable configuration: gone"},
		{errors.New("boom"), exitFailure, "boom"},
	} {
		a := &app{started: "status"}
		if got := a.message(tt.err); !strings.Contains(got, tt.want) || exitCode(tt.err) != tt.code {
			t.Errorf("%v: code %d, %q", tt.err, exitCode(tt.err), got)
		}
	}
}

func TestNamesOfOtherProgramsAreCommands(t *testing.T) {
	for args, want := range map[string]string{
		"/usr/sbin/sendmail -t":      "sendmail -t",
		"/usr/bin/mailq":             "queue list",
		"/usr/bin/newaliases":        "sendmail -bi",
		"/usr/lib/dovecot/deliver x": "lda x",
		"dovecot-lda -d alice":       "lda -d alice",
		"/usr/local/bin/mailsrvd x":  "x",
	} {
		if got := strings.Join(byName(strings.Fields(args)), " "); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}

func TestLDAWithoutConfigurationUsesDefaults(t *testing.T) {
	a := &app{configPath: filepath.Join(t.TempDir(), "none.toml"), stderr: &bytes.Buffer{}}
	o, err := a.ldaConfigure(context.Background(), "", true)
	if err != nil || o.Agent.Location != "~/Maildir" || o.Socket != "/run/mailsrvd/lda.sock" || len(o.Agent.Domains) != 1 {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := a.ldaConfigure(context.Background(), "", false); !errors.Is(err, errConfig) {
		t.Errorf("a missing file: %v", err)
	}
	if self, err := selfOwner(); err != nil || self.UID != os.Geteuid() || self.Home == "" {
		t.Errorf("%+v, %v", self, err)
	}
	late := &lateAccounts{cfg: &config.Config{Auth: config.Auth{Backend: "passwd-file", PasswdFile: config.PasswdFile{Path: "/nonexistent"}}}}
	if _, err := late.Lookup(context.Background(), "alice"); err == nil || errors.Is(err, auth.ErrNoUser) {
		t.Errorf("an unreadable back end: %v", err)
	}
}

func TestDocsCommandWritesAllFiles(t *testing.T) {
	dir := t.TempDir()
	if code, _, stderr := runCommand(t, "", "docs", dir); code != 0 {
		t.Fatal(stderr)
	}
	for _, name := range []string{"deploy/mailsrvd.toml", "docs/configuration.md", "docs/commands.md", "docs/man/mailsrvd-serve.8", "docs/man/mailsrvd.toml.5"} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryCommandHasExampleAndShort: help is complete.
func TestEveryCommandHasExampleAndShort(t *testing.T) {
	root := new(app).root()
	for _, c := range append(root.Commands(), commandsBelow(root.Commands())...) {
		if c.Short == "" {
			t.Errorf("%s has no description", c.CommandPath())
		}
		if c.Runnable() && !c.Hidden && c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
	}
}

func commandsBelow(list []*cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, c := range list {
		all = append(all, c.Commands()...)
	}
	return all
}

// TestShellsCompleteTheCommands: the scripts of the package, and what they ask
// for.
func TestShellsCompleteTheCommands(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		code, stdout, stderr := runCommand(t, "", "completion", shell)
		if code != 0 || !strings.Contains(stdout, "__complete") {
			t.Errorf("%s: exit %d: %s%s", shell, code, stdout, stderr)
		}
		if program, err := exec.LookPath(shell); err == nil {
			check := exec.Command(program, "-n")
			check.Stdin = strings.NewReader(stdout)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s does not take its script: %v: %s", shell, err, out)
			}
		}
	}
	for typed, want := range map[string]string{"queue re": "release\t", "dns records --fo": "--format\t", "st": "status\t"} {
		if code, stdout, stderr := runCommand(t, "", append([]string{"__complete"}, strings.Fields(typed)...)...); code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit %d: %s%s", typed, code, stdout, stderr)
		}
	}
}
