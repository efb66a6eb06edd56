package dkim

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Other implementations must take our signatures, and we theirs.

// tool finds a program of another implementation, also where only
// administrators have it in their path.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, try := range []string{name, "/usr/sbin/" + name, "/usr/bin/" + name} {
		if path, err := exec.LookPath(try); err == nil {
			return path
		}
	}
	t.Skipf("missing: %s", name)
	return ""
}

// peer runs a tool with input and returns what it prints.
func peer(t *testing.T, input string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = strings.NewReader(input)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v\n%s%s", filepath.Base(name), err, &out, &diag)
	}
	return out.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenDKIMVerifiesOurSignatures(t *testing.T) {
	opendkim := tool(t, "opendkim")
	zone := write(t, "dns", "rsa._domainkey.svc.plus "+Record(testKeys[RSA])+"\ned._domainkey.svc.plus "+Record(testKeys[Ed25519])+"\n")
	conf := write(t, "conf", "Mode v\nTestDNSData "+zone+"\nSyslog no\n")
	result := regexp.MustCompile(`dkim=(\w+) (?:\(.*?\) )?header\.d=svc\.plus .*? header\.s=(\w+)`)
	for name, msg := range oddMails {
		switch name {
		case "no line end in header", "no empty line", "no line end at the end", "long lines", "8 bit":
			continue // its test mode reads lines of text, not messages
		case "space before colon":
			continue // it refuses this old syntax
		}
		t.Run(name, func(t *testing.T) {
			out := peer(t, "", opendkim, "-x", conf, "-t", write(t, "msg", sign(t, msg)), "-v", "-v")
			got := map[string]string{}
			for _, m := range result.FindAllStringSubmatch(out, -1) {
				got[m[2]] = m[1]
			}
			if got["rsa"] != "pass" || got["ed"] != "pass" {
				t.Errorf("results %v in\n%s", got, out)
			}
		})
	}
}

const verifyWithDkimpy = `
import sys, dkim, nacl
zone = dict(line.split(" ", 1) for line in open(sys.argv[1]).read().splitlines())
def txt(name, timeout=5):
    if isinstance(name, bytes): name = name.decode()
    return zone[name.rstrip(".")].encode()
for path in sys.argv[2:]:
    d = dkim.DKIM(open(path, "rb").read())
    for i in range(2):
        print(d.verify(idx=i, dnsfunc=txt), d.signature_fields[b"s"].decode(), path)
`

// python finds an interpreter that has dkimpy.
func python(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(path, "-c", "import dkim, nacl").Run() == nil {
			return path
		}
	}
	t.Skip("missing: dkimpy (Debian packages python3-dkim, python3-nacl)")
	return ""
}

func TestDkimpyVerifiesOurSignatures(t *testing.T) {
	py := python(t)
	zone := write(t, "dns", "rsa._domainkey.svc.plus "+Record(testKeys[RSA])+"\ned._domainkey.svc.plus "+Record(testKeys[Ed25519])+"\n")
	args, want := []string{"-c", verifyWithDkimpy, zone}, ""
	for name, msg := range oddMails {
		if name == "space before colon" {
			continue // it refuses this old syntax
		}
		path := write(t, name, sign(t, msg))
		args = append(args, path)
		want += "True rsa " + path + "\nTrue ed " + path + "\n"
	}
	if got := peer(t, "", py, args...); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// Its small tool signs with SHA-1 only, which RFC 8301 section 3.1 forbids.
func TestSHA1OfOpenDKIMIsRefused(t *testing.T) {
	testmsg := tool(t, "opendkim-testmsg")
	key := filepath.Join(t.TempDir(), "key")
	if err := testKeys[RSA].WriteFile(key); err != nil {
		t.Fatal(err)
	}
	out := peer(t, "Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n"+simpleMail, testmsg, "-C", "-d", "svc.plus", "-s", "rsa", "-k", key)
	got := Verify(t.Context(), content(out), testZone())
	if len(got) != 1 || got[0].Algorithm != "rsa-sha1" || got[0].Value != PermError {
		t.Errorf("%+v\n%q", got, out)
	}
}

const signWithDkimpy = `
import sys, dkim
key = open(sys.argv[1], "rb").read()
for path in sys.argv[2:]:
    msg = open(path, "rb").read()
    for c in "relaxed", "simple":
        sig = dkim.sign(msg, b"rsa", b"svc.plus", key, canonicalize=(c.encode(), b"relaxed"))
        open(path + "." + c, "wb").write(sig + msg)
`

func TestWeVerifyDkimpy(t *testing.T) {
	py := python(t)
	key := filepath.Join(t.TempDir(), "key")
	if err := testKeys[RSA].WriteFile(key); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, name := range []string{"simple", "white space", "folded", "fields twice", "empty lines at the end", "8 bit"} {
		paths = append(paths, write(t, name, oddMails[name]))
	}
	peer(t, "", py, append([]string{"-c", signWithDkimpy, key}, paths...)...)
	for _, path := range paths {
		for _, canon := range []string{".relaxed", ".simple"} {
			msg, err := os.ReadFile(path + canon)
			if err != nil {
				t.Fatal(err)
			}
			got := Verify(t.Context(), content(string(msg)), testZone())
			if len(got) != 1 || got[0].Value != Pass {
				t.Errorf("%s%s: %+v\n%q", path, canon, got, msg)
			}
		}
	}
}

func TestKeyFileOfDkimpy(t *testing.T) {
	dknewkey := tool(t, "dknewkey")
	dir := t.TempDir()
	peer(t, "", dknewkey, "--ktype", "ed25519", filepath.Join(dir, "sel"))
	k, err := LoadKey(filepath.Join(dir, "sel.key"))
	if err != nil {
		t.Fatal(err)
	}
	dns, err := os.ReadFile(filepath.Join(dir, "sel.dns"))
	if err != nil {
		t.Fatal(err)
	}
	if p := Record(k); !strings.Contains(string(dns), p[strings.Index(p, "p="):]) {
		t.Errorf("%q is not in %s", p, dns)
	}
}
