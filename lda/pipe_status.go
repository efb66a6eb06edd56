package lda

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"svc.plus/mailsrvd/internal/program"
	"svc.plus/mailsrvd/internal/status"
)

// sysexits are the exit codes of <sysexits.h> with the status that Postfix makes
// of them (src/global/sys_exits.c).
var sysexits = map[int]struct {
	enhanced status.Enhanced
	text     string
}{
	64: {status.Enhanced{5, 3, 0}, "command line usage error"},
	65: {status.Enhanced{5, 6, 0}, "data format error"},
	66: {status.Enhanced{5, 3, 0}, "cannot open input"},
	67: {status.Enhanced{5, 1, 1}, "user unknown"},
	68: {status.Enhanced{5, 1, 2}, "host name unknown"},
	69: {status.Enhanced{5, 3, 0}, "service unavailable"},
	70: {status.Enhanced{5, 3, 0}, "internal software error"},
	71: {status.Enhanced{4, 3, 0}, "system resource problem"},
	72: {status.Enhanced{5, 3, 0}, "critical OS file missing"},
	73: {status.Enhanced{5, 2, 0}, "can't create user output file"},
	74: {status.Enhanced{5, 3, 0}, "input/output error"},
	75: {status.Enhanced{4, 3, 0}, "temporary failure"},
	76: {status.Enhanced{5, 5, 0}, "remote error in protocol"},
	77: {status.Enhanced{5, 7, 0}, "permission denied"},
	78: {status.Enhanced{5, 3, 5}, "local configuration error"},
}

// programStatus is what the end of a program means: nil for exit code 0, whatever
// it said, else what Postfix's local(8) makes of it (src/global/pipe_command.c). An
// enhanced status code at the beginning of its output counts before the exit code;
// of a program that a signal ended, it is tried again.
func programStatus(path string, out program.Outcome) error {
	said := refusalLine(out.Output)
	if out.Signal != 0 {
		return status.Wrap(fmt.Errorf("%s was ended by the signal %v; it said %q", path, out.Signal, said), 451, 3, 0, "Program was ended by a signal, try again later")
	}
	if out.Exit == 0 {
		return nil
	}
	e, text := status.Enhanced{5, 3, 0}, fmt.Sprintf("program ended with status %d", out.Exit)
	if known, ok := sysexits[out.Exit]; ok {
		e, text = known.enhanced, known.text
	}
	if own, rest, ok := enhancedStart(said); ok {
		e, text, said = own, rest, ""
	}
	if said != "" {
		text += ": " + said
	}
	return &status.Error{Code: replyCode(e), Enhanced: e, Text: text, Cause: fmt.Errorf("%s ended with status %d", path, out.Exit)}
}

// replyCode is the SMTP code that goes with an enhanced one.
func replyCode(e status.Enhanced) int {
	switch {
	case e[0] != 5:
		return 451
	case e[1] == 1 || e[1] == 7:
		return 550
	case e[1] == 2:
		return 552
	}
	return 554
}

// refusalLine is the first line of a program's output that says something, fit for
// a reply.
func refusalLine(output string) string {
	for line := range strings.Lines(output) {
		if strings.TrimSpace(line) != "" {
			return refusal(line)
		}
	}
	return ""
}

// enhancedStart takes an enhanced status code of a failure (RFC 3463) off the
// beginning of a text.
func enhancedStart(s string) (e status.Enhanced, rest string, ok bool) {
	code, rest, _ := strings.Cut(s, " ")
	parts := strings.Split(code, ".")
	if len(parts) != 3 || parts[0] != "4" && parts[0] != "5" {
		return e, s, false
	}
	var errs []error
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 16)
		if n > 999 {
			err = strconv.ErrRange
		}
		e[i], errs = int(n), append(errs, err)
	}
	if errors.Join(errs...) != nil {
		return status.Enhanced{}, s, false
	}
	if rest = strings.TrimSpace(rest); rest == "" {
		rest = "refused by a program"
	}
	return e, rest, true
}
