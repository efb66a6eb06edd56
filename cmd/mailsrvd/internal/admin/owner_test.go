package admin

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"svc.plus/mailsrvd/smtpd/queue"
)

// TestMain lets the test binary play root's command on a stopped server's
// queue, since that gives its identity away for good.
func TestMain(m *testing.M) {
	if dir := os.Getenv("ADMIN_TEST_QUEUE"); dir != "" {
		if _, err := (Queue{Socket: dir + "/none", Dir: dir, Hostname: "h.example"}).Change(ctx, "hold", queue.Filter{}); err != nil {
			println(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestRootLeavesTheQueueToItsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to work on another user's queue")
	}
	q, open := filled(t)
	open.Close()
	if err := os.Chmod(filepath.Dir(q.Dir), 0o711); err != nil {
		t.Fatal(err)
	}
	chownAll(t, q.Dir, 20001)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "ADMIN_TEST_QUEUE="+q.Dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files, err := os.ReadDir(q.Dir)
	if err != nil || len(files) < 5 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		fi, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if uid := fi.Sys().(*syscall.Stat_t).Uid; uid != 20001 {
			t.Errorf("%s belongs to %d", f.Name(), uid)
		}
	}
	items, err := queue.ReadDir(q.Dir)
	if err != nil || len(items) != 2 || !items[0].Held {
		t.Errorf("%+v, %v", items, err)
	}
}

func chownAll(t *testing.T, dir string, uid int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, uid, uid)
	})
	if err != nil {
		t.Fatal(err)
	}
}
