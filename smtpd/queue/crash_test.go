package queue

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

// The crash test runs a queue in a child process, kills it with SIGKILL at
// random moments, and starts it again on the same directory. The child prints
// "queued ID" after each Enqueue and appends each delivery to a file, as a
// remote host would. In the end everything acknowledged must have arrived.

const crashDirEnv = "MAILSRVD_QUEUE_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDirEnv); dir != "" {
		crashChild(dir)
		return
	}
	os.Exit(m.Run())
}

// remoteFile is a Transport that appends to a file: what is in it has been
// accepted with 250.
type remoteFile struct {
	mu sync.Mutex
	f  *os.File
}

func (r *remoteFile) Attempt(_ context.Context, env message.Envelope, c *message.Content, rcpts []message.Recipient) []message.Outcome {
	outs := make([]message.Outcome, len(rcpts))
	body, _ := io.ReadAll(c.NewReader())
	for i, to := range rcpts {
		if rand.IntN(4) == 0 {
			outs[i] = later
			continue
		}
		r.mu.Lock()
		fmt.Fprintf(r.f, "%s %s %s\n", env.Trace, to.Address, strings.TrimSpace(string(body)))
		r.mu.Unlock()
	}
	return outs
}

func crashChild(dir string) {
	f, err := os.OpenFile(filepath.Join(dir, "remote"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	q, err := Open(Options{
		Dir: filepath.Join(dir, "queue"), Hostname: "mail.example.org", Transport: &remoteFile{f: f},
		RetryMin: time.Millisecond, RetryMax: 5 * time.Millisecond,
	})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { q.Run(ctx) })
	if os.Getenv("MAILSRVD_QUEUE_CRASH_DRAIN") != "" {
		for q.Stats().Items > 0 {
			time.Sleep(time.Millisecond)
		}
		stop()
		run.Wait()
		return
	}
	for w := range 4 {
		go crashWriter(q, w)
	}
	select {}
}

func crashWriter(q *Queue, w int) {
	for n := 0; ; n++ {
		id := fmt.Sprintf("p%dw%dn%d", os.Getpid(), w, n)
		env := message.Envelope{Trace: id, ReversePath: "alice@example.org"}
		for _, a := range []string{"bob@a.example", "eve@b.example"} {
			env.Recipients = append(env.Recipients, message.Recipient{Address: a})
		}
		if err := q.Enqueue(context.Background(), env, message.FromBytes([]byte("body-of-"+id+"\r\n"))); err != nil {
			panic(err)
		}
		fmt.Printf("queued %s\n", id)
	}
}

func child(t *testing.T, dir string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), crashDirEnv+"="+dir), env...)
	cmd.Stderr = testWriter{t}
	return cmd
}

func TestNothingAcknowledgedIsLostWhenKilled(t *testing.T) {
	dir := t.TempDir()
	acknowledged := make(map[string]bool)
	rounds := 15
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		for _, id := range runAndKill(t, dir) {
			acknowledged[id] = true
		}
	}
	if len(acknowledged) == 0 {
		t.Fatal("the child never got to acknowledge anything")
	}
	if err := child(t, dir, "MAILSRVD_QUEUE_CRASH_DRAIN=1").Run(); err != nil {
		t.Fatal(err)
	}
	arrived := make(map[string]int)
	b, err := os.ReadFile(filepath.Join(dir, "remote"))
	if err != nil {
		t.Fatal(err)
	}
	twice := 0
	for line := range strings.Lines(string(b)) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		address, body, _ := strings.Cut(rest, " ")
		if body != "body-of-"+id {
			t.Fatalf("message %s arrived as %q", id, body)
		}
		if arrived[id+address]++; arrived[id+address] > 1 {
			twice++
		}
	}
	for id := range acknowledged {
		if arrived[id+"bob@a.example"] == 0 || arrived[id+"eve@b.example"] == 0 {
			t.Errorf("%s was acknowledged and did not arrive everywhere", id)
		}
	}
	left, err := os.ReadDir(filepath.Join(dir, "queue"))
	if err != nil || len(left) != 1 {
		t.Errorf("left in the queue: %v, %v", left, err)
	}
	t.Logf("%d acknowledged in %d lives, %d arrived twice", len(acknowledged), rounds, twice)
}

// runAndKill lets a child live for a moment and returns what it acknowledged.
func runAndKill(t *testing.T, dir string) []string {
	t.Helper()
	cmd := child(t, dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// It dies after some acknowledgements and a random moment more.
	quota := rand.IntN(30)
	var ids []string
	var once sync.Once
	kill := func() { cmd.Process.Kill() }
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		if id, ok := strings.CutPrefix(sc.Text(), "queued "); ok {
			ids = append(ids, id)
		}
		if len(ids) > quota {
			once.Do(func() { time.AfterFunc(time.Duration(rand.IntN(int(5*time.Millisecond))), kill) })
		}
	}
	cmd.Wait()
	return ids
}
