package imapd

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/listen"
)

// idleConns is how many connections share the fixed cost.
const idleConns = 500

// BenchmarkIdleMemory reports what a connection costs that waits in IDLE under
// TLS: the resident memory of a server process of its own, divided.
func BenchmarkIdleMemory(b *testing.B) {
	for b.Loop() {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestIdleServer$", "-test.v")
		cmd.Env = append(os.Environ(), "IMAPD_IDLE_SERVER=1")
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		addr := nextLine(b, lines, "address ")
		idleClient(b, addr) // pays what is paid once
		before := resident(b, in, lines)
		for range idleConns {
			idleClient(b, addr)
		}
		after := resident(b, in, lines)
		b.ReportMetric(float64(after-before)/1024/idleConns, "KiB/conn")
		in.Close()
		cmd.Wait()
	}
}

func nextLine(b *testing.B, lines *bufio.Scanner, prefix string) string {
	b.Helper()
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), prefix); ok {
			return text
		}
	}
	b.Fatal("the server process said nothing")
	return ""
}

func resident(b *testing.B, in io.Writer, lines *bufio.Scanner) int {
	b.Helper()
	fmt.Fprintln(in, "measure")
	n, err := strconv.Atoi(nextLine(b, lines, "resident "))
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func idleClient(b *testing.B, addr string) {
	b.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	r := bufio.NewReader(c)
	fmt.Fprint(c, "a LOGIN alice secret\r\na SELECT INBOX\r\na FETCH 1 BODY.PEEK[]\r\na IDLE\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		if strings.HasPrefix(line, "+") {
			return
		}
	}
}

// TestIdleServer is the server process of BenchmarkIdleMemory.
func TestIdleServer(t *testing.T) {
	if os.Getenv("IMAPD_IDLE_SERVER") == "" {
		return // not for itself
	}
	h := newHarness(t, func(o *Options) { o.Limits.PerUser = 10 * idleConns })
	h.deliver("INBOX", mail("x"))
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := listen.New(raw, listen.Options{Name: "imaps", TLS: testTLS()})
	go h.srv.Serve(t.Context(), ln)
	fmt.Println("address " + raw.Addr().String())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println("resident " + strconv.Itoa(ownResident(t)))
		if dir := os.Getenv("IMAPD_IDLE_PROFILE"); dir != "" {
			writeHeap(t, filepath.Join(dir, "heap"))
		}
	}
	for _, s := range h.sessions() {
		s.cut()
	}
}

// ownResident is the resident memory of this process in bytes, garbage left
// out.
func ownResident(t *testing.T) int {
	time.Sleep(200 * time.Millisecond)
	for range 3 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("missing: /proc")
	}
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	var kib int
	if _, err := fmt.Sscanf(string(rest), "%d kB", &kib); err != nil {
		t.Fatal(err)
	}
	return kib * 1024
}

func (h *harness) sessions() []*session {
	h.srv.mu.Lock()
	defer h.srv.mu.Unlock()
	var list []*session
	for s := range h.srv.sessions {
		list = append(list, s)
	}
	return list
}

func writeHeap(t *testing.T, file string) {
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := pprof.WriteHeapProfile(f); err != nil {
		t.Fatal(err)
	}
}
