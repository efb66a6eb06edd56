package daemon

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/auth/passwdfile"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
)

// Renewed files are taken over by themselves, broken ones complained about once,
// and an end that is near once a day.
func TestRenewedCertificatesAreTakenOver(t *testing.T) {
	d := newDaemon(t)
	var log bytes.Buffer
	d.log = slog.New(slog.NewTextHandler(&log, nil))
	dir := filepath.Dir(d.cfg.File)
	before := d.certs.Leaves()[0]

	other, err := dev.Make(dev.Options{Dir: t.TempDir(), HashPassword: passwdfile.HashFast, NewDKIMKey: func() ([]byte, error) { return []byte("x"), nil }})
	if err != nil {
		t.Fatal(err)
	}
	move := func(name string) {
		b, err := os.ReadFile(filepath.Join(other.Dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	move("cert.pem")
	for range 3 {
		d.refreshCertificates(time.Now())
	}
	if n := strings.Count(log.String(), "not in use"); n != 1 || d.certs.Leaves()[0] != before {
		t.Errorf("half a renewal is logged %d times:\n%s", n, log.String())
	}
	move("key.pem")
	d.refreshCertificates(time.Now())
	if d.certs.Leaves()[0].Equal(before) || !strings.Contains(log.String(), "new certificates") {
		t.Errorf("the renewal is not in use:\n%s", log.String())
	}
	soon := d.certs.NotAfter().Add(-3 * 24 * time.Hour)
	for _, at := range []time.Time{soon, soon.Add(time.Hour), soon.Add(25 * time.Hour)} {
		d.refreshCertificates(at)
	}
	if n := strings.Count(log.String(), "ends soon"); n != 2 || !strings.Contains(log.String(), "days=3") {
		t.Errorf("the end is announced %d times:\n%s", n, log.String())
	}
}
