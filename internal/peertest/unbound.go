package peertest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// SignZone signs a zone by DNSSEC, with a key of its own, and gives the signed
// text and the key as a trust anchor. The zone's text has absolute names.
func SignZone(t testing.TB, name, zone string) (signed, anchor string) {
	t.Helper()
	keygen, signzone := NeedProgram(t, "ldns-keygen", "ldnsutils"), NeedProgram(t, "ldns-signzone", "ldnsutils")
	dir := t.TempDir()
	run := func(program string, args ...string) string {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", program, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	read := func(file string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	key := run(keygen, "-a", "ECDSAP256SHA256", "-k", name)
	writeFile(t, filepath.Join(dir, "zone"), []byte(ZoneHead(name)+zone))
	run(signzone, "-f", "signed", "zone", key)
	return read("signed"), read(key + ".key")
}

// ZoneHead is what every zone begins with.
func ZoneHead(name string) string {
	return fmt.Sprintf("$TTL 60\n%[1]s SOA ns.%[1]s hostmaster.%[1]s 1 3600 600 86400 60\n%[1]s NS ns.%[1]s\nns.%[1]s A 127.0.0.1\n", name)
}

// StartUnbound runs the validating resolver Unbound on this host's loopback,
// with these zones by their names, and returns its address.
func StartUnbound(t testing.TB, anchors string, zones map[string]string) string {
	t.Helper()
	unbound := NeedProgram(t, "unbound", "unbound")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "anchors"), []byte(anchors))
	conf := fmt.Sprintf(`server:
  interface: 127.0.0.1@%[1]s
  port: %[1]s
  do-daemonize: no
  username: ""
  chroot: ""
  directory: %[2]q
  pidfile: ""
  use-syslog: no
  logfile: ""
  module-config: "validator iterator"
  trust-anchor-file: "%[2]s/anchors"
remote-control:
  control-enable: no
`, port, dir)
	for name, text := range zones {
		file := filepath.Join(dir, "zone-"+name)
		writeFile(t, file, []byte(text))
		conf += fmt.Sprintf("auth-zone:\n  name: %q\n  zonefile: %q\n  for-downstream: no\n  for-upstream: yes\n  fallback-enabled: no\n", name, file)
	}
	writeFile(t, filepath.Join(dir, "conf"), []byte(conf))
	cmd := exec.Command(unbound, "-d", "-c", filepath.Join(dir, "conf"))
	cmd.Stdout, cmd.Stderr = logWriter{t}, logWriter{t}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	AwaitListener(t, addr)
	return addr
}
