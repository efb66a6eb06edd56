package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/smtpd/queue"
)

// load submits messages over one connection until stop is closed, each to alice
// here and to a friend of its own elsewhere, and notes whose were acknowledged.
type load struct {
	mu    sync.Mutex
	acked []string
}

func (l *load) run(tr *trial, k int, c *smtp.Client, stop <-chan struct{}) error {
	defer c.Close()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		friend := fmt.Sprintf("friend-%d-%d@example.net", k, n)
		text := "From: <bob@" + dev.Domain + ">\r\nSubject: for " + friend + "\r\n\r\nhello\r\n"
		if err := c.SendMail("bob@"+dev.Domain, []string{friend, "alice@" + dev.Domain}, strings.NewReader(text)); err != nil {
			return err
		}
		l.mu.Lock()
		l.acked = append(l.acked, friend)
		l.mu.Unlock()
	}
}

func (l *load) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.acked...)
}

// TestBackupUnderLoadLosesNothing: a backup of a busy server, then its Maildirs;
// the server is killed and all of its files are lost; what was acknowledged
// before the backup is there after the restore.
func TestBackupUnderLoadLosesNothing(t *testing.T) {
	site := devSite(t)
	edit(t, site.Config, "[relay]", "[sieve]\nglobal_dir = \"scripts\"\n[relay]")
	if err := errors.Join(os.Mkdir(site.Dir+"/scripts", 0o755), os.WriteFile(site.Dir+"/scripts/all.sieve", []byte("keep;\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	p := startServe(t, site, os.Args[0], nil)
	tr := &trial{Site: site, cfg: p.cfg}
	l, stop, done := &load{}, make(chan struct{}), make(chan error, 3)
	for k := range cap(done) {
		c, err := smtp.DialTLS(tr.cfg.Listen.Submissions[0], tr.tls(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Auth(sasl.NewPlainClient("", "bob", tr.Passwords["bob"])); err != nil {
			t.Fatal(err)
		}
		go func() { done <- l.run(tr, k, c, stop) }()
	}
	for deadline := time.Now().Add(patience); len(l.list()) < 60; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the load does not come up")
		}
	}
	if code, _, stderr := tr.command(t, "", "dkim", "rotate", dev.Domain); code != 0 {
		t.Fatalf("dkim rotate: exit %d: %s", code, stderr)
	}
	before := l.list()
	file := filepath.Join(filepath.Dir(site.Dir), filepath.Base(site.Dir)+".tar.gz")
	t.Cleanup(func() { os.Remove(file) })
	if code, stdout, stderr := tr.command(t, "", "backup", file); code != 0 || !strings.Contains(stdout, "queued messages") {
		t.Fatalf("backup: exit %d: %s%s", code, stdout, stderr)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the backup: %v, %v", fi, err)
	}
	homes := t.TempDir()
	if out, err := exec.Command("cp", "-a", site.Dir+"/home", homes).CombinedOutput(); err != nil && !strings.Contains(string(out), "No such file") {
		t.Fatalf("%v: %s", err, out) // files may be renamed from tmp/ meanwhile
	}
	close(stop)
	for range cap(done) {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	p.Process.Kill()
	p.Wait()
	modes := fileModes(t, site.Dir)
	lost := site.Dir + ".lost"
	if err := os.Rename(site.Dir, lost); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(lost) })

	if code, stdout, stderr := tr.command(t, "", "restore", file); code != 0 || !strings.Contains(stdout, "queued messages") {
		t.Fatalf("restore: exit %d: %s%s", code, stdout, stderr)
	}
	if out, err := exec.Command("cp", "-a", homes+"/home", site.Dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	restored := fileModes(t, site.Dir)
	for _, key := range []string{"key.pem", "passwd", "dkim/" + dev.Domain + "." + dev.Selector + ".key", "dkim", "state", "state/queue", "mailsrvd.toml", "aliases", "scripts/all.sieve"} {
		if m, ok := restored[key]; !ok || m != modes[key] {
			t.Errorf("%s: mode %v, was %v", key, m, modes[key])
		}
	}
	if !maps.Equal(keyFiles(modes), keyFiles(restored)) || len(keyFiles(modes)) != 2 {
		t.Errorf("DKIM keys %v, were %v", keyFiles(restored), keyFiles(modes))
	}
	startServe(t, site, os.Args[0], nil)
	items, err := queue.ReadDir(tr.cfg.QueueDir())
	if err != nil {
		t.Fatal(err)
	}
	queued := map[string]bool{}
	for _, it := range items {
		for _, r := range it.Recipients {
			queued[r.Address] = true
		}
	}
	inbox := strings.Join(tr.mailbox(t, "alice"), "\n")
	for _, friend := range before {
		if !queued[friend] {
			t.Errorf("lost from the queue: %s", friend)
		}
		if !strings.Contains(inbox, "Subject: for "+friend+"\n") {
			t.Errorf("lost from alice's Maildir: %s", friend)
		}
	}
	t.Logf("%d acknowledged before the backup, %d in all; %d queued after the restore", len(before), len(l.list()), len(items))

	// A running server, and files that somebody could miss, are left alone.
	if code, _, stderr := tr.command(t, "", "restore", file); code != 1 || !strings.Contains(stderr, "a server is running") {
		t.Errorf("restore beside a server: exit %d: %s", code, stderr)
	}
}

func keyFiles(modes map[string]fs.FileMode) map[string]fs.FileMode {
	keys := maps.Clone(modes)
	maps.DeleteFunc(keys, func(name string, _ fs.FileMode) bool { return !strings.HasPrefix(name, "dkim/") })
	return keys
}

func fileModes(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	modes := map[string]fs.FileMode{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		modes[name] = fi.Mode()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return modes
}

func TestRestoreRefuses(t *testing.T) {
	dir := t.TempDir()
	archive := func(name string, entries ...tar.Header) string {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range entries {
			text := "x"
			if h.Name == "manifest.json" {
				text = h.Linkname
				h.Linkname = ""
			}
			h.Size, h.Mode = int64(len(text)), 0o600
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			w.Write([]byte(text))
		}
		w.Close()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	manifest := tar.Header{Name: "manifest.json", Linkname: `{"format":1}`}
	root := filepath.Join(dir, "root")
	if err := os.MkdirAll(root+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/etc/other", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, path, want string }{
		{"no archive", "/dev/null", "no backup of mailsrvd"},
		{"another tar file", archive("a", tar.Header{Name: "files/etc/x"}), "no backup of mailsrvd"},
		{"a later format", archive("b", tar.Header{Name: "manifest.json", Linkname: `{"format":2}`}), "a newer mailsrvd"},
		{"a way out", archive("c", manifest, tar.Header{Name: "files/../../x"}), "odd entry"},
		{"no file of ours", archive("d", manifest, tar.Header{Name: "etc/x"}), "odd entry"},
		{"another's file", archive("e", manifest, tar.Header{Name: "files/etc/new"}, tar.Header{Name: "files/etc/other"}), "--force replaces"},
	} {
		if code, _, stderr := runCommand(t, "", "restore", "--root", root, tt.path); code != 1 || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit %d: %s", tt.name, code, stderr)
		}
	}
	if _, err := os.Stat(root + "/etc/new"); err == nil {
		t.Error("a refused restore has written a file")
	}
	if code, _, stderr := runCommand(t, "", "restore", "--force", "--root", root, filepath.Join(dir, "e")); code != 0 {
		t.Errorf("--force: exit %d: %s", code, stderr)
	}
	if b, _ := os.ReadFile(root + "/etc/other"); string(b) != "x" {
		t.Errorf("--force: %q", b)
	}
}
