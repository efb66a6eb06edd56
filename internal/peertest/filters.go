package peertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Rspamd is a running rspamd of the Debian package's configuration, with all
// state of its own and a resolver of the test's.
type Rspamd struct {
	// HTTP is its normal worker, Milter its proxy as a milter; both host:port.
	HTTP, Milter string
}

// StartRspamd runs rspamd until the test ends. resolver is host:port. extra
// adds files below local.d, by name. It needs root, to become _rspamd.
func StartRspamd(t testing.TB, resolver string, extra map[string]string) Rspamd {
	t.Helper()
	program := NeedProgram(t, "rspamd", "rspamd")
	needRoot(t, "becomes _rspamd")
	dir := SharedDir(t)
	r := Rspamd{HTTP: freePort(t), Milter: freePort(t)}
	for _, d := range []string{"db", "run", "log", "conf", "conf/local.d", "conf/override.d"} {
		makeDir(t, filepath.Join(dir, d))
	}
	host, port, _ := net.SplitHostPort(resolver)
	files := map[string]string{
		"worker-normal.inc":     fmt.Sprintf("bind_socket = %q;\ncount = 1;\n", r.HTTP),
		"worker-proxy.inc":      fmt.Sprintf("bind_socket = %q;\nmilter = yes;\ncount = 1;\nupstream \"local\" { default = yes; hosts = %q; }\n", r.Milter, r.HTTP),
		"worker-controller.inc": "enabled = false;\n",
		"worker-fuzzy.inc":      "enabled = false;\n",
		"logging.inc":           "type = \"console\";\nlevel = \"warning\";\n",
		"rbl.conf":              "enabled = false;\n",
		"asn.conf":              "enabled = false;\n",
		"fuzzy_check.conf":      "enabled = false;\n",
		// A short list of public suffixes: the whole one takes ten seconds to compile.
		"tld.dat":     "example\norg\nnet\ncom\ntest\n",
		"options.inc": fmt.Sprintf("url_tld = \"%s/conf/local.d/tld.dat\";\ncontrol_socket = \"%s/run/control.sock mode=0600\";\ndns { nameserver = [\"%s:%s\"]; timeout = 2s; }\nlocal_addrs = \"\";\n", dir, dir, host, port),
	}
	for name, text := range extra {
		files[name] = text
	}
	for name, text := range files {
		writeFile(t, filepath.Join(dir, "conf/local.d", name), []byte(text))
	}
	owned(t, dir, "_rspamd")
	start(t, program, "-f", "-i", "-u", "_rspamd", "-g", "_rspamd", "-c", "/etc/rspamd/rspamd.conf",
		"--var=DBDIR="+dir+"/db", "--var=RUNDIR="+dir+"/run", "--var=LOGDIR="+dir+"/log", "--var=LOCAL_CONFDIR="+dir+"/conf")
	AwaitListener(t, r.HTTP)
	AwaitListener(t, r.Milter)
	return r
}

// StartClamAV runs clamd with one signature, that of the EICAR test file, and
// clamav-milter before it, until the test ends. It returns the milter's socket.
// It needs root, to become clamav.
func StartClamAV(t testing.TB) string {
	t.Helper()
	clamd := NeedProgram(t, "clamd", "clamav-daemon")
	milter := NeedProgram(t, "clamav-milter", "clamav-milter")
	needRoot(t, "becomes clamav")
	dir := SharedDir(t)
	makeDir(t, filepath.Join(dir, "db"))
	// The published test file as a signature in ClamAV's .ndb form; a database
	// from the network would have it too.
	writeFile(t, filepath.Join(dir, "db/eicar.ndb"), []byte("Eicar-Test:0:*:"+fmt.Sprintf("%x", EICAR)+"\n"))
	writeFile(t, filepath.Join(dir, "clamd.conf"), []byte(fmt.Sprintf("LocalSocket %[1]s/clamd.sock\nLocalSocketMode 666\nDatabaseDirectory %[1]s/db\nForeground yes\nUser clamav\n", dir)))
	writeFile(t, filepath.Join(dir, "milter.conf"), []byte(fmt.Sprintf("MilterSocket %[1]s/milter.sock\nMilterSocketMode 666\nClamdSocket unix:%[1]s/clamd.sock\nForeground yes\nUser clamav\nTemporaryDirectory %[1]s\nOnInfected Reject\nRejectMsg Infected by %%v\nAddHeader Replace\n", dir)))
	owned(t, dir, "clamav")
	start(t, clamd, "-c", dir+"/clamd.conf")
	awaitSocket(t, dir+"/clamd.sock")
	start(t, milter, "-c", dir+"/milter.conf")
	awaitSocket(t, dir+"/milter.sock")
	return dir + "/milter.sock"
}

// StartOpenDKIM runs opendkim as a verifying milter until the test ends, and
// returns its socket. keys has lines of a name below _domainkey and its record.
func StartOpenDKIM(t testing.TB, authservID, keys string) string {
	t.Helper()
	program := NeedProgram(t, "opendkim", "opendkim")
	dir := SharedDir(t)
	writeFile(t, filepath.Join(dir, "keys"), []byte(keys))
	writeFile(t, filepath.Join(dir, "conf"), []byte(fmt.Sprintf("Mode v\nTestDNSData %[1]s/keys\nSocket local:%[1]s/sock\nSyslog no\nAuthservID %[2]s\nAlwaysAddARHeader yes\n", dir, authservID)))
	start(t, program, "-f", "-x", dir+"/conf")
	awaitSocket(t, dir+"/sock")
	return dir + "/sock"
}

// The published test texts of virus scanners and of spam filters.
const (
	EICAR = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`
	GTUBE = `XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X`
)

func needRoot(t testing.TB, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("missing: root, which " + why)
	}
}

// owned gives a directory with all in it to a system's user.
func owned(t testing.TB, dir, name string) {
	t.Helper()
	if out, err := exec.Command("chown", "-R", name, dir).CombinedOutput(); err != nil {
		t.Skipf("missing: user %s: %s", name, out)
	}
}

// freePort is a port of loopback that nobody uses now.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a program in the foreground until the test ends; what it prints is
// shown when the test fails. All it has started ends with it.
func start(t testing.TB, program string, args ...string) {
	t.Helper()
	var out strings.Builder
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", program, out.String())
		}
	})
}

func awaitSocket(t testing.TB, path string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return
		}
	}
	t.Fatalf("nobody listens on %s", path)
}
