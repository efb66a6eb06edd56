package lda

import "svc.plus/mailsrvd/internal/status"

// The exit codes of the command (sysexits.h), as dovecot-lda's callers know
// them: 75 is tried again, every other failure is final for most.
const (
	// ExitOK: the message is stored and durable.
	ExitOK = 0
	// ExitUsage: the command line is wrong.
	ExitUsage = 64
	// ExitNoUser: there is no such user.
	ExitNoUser = 67
	// ExitTempFail: all that may heal.
	ExitTempFail = 75
	// ExitNoPerm: the message is refused, or the caller may not deliver.
	ExitNoPerm = 77
)

// exitCode turns the outcome of a delivery into an exit code. fullTempfail is
// Dovecot's quota_full_tempfail.
func exitCode(err error, fullTempfail bool) int {
	s := status.From(err)
	switch {
	case s == nil:
		return ExitOK
	case s.Enhanced[1] == 1 && s.Enhanced[2] == 1:
		return ExitNoUser
	case s.Temporary():
		return ExitTempFail
	case s.Enhanced[1] == 2 && s.Enhanced[2] == 2 && fullTempfail:
		return ExitTempFail
	}
	return ExitNoPerm
}

// full reports whether a delivery failed for want of room.
func full(err error) bool {
	s := status.From(err)
	return s != nil && (s.Enhanced[1] == 2 && s.Enhanced[2] == 2 || s.Enhanced[1] == 3 && s.Enhanced[2] == 1)
}
