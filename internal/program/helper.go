package program

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/asuser"
)

// Helper is the name, argv[0], under which our executable is the helper. It takes
// a uid, a gid, and a program with its arguments.
const Helper = "mailsrvd-program"

// IsHelper reports whether this process was started as the helper. main asks before
// anything else, and then only calls Help and exits.
func IsHelper() bool { return len(os.Args) > 0 && filepath.Base(os.Args[0]) == Helper }

// The files that the helper gets beside standard input, output and error.
const (
	leashFile  = 3
	reportFile = 4
)

// Help is the helper's main function.
func Help() {
	closeOnExec()
	r := supervise(os.NewFile(leashFile, "leash"), os.Args[1:])
	line, err := json.Marshal(r)
	if err != nil {
		os.Exit(1)
	}
	os.NewFile(reportFile, "report").Write(append(line, '\n'))
}

// closeOnExec lets the program have standard input, output and error alone, also
// where whoever started the daemon has left files open for us.
func closeOnExec() {
	unix.CloseOnExec(leashFile)
	unix.CloseOnExec(reportFile)
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, f := range list {
		if n, err := strconv.Atoi(f.Name()); err == nil && n > reportFile {
			unix.CloseOnExec(n)
		}
	}
}

// supervise runs the program and tells how it ended.
func supervise(leash *os.File, args []string) report {
	cmd, err := confine(args)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return report{Error: err.Error()}
	}
	group := -cmd.Process.Pid
	go func() {
		io.Copy(io.Discard, leash)
		unix.Kill(group, unix.SIGKILL)
	}()
	err = cmd.Wait()
	unix.Kill(group, unix.SIGKILL) // what it has left behind
	exit := new(exec.ExitError)
	if err != nil && !errors.As(err, &exit) {
		return report{Error: err.Error()}
	}
	ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return report{Error: "its end is not known"}
	case ws.Signaled():
		return report{Signal: int(ws.Signal())}
	}
	return report{Exit: ws.ExitStatus()}
}

// confine makes sure of who we are, gives up what can still be given up, and
// prepares the program.
func confine(args []string) (*exec.Cmd, error) {
	if len(args) < 3 {
		return nil, errors.New("the helper needs a uid, a gid and a program")
	}
	uid, err1 := strconv.Atoi(args[0])
	gid, err2 := strconv.Atoi(args[1])
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	runtime.LockOSThread() // that of the next fork
	if err := asuser.Confined(asuser.Owner{UID: uid, GID: gid}); err != nil {
		return nil, fmt.Errorf("the helper has more rights than it should: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("forbidding new privileges: %w", err)
	}
	// If memory runs out, the kernel shall take the program, not the daemon. Where
	// it does not let us say so, it chooses by size.
	os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	unix.Umask(0o077)
	cmd := exec.Command(args[2], args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd, nil
}
