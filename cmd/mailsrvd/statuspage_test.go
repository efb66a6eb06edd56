package main

import (
	"bytes"
	"cmp"
	"context"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
)

// TestStatusPageInABrowser: a real browser shows the page, in both colour schemes
// and on a telephone, and finds nothing to complain about. The pictures are left in
// the directory that $SCREENSHOTS names.
func TestStatusPageInABrowser(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("missing: chromium")
	}
	tr := startDev(t, nil)
	if err := tr.outside(t, "alice@"+dev.Domain); err != nil {
		t.Fatal(err)
	}
	if err := tr.submit(t, "alice", "alice@"+dev.Domain, "friend@example.net"); err != nil {
		t.Fatal(err)
	}
	dir := cmp.Or(os.Getenv("SCREENSHOTS"), t.TempDir())
	for _, look := range []struct {
		name, size string
		dark       bool
	}{{"status", "1200,900", false}, {"status-dark", "1200,900", true}, {"status-telephone", "400,800", false}} {
		shot := filepath.Join(dir, look.name+".png")
		args := []string{"--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--user-data-dir=" + t.TempDir(),
			"--window-size=" + look.size, "--screenshot=" + shot, "--dump-dom"}
		if look.dark {
			args = append(args, "--blink-settings=preferredColorScheme=0")
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		browser := exec.CommandContext(ctx, chromium, append(args, "http://"+tr.cfg.Listen.Status[0]+"/")...)
		browser.WaitDelay = time.Second
		var dom, complaints bytes.Buffer
		browser.Stdout, browser.Stderr = &dom, &complaints
		err := browser.Run()
		cancel()
		if err != nil || !strings.Contains(dom.String(), "saved mail to INBOX") || !strings.Contains(dom.String(), "friend@example.net") {
			t.Errorf("%s: %v\n%s\n%s", look.name, err, dom.String(), complaints.String())
		}
		if strings.Contains(complaints.String(), "CONSOLE") {
			t.Errorf("the browser complains: %s", complaints.String())
		}
		if dark, err := isDark(shot); err != nil || dark != look.dark {
			t.Errorf("%s: dark is %v, %v", look.name, dark, err)
		}
	}
}

// isDark looks at the corner of a picture, which has no text.
func isDark(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		return false, err
	}
	r, g, b, _ := picture.At(2, 2).RGBA()
	return r+g+b < 3*0x8000, nil
}
