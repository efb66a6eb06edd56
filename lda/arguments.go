package lda

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// usage is the help of the command.
const usage = `Usage: mailsrvd lda [options] < message
Delivers a message into the Maildir of a local user, in place of dovecot-lda.

  -d user       deliver to this user; without it, to the calling user
  -f address    envelope sender
  -a address    original envelope recipient
  -r address    final envelope recipient (default: that of -a)
  -m folder     deliver into this folder; INBOX if that is not possible
  -p file       read the message from a file instead of stdin
  -e            write the reason of a failure to stderr in the form that
                Postfix understands
  -c, --config file   the configuration
  -O            ignore the configuration file
  -o name=value override a setting: mail_location, recipient_delimiter,
                lda_mailbox_autocreate, lda_mailbox_autosubscribe,
                quota_full_tempfail; others of Dovecot have no meaning here
  -k, -i name, -L     accepted for dovecot-lda's sake
  -h, --help    this text

Exit status: 0 the message is stored and durable; 64 wrong usage; 67 no such
user; 75 try again later; 77 refused for good, as when the mailbox is full.
`

// arguments is a parsed command line.
type arguments struct {
	user, mailbox, path, config string
	// sender is nil without -f; empty is the null reverse-path.
	sender *string
	// original and final are addresses, empty if not given.
	original, final string
	reason          bool // -e
	ignoreConfig    bool // -O
	help            bool
	settings        []setting
	// warnings are said although the command goes on.
	warnings []string
}

// setting is an option -o name=value.
type setting struct{ name, value string }

// argumentError is a problem of one argument with its own exit code.
type argumentError struct {
	exit int
	text string
	// usage says that the usage text helps.
	usage bool
}

func (e *argumentError) Error() string { return e.text }

func badUsage(format string, args ...any) error {
	return &argumentError{exit: ExitUsage, text: fmt.Sprintf(format, args...), usage: true}
}

// parseArguments reads a command line as getopt(3) does: options may be
// bundled, a value follows its letter at once or as the next argument, and
// "--" ends the options.
func parseArguments(args []string) (*arguments, error) {
	a := &arguments{}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--" && len(args) == 0:
			return a, nil
		case arg == "--":
			return nil, badUsage("Unknown argument: %s", args[0])
		case strings.HasPrefix(arg, "--"):
			rest, err := a.long(arg[2:], args)
			if err != nil {
				return nil, err
			}
			args = rest
		case len(arg) < 2 || arg[0] != '-':
			return nil, badUsage("Unknown argument: %s", arg)
		default:
			rest, err := a.bundle(arg[1:], args)
			if err != nil {
				return nil, err
			}
			args = rest
		}
	}
	return a, nil
}

// long reads one of the two long options, which dovecot-lda does not have.
func (a *arguments) long(name string, rest []string) ([]string, error) {
	name, value, given := strings.Cut(name, "=")
	switch {
	case name == "help" && !given:
		a.help = true
		return rest, nil
	case name == "config" && given:
		a.config = value
		return rest, nil
	case name == "config" && len(rest) > 0:
		a.config = rest[0]
		return rest[1:], nil
	}
	return nil, badUsage("invalid option: --%s", name)
}

// bundle reads the letters of one argument.
func (a *arguments) bundle(letters string, rest []string) ([]string, error) {
	for i := 0; i < len(letters); i++ {
		c := letters[i]
		if a.flag(c) {
			continue
		}
		if !strings.ContainsRune("dfarmpcio", rune(c)) {
			return nil, badUsage("invalid option -- '%c'", c)
		}
		value := letters[i+1:]
		if value == "" {
			if len(rest) == 0 {
				return nil, badUsage("option requires an argument -- '%c'", c)
			}
			value, rest = rest[0], rest[1:]
		}
		return rest, a.value(c, value)
	}
	return rest, nil
}

// flag takes a letter without a value; false means that it is none.
func (a *arguments) flag(c byte) bool {
	switch c {
	case 'e':
		a.reason = true
	case 'O':
		a.ignoreConfig = true
	case 'h':
		a.help = true
	case 'k', 'L':
	default:
		return false
	}
	return true
}

// value takes a letter with its value.
func (a *arguments) value(c byte, value string) (err error) {
	switch c {
	case 'd':
		a.user = value
	case 'm':
		if !utf8.ValidString(value) {
			return &argumentError{exit: ExitTempFail, text: fmt.Sprintf("Mailbox name not UTF-8: %q", value)}
		}
		a.mailbox = value
	case 'p':
		a.path = value
	case 'c':
		a.config = value
	case 'f':
		return a.setSender(value)
	case 'a':
		a.original, err = recipientArgument(c, value)
	case 'r':
		a.final, err = recipientArgument(c, value)
	case 'o':
		name, v, ok := strings.Cut(value, "=")
		if !ok {
			return &argumentError{exit: ExitTempFail, text: "Invalid -o parameter " + value + ": Missing '='"}
		}
		a.settings = append(a.settings, setting{name, v})
	}
	return err
}

// setSender takes -f. As in dovecot-lda, a sender that is broken but harmless
// counts as none, so that the mail is not lost over it.
func (a *arguments) setSender(value string) error {
	address, err := parsePath(value)
	if err != nil && value != "" && value != "<>" {
		if hopelessPath(value) {
			return &argumentError{exit: ExitUsage, text: "Invalid -f parameter: " + err.Error()}
		}
		a.warnings = append(a.warnings, fmt.Sprintf("Broken address in -f parameter, using <> instead: %s", printable(value)))
	}
	a.sender = &address
	return nil
}

// recipientArgument takes -a and -r, which must be good.
func recipientArgument(c byte, value string) (string, error) {
	address, err := parsePath(value)
	if err != nil {
		return "", &argumentError{exit: ExitUsage, text: fmt.Sprintf("Invalid -%c parameter: %v", c, err)}
	}
	return address, nil
}

// hopelessPath reports what dovecot-lda refuses even as a sender.
func hopelessPath(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) || s[0] == ' ' ||
		(s[0] == '<' && !strings.HasSuffix(s, ">")) || openQuote(s)
}

// parsePath reads an address with or without angle brackets and returns it
// without them and without a source route (RFC 5321 section 4.1.2, appendix
// C). The domain may be missing. The null path is an error.
func parsePath(s string) (string, error) {
	switch {
	case s == "":
		return "", errors.New("path is empty string")
	case s == "<>":
		return "", errors.New("null path not allowed")
	case s[0] == '<' && !strings.HasSuffix(s, ">"):
		return "", errors.New("missing '>' at end of path")
	case s[0] == '<':
		s = s[1 : len(s)-1]
		if route, rest, ok := strings.Cut(s, ":"); ok && route[0] == '@' {
			s = rest
		}
	case strings.HasSuffix(s, ">"):
		return "", errors.New("unmatched '>' at end of path")
	}
	local, rest := s, ""
	if at := strings.LastIndexByte(s, '@'); at >= 0 && !openQuote(s[:at]) {
		local, rest = s[:at], s[at:]
	}
	if err := checkPathLocal(local); err != nil {
		return "", err
	}
	if err := checkPathDomain(rest); err != nil {
		return "", err
	}
	return s, nil
}

// checkPathLocal accepts a quoted-string or atoms with dots anywhere.
func checkPathLocal(local string) error {
	if strings.HasPrefix(local, `"`) {
		if _, ok := unquote(local); !ok {
			return errors.New("premature end of quoted string")
		}
		if strings.ContainsFunc(local, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return errors.New("invalid character in quoted string")
		}
		return nil
	}
	if local == "" || strings.ContainsFunc(local, func(r rune) bool {
		return r <= ' ' || r == 0x7f || r == utf8.RuneError || strings.ContainsRune(`"(),:;<>@[\]`, r)
	}) {
		return errors.New("invalid character in localpart")
	}
	return nil
}

// checkPathDomain checks "@domain" or nothing.
func checkPathDomain(rest string) error {
	if rest == "" {
		return nil
	}
	domain := rest[1:]
	if domain == "" {
		return errors.New("missing domain after '@'")
	}
	if strings.HasPrefix(domain, "[") && strings.HasSuffix(domain, "]") {
		domain = strings.ReplaceAll(domain[1:len(domain)-1], ":", "-")
	}
	if strings.ContainsFunc(domain, func(r rune) bool {
		return r < 0x80 && r != '-' && r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return errors.New("invalid character in path")
	}
	return nil
}
