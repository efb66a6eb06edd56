package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/keyring"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
)

// rotating is a daemon with an RSA and an Ed25519 key, a zone, and mail that
// stays in its queue.
type rotating struct {
	*outgoing
	dns *dns.Fake
}

func startRotating(t *testing.T) *rotating {
	t.Helper()
	site := devSite(t)
	key, err := dkim.GenerateKey(dkim.RSA)
	if err != nil {
		t.Fatal(err)
	}
	if err := key.WriteFile(site.Dir + "/dkim/rsa.key"); err != nil {
		t.Fatal(err)
	}
	f, err := dns.NewFake(zoneOfKey(t, site) + dkim.ZoneLine(dev.Domain, "rsa", key) + "\n")
	if err != nil {
		t.Fatal(err)
	}
	f.Fail("elsewhere.example")
	resolver, err := f.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	edit(t, site.Config, "hold = true", "hold = false")
	edit(t, site.Config, "[relay]", fmt.Sprintf("[[dkim]]\ndomain = %q\nselector = \"rsa\"\nkey = \"dkim/rsa.key\"\n[dns]\nresolver = %q\n[relay]", dev.Domain, resolver))
	cfg, err := config.Load(site.Config)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, site.Config, cfg.Listen.Metrics[0], "./run/metrics")
	r := &rotating{&outgoing{trial: &trial{Site: site}}, f}
	r.start(t)
	return r
}

// keys asks dkim show, or another command that prints the same.
func (r *rotating) keys(t *testing.T, command ...string) []dkimRecord {
	t.Helper()
	code, stdout, stderr := r.command(t, "", append(command, "--json")...)
	var keys []dkimRecord
	if err := json.Unmarshal([]byte(stdout), &keys); err != nil || code != 0 {
		t.Fatalf("%q: exit %d, %v: %s%s", command, code, err, stdout, stderr)
	}
	return keys
}

// states is the keys in short, and the zone lines of those that wait.
func states(keys []dkimRecord) (short, zone string) {
	var out []string
	for _, k := range keys {
		out = append(out, k.Selector+"="+k.State)
		if k.State == "waiting" {
			zone += k.Zone + "\n"
		}
	}
	return strings.Join(out, " "), zone
}

var selectorTag = regexp.MustCompile(`\bs=([a-z0-9]+);`)

// signers sends a message and gives the selectors that signed it, all of which
// must verify by the zone as it is.
func (r *rotating) signers(t *testing.T) []string {
	t.Helper()
	r.send(t, "friend@elsewhere.example")
	items := r.queued(t)
	newest := items[len(items)-1].ID
	_, text, _ := r.command(t, "", "queue", "show", "--message", newest)
	for _, v := range dkim.Verify(t.Context(), message.FromBytes([]byte(text)), r.dns.Resolver().TXT) {
		if v.Value != dkim.Pass {
			t.Errorf("%s: %s, %v", v.Selector, v.Value, v.Err)
		}
	}
	var selectors []string
	for _, m := range selectorTag.FindAllStringSubmatch(text, -1) {
		selectors = append(selectors, m[1])
	}
	slices.Sort(selectors)
	return selectors
}

// TestKeysRotateWhenTheDNSShowsThem goes through a rotation with the real
// daemon, of an RSA and an Ed25519 key.
func TestKeysRotateWhenTheDNSShowsThem(t *testing.T) {
	r := startRotating(t)
	today := time.Now().UTC().Format("20060102")
	e, rsa := "e"+today, "r"+today
	if got := r.signers(t); !slices.Equal(got, []string{"dev", "rsa"}) {
		t.Errorf("at first: %q", got)
	}
	short, zone := states(r.keys(t, "dkim", "rotate", dev.Domain))
	if want := "dev=signing " + e + "=waiting rsa=signing " + rsa + "=waiting"; short != want || !strings.Contains(zone, e+"._domainkey.example.test. IN TXT") {
		t.Errorf("after rotate: %s, want %s\n%s", short, want, zone)
	}
	if again, _ := states(r.keys(t, "dkim", "rotate", dev.Domain)); again != short {
		t.Errorf("rotated again while the keys wait: %s", again)
	}
	if got := r.signers(t); !slices.Equal(got, []string{"dev", "rsa"}) {
		t.Errorf("before the DNS has them: %q", got)
	}
	if _, stdout, _ := r.command(t, "", "status"); !strings.Contains(stdout, e+" of example.test is waiting: it signs when its record") {
		t.Errorf("status: %s", stdout)
	}
	if code, stdout, _ := r.command(t, "", "check-config", "--strict"); code != 1 || !strings.Contains(stdout, "the key "+rsa+" of example.test is waiting") {
		t.Errorf("check-config: exit %d: %s", code, stdout)
	}

	// One of the two comes into the DNS; the daemon finds it by itself.
	one, other, _ := strings.Cut(zone, "\n"+rsa+".")
	if err := r.dns.Add(one + "\n"); err != nil {
		t.Fatal(err)
	}
	r.process.Process.Signal(syscall.SIGHUP)
	r.awaitSeen(t, e)
	stdout := ""
	if !eventually(func() bool { // it is on disk before the daemon says so
		_, stdout, _ = r.command(t, "", "status")
		return strings.Contains(stdout, e+" of example.test is waiting: its record is in the DNS; it signs from")
	}) {
		t.Errorf("status: %s", stdout)
	}
	if got := r.signers(t); !slices.Equal(got, []string{"dev", "rsa"}) {
		t.Errorf("before all have seen it: %q", got)
	}
	r.settle(t)
	r.await(t, `msg="another DKIM key signs" domain=example.test selector=`+e+" before=dev")
	if got := r.signers(t); !slices.Equal(got, []string{e, "rsa"}) {
		t.Errorf("with one in the DNS: %q", got)
	}
	// A record of another key is none.
	if err := r.dns.Add(rsa + `._domainkey.example.test TXT "v=DKIM1; k=rsa; p=AAAA"` + "\n"); err != nil {
		t.Fatal(err)
	}
	if short, _ := states(r.keys(t, "dkim", "show")); short != "dev=retiring "+e+"=signing rsa=signing "+rsa+"=waiting" {
		t.Errorf("with a wrong record: %s", short)
	}
	r.dns.Remove(rsa + "._domainkey.example.test")
	if err := r.dns.Add(rsa + "." + other); err != nil {
		t.Fatal(err)
	}
	if short, _ := states(r.keys(t, "dkim", "show")); short != "dev=retiring "+e+"=signing rsa=signing "+rsa+"=waiting" {
		t.Errorf("with the right one: %s", short)
	}
	// The old record is taken out, as after a leak: there is no time to lose.
	r.dns.Remove("rsa._domainkey.example.test")
	keys := r.keys(t, "dkim", "show", dev.Domain)
	if short, _ := states(keys); short != "dev=retiring "+e+"=signing rsa=retiring "+rsa+"=signing" {
		t.Errorf("with both: %s", short)
	}
	if until := time.Until(keys[0].Until); until < 6*24*time.Hour || until > 8*24*time.Hour {
		t.Errorf("the old record may go in %s", until)
	}
	if got := r.signers(t); !slices.Equal(got, []string{e, rsa}) {
		t.Errorf("with both in the DNS: %q", got)
	}
	if m := r.metrics(t); !strings.Contains(m, `mailsrvd_dkim_keys{algorithm="ed25519",domain="example.test",selector="dev",state="retiring"} 1`) ||
		!strings.Contains(m, `mailsrvd_dkim_keys{algorithm="rsa",domain="example.test",selector="`+rsa+`",state="signing"} 1`) {
		t.Error("no metric of the keys")
	}

	r.restart(t)
	if got := r.signers(t); !slices.Equal(got, []string{e, rsa}) {
		t.Errorf("after a restart: %q", got)
	}
	r.afterTheWeek(t, e, rsa)
}

// afterTheWeek lets the old keys be spent and removes them.
func (r *rotating) afterTheWeek(t *testing.T, e, rsa string) {
	file := keyring.TurnsFile(r.cfg)
	turns, err := dkim.LoadTurns(file)
	if err != nil || len(turns.Of) != 2 {
		t.Fatal(turns, err)
	}
	for _, list := range turns.Of {
		list[0].Since = list[0].Since.Add(-8 * 24 * time.Hour)
	}
	if err := turns.Save(file); err != nil {
		t.Fatal(err)
	}
	r.restart(t)
	code, stdout, _ := r.command(t, "", "dkim", "show")
	if code != 0 || !strings.Contains(stdout, "; dev._domainkey.example.test: spent since ") || !strings.Contains(stdout, "remove its record dev._domainkey.example.test from the DNS, and the file "+filepath.Join(r.Dir, "dkim")) {
		t.Errorf("dkim show: %s", stdout)
	}
	for _, old := range []string{"example.test.dev.key", "rsa.key"} {
		if err := os.Remove(filepath.Join(r.Dir, "dkim", old)); err != nil {
			t.Fatal(err)
		}
	}
	r.dns.Remove("dev._domainkey.example.test")
	if code, stdout, stderr := r.command(t, "", "check-config", "--strict"); code != 0 {
		t.Errorf("check-config without the old files: exit %d: %s%s", code, stdout, stderr)
	}
	r.restart(t)
	if short, _ := states(r.keys(t, "dkim", "show")); short != e+"=signing "+rsa+"=signing" {
		t.Errorf("without the old files: %s", short)
	}
	if got := r.signers(t); !slices.Equal(got, []string{e, rsa}) {
		t.Errorf("without the old files: %q", got)
	}
	// The next rotation is one like the first.
	if short, _ := states(r.keys(t, "dkim", "rotate", dev.Domain)); short != e+"=signing "+e+"b=waiting "+rsa+"=signing "+rsa+"b=waiting" {
		t.Errorf("the second rotation: %s", short)
	}
}

// awaitSeen waits until the daemon has found a waiting key's record by itself.
func (r *rotating) awaitSeen(t *testing.T, selector string) {
	t.Helper()
	if !eventually(func() bool {
		turns, err := dkim.LoadTurns(keyring.TurnsFile(r.cfg))
		return err == nil && !turns.Seen[dkim.RecordName(dev.Domain, selector)].IsZero()
	}) {
		t.Fatalf("the record of %s is not seen", selector)
	}
}

// settle lets a quarter of an hour go by.
func (r *rotating) settle(t *testing.T) {
	t.Helper()
	file := keyring.TurnsFile(r.cfg)
	turns, err := dkim.LoadTurns(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range turns.Seen {
		turns.Seen[name] = at.Add(-keyring.Settle)
	}
	if err := turns.Save(file); err != nil {
		t.Fatal(err)
	}
	r.restart(t)
}

func (r *rotating) restart(t *testing.T) {
	t.Helper()
	r.process.Process.Kill()
	r.process.Wait()
	r.start(t)
}

// await waits for a text in the log.
func (o *outgoing) await(t *testing.T, text string) {
	t.Helper()
	if !eventually(func() bool { return strings.Contains(o.log.String(), text) }) {
		t.Fatalf("not in the log: %s", text)
	}
}

func TestRotateWithoutDaemonOrKeys(t *testing.T) {
	site := devSite(t)
	code, stdout, stderr := runCommand(t, "", "dkim", "rotate", dev.Domain, "--config", site.Config)
	if code != 0 || !strings.Contains(stdout, "waiting; it signs when its record") || !strings.Contains(stdout, "; no daemon is running") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if code, _, stderr := runCommand(t, "", "dkim", "rotate", "other.example", "--config", site.Config); code == 0 || !strings.Contains(stderr, "dkim genkey") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
