package program

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"svc.plus/mailsrvd/internal/asuser"
)

// Command is one run of a program.
type Command struct {
	// Owner is whom it runs as. Dir is its working directory.
	Owner asuser.Owner
	Dir   string
	// Args are the absolute path of the program and its arguments.
	Args []string
	// Env is its whole environment.
	Env []string
	// Stdin is what it reads. It need not read it to its end.
	Stdin io.Reader
}

// Outcome is how a program ended.
type Outcome struct {
	// Exit is its exit code, if Signal is 0.
	Exit int
	// Signal ended it.
	Signal syscall.Signal
	// Output is the beginning of what it wrote on standard output and standard
	// error, at most MaxOutput bytes.
	Output string
}

// MaxOutput bounds what is kept of a program's output; the rest is read and
// thrown away.
const MaxOutput = 4 << 10

// ErrTime means that the program was killed because its time was up.
var ErrTime = errors.New("the program took too long and was killed")

// errStuck means that not even the helper ended.
var errStuck = errors.New("the program could not be ended")

// grace is how long the helper may take to end after the leash is let go.
const grace = 10 * time.Second

// report is what the helper tells, one line of JSON.
type report struct {
	Exit   int    `json:"exit,omitempty"`
	Signal int    `json:"signal,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Run runs a program and waits for its end. When ctx ends before, the program is
// killed, and the error is ErrTime. Other errors mean that it has not run, or that
// it is not known how it ended.
func Run(ctx context.Context, c Command) (Outcome, error) {
	if ctx.Err() != nil {
		return Outcome{}, fmt.Errorf("running a program: %w", context.Cause(ctx))
	}
	leash, hold, err := os.Pipe()
	if err != nil {
		return Outcome{}, fmt.Errorf("running a program: %w", err)
	}
	defer hold.Close()
	defer leash.Close()
	told, tell, err := os.Pipe()
	if err != nil {
		return Outcome{}, fmt.Errorf("running a program: %w", err)
	}
	defer told.Close()
	defer tell.Close()

	out := &head{}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{Helper, strconv.Itoa(c.Owner.UID), strconv.Itoa(c.Owner.GID)}, c.Args...)
	cmd.Dir, cmd.Env, cmd.Stdin = c.Dir, append([]string{}, c.Env...), c.Stdin
	cmd.Stdout, cmd.Stderr = out, out // one pipe, since they are the same
	cmd.ExtraFiles = []*os.File{leash, tell}
	cmd.WaitDelay = time.Second // for who has escaped with our pipes
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := asuser.Start(c.Owner, cmd); err != nil {
		return Outcome{}, err
	}
	tell.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	late := false
	select {
	case err = <-ended:
	case <-ctx.Done():
		late = true
		hold.Close()
		select {
		case err = <-ended:
		case <-time.After(grace):
			return Outcome{}, errors.Join(ErrTime, errStuck)
		}
	}
	r, rerr := readReport(told)
	exit := new(exec.ExitError)
	switch {
	case err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) && !late:
		return Outcome{}, fmt.Errorf("running a program: giving it the message: %w", err)
	case late && (rerr != nil || r.Signal == int(syscall.SIGKILL)):
		return Outcome{}, ErrTime
	case rerr != nil:
		return Outcome{}, fmt.Errorf("running a program: the helper said nothing of its end: %w", errors.Join(rerr, err))
	case r.Error != "":
		return Outcome{}, fmt.Errorf("running a program: %s", r.Error)
	}
	return Outcome{Exit: r.Exit, Signal: syscall.Signal(r.Signal), Output: out.String()}, nil
}

// readReport reads what the helper has told before its end. Nobody else may have
// its pipe, and yet the read does not wait for who has.
func readReport(f *os.File) (r report, err error) {
	f.SetReadDeadline(time.Now().Add(time.Second))
	b := make([]byte, 4<<10)
	n, err := io.ReadFull(f, b)
	if line, _, ok := bytes.Cut(b[:n], []byte("\n")); ok {
		return r, json.Unmarshal(line, &r)
	}
	return r, errors.Join(errors.New("no line"), err)
}

// head keeps the beginning of what is written to it. os/exec writes from one
// goroutine, which may outlive Wait by WaitDelay at most; the text is read after.
type head struct{ b bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	h.b.Write(p[:min(len(p), MaxOutput-h.b.Len())])
	return len(p), nil
}

func (h *head) String() string { return h.b.String() }
