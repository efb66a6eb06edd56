package managesieve

import (
	"bytes"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/peertest"
)

// withTLS starts a server as users have it, and returns its certificate as a file.
func withTLS(t *testing.T) (*harness, string) {
	t.Helper()
	config := testTLS(t)
	h := newHarness(t, func(o *Options) { o.InsecureAuth, o.TLS = false, config })
	path := filepath.Join(t.TempDir(), "cert.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: config.Certificates[0].Certificate[0]})
	if err := os.WriteFile(path, cert, 0o644); err != nil {
		t.Fatal(err)
	}
	return h, path
}

// TestSieveConnect does a user's work by Debian's command-line client, which checks
// the certificate.
func TestSieveConnect(t *testing.T) {
	program := peertest.NeedProgram(t, "sieve-connect", "sieve-connect")
	h, cert := withTLS(t)
	_, port, _ := net.SplitHostPort(h.addr)
	local := filepath.Join(t.TempDir(), "local.sieve")
	do := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(program, append([]string{"--nosrv", "-4", "--server", "localhost", "--port", port, "--tlscafile", cert, "--user", "alice", "--passwordfd", "0", "--authmech", "PLAIN"}, args...)...)
		cmd.Stdin = strings.NewReader("secret\n")
		cmd.Dir = t.TempDir()
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			return "failed: " + errs.String() + out.String()
		}
		return out.String()
	}
	write := func(text string) {
		if err := os.WriteFile(local, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("keep;\r\n")
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"--upload", "--localsieve", local, "--remotesieve", "main"}, ""},
		{[]string{"--activate", "--remotesieve", "main"}, ""},
		{[]string{"--list"}, `"main" ACTIVE`},
		{[]string{"--checkscript", "--localsieve", local}, ""},
		{[]string{"--delete", "--remotesieve", "main"}, "failed: "},
		{[]string{"--download", "--localsieve", local + ".copy", "--remotesieve", "main"}, ""},
		{[]string{"--deactivate"}, ""},
		{[]string{"--delete", "--remotesieve", "main"}, ""},
		{[]string{"--list"}, ""},
	} {
		got := do(step.args...)
		if strings.HasPrefix(got, "failed: ") != strings.HasPrefix(step.want, "failed: ") || !strings.Contains(got, step.want) {
			t.Errorf("%q: %s", step.args, got)
		}
	}
	if b, err := os.ReadFile(local + ".copy"); err != nil || string(b) != "keep;\r\n" {
		t.Errorf("downloaded %q, %v", b, err)
	}
	write("nonsense;\r\n")
	if got := do("--upload", "--localsieve", local, "--remotesieve", "bad"); !strings.Contains(got, "bad:1:1: error") {
		t.Errorf("a script with a mistake: %s", got)
	}
	if got := files(t, h.alice); !slices.Equal(got, []string{"sieve"}) {
		t.Errorf("left: %q", got)
	}
}

const sievelibScript = `
import sys
from sievelib.managesieve import Client
c = Client("127.0.0.1", int(sys.argv[1]))
def must(what, ok):
    if not ok:
        sys.exit("%s: %r %r" % (what, c.errcode, getattr(c, "errmsg", None)))
must("connect", c.connect("alice", "secret", starttls=True, authmech=sys.argv[2]))
must("extensions", "fileinto" in c.get_sieve_capabilities())
must("no STARTTLS any more", not c.has_tls_support())
must("havespace", c.havespace("main", 100))
must("put", c.putscript("main", "require \"fileinto\";\r\nfileinto \"x\";\r\n"))
must("put another", c.putscript("Füße", "keep;"))
must("check", c.checkscript("keep;"))
must("a mistake", not c.putscript("bad", "nonsense;") and b"bad:1:1" in c.errmsg)
must("activate", c.setactive("main"))
must("list", c.listscripts() == ("main", ["Füße"]))
must("rename", c.renamescript("main", "renamed"))
must("list again", c.listscripts() == ("renamed", ["Füße"]))
must("get", c.getscript("renamed") == "require \"fileinto\";\nfileinto \"x\";")
must("none of that name", c.getscript("main") is None and c.errcode == b"NONEXISTENT")
must("delete the active one", not c.deletescript("renamed") and c.errcode == b"ACTIVE")
must("deactivate", c.setactive(""))
must("delete", c.deletescript("renamed") and c.deletescript("Füße"))
must("empty", c.listscripts() == (None, []))
c.logout()
`

// TestSievelib does the same by the library that Modoboa and others use.
func TestSievelib(t *testing.T) {
	python := peertest.NeedProgram(t, "python3", "python3")
	if err := exec.Command(python, "-c", "import sievelib").Run(); err != nil {
		t.Skip("missing: sievelib (Debian package python3-sievelib)")
	}
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		h, _ := withTLS(t)
		_, port, _ := net.SplitHostPort(h.addr)
		cmd := exec.Command(python, "-W", "ignore", "-c", sievelibScript, port, mechanism)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", mechanism, err, out)
		}
	}
}

const netSieveScript = `<?php
error_reporting(E_ALL & ~E_DEPRECATED);
require "Net/Sieve.php";
$c = new Net_Sieve("alice", "secret", "localhost", (int)$argv[1], $argv[2], "", false, false, true, ["ssl" => ["cafile" => $argv[3], "peer_name" => "localhost"]]);
function must($what, $ok) {
    if ($ok instanceof PEAR_Error) { $what .= ": " . $ok->getMessage(); $ok = false; }
    if (!$ok) { fwrite(STDERR, "$what\n"); exit(1); }
}
function fails($what, $r, $text) {
    must($what, $r instanceof PEAR_Error && strpos($r->getMessage(), $text) !== false);
}
must("connect", $c->getError() ?: true);
must("fileinto", $c->hasExtension("fileinto") && !$c->hasExtension("notify"));
must("space", $c->haveSpace("main", 100));
must("install", $c->installScript("main", "require \"fileinto\";\r\nfileinto \"x\";\r\n", true));
must("install another", $c->installScript("Füße", "keep;\n"));
must("list", $c->listScripts() == ["Füße", "main"]);
must("active", $c->getActive() == "main");
must("get", rtrim($c->getScript("main"), "\r\n") . "\r\n" == "require \"fileinto\";\r\nfileinto \"x\";\r\n");
fails("a mistake", $c->installScript("bad", "nonsense;\n"), "bad:1:1: error");
fails("delete the active one", $c->removeScript("main"), "active");
must("deactivate", $c->setActive(""));
must("none active", $c->getActive() === null);
must("remove", $c->removeScript("main") === true && $c->removeScript("Füße") === true);
must("disconnect", $c->disconnect() === true);
`

// TestNetSieve does it by the library of Roundcube.
func TestNetSieve(t *testing.T) {
	php := peertest.NeedProgram(t, "php", "php-cli")
	if _, err := os.Stat("/usr/share/php/Net/Sieve.php"); err != nil {
		t.Skip("missing: Net_Sieve (Debian package php-net-sieve)")
	}
	script := filepath.Join(t.TempDir(), "test.php")
	if err := os.WriteFile(script, []byte(netSieveScript), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		h, cert := withTLS(t)
		_, port, _ := net.SplitHostPort(h.addr)
		if out, err := exec.Command(php, script, port, mechanism, cert).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", mechanism, err, out)
		}
	}
}
