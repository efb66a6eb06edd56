// Package sendmail is the sendmail command of old: it reads a message from
// standard input and submits it through the daemon's socket, on which the
// kernel says who the user is.
package sendmail

import (
	"fmt"
	"strings"
)

// The exit codes of sysexits.h that sendmail's callers know.
const (
	ExitOK       = 0
	ExitUsage    = 64 // wrong arguments
	ExitData     = 65 // the message cannot be read, or no recipient is in it
	ExitNoUser   = 67 // a recipient was refused; the others have the message
	ExitRefused  = 69 // the message was refused
	ExitTempFail = 75 // nothing was sent; try again later
	ExitNoPerm   = 77 // this sender address is not the user's
)

// Mode is what the command does.
type Mode int

// The modes.
const (
	Deliver Mode = iota // -bm, the default
	SMTP                // -bs: speak SMTP on standard input and output
	List                // -bp, mailq: list the queue
	Nothing             // -bi, newaliases: nothing to do
	Flush               // -q: attempt what waits in the queue
)

// Options are the command line.
type Options struct {
	Mode Mode
	// FromHeader takes the recipients from To, Cc and Bcc as well (-t).
	FromHeader bool
	// Sender is the reverse-path (-f), FullName the name for a From field
	// (-F).
	Sender, FullName string
	// SenderSet says that -f was given; an empty one is the null reverse-path.
	SenderSet bool
	// DotIsText reads to the end of the input: a line with only a dot is text
	// (-i).
	DotIsText bool
	// Notify, Ret and EnvID are the DSN options (-N, -R, -V).
	Notify     []string
	Ret, EnvID string
	// Config is the configuration file (-C); empty for the usual one.
	Config string
	// Verbose shows the dialogue (-v).
	Verbose    bool
	Recipients []string
}

// withValue are the options that take a value, attached or as the next
// argument. Those that do nothing here are taken all the same: scripts pass
// them.
const withValue = "fFrNRVBbCDdhLMOoPpqTX"

// optional are those whose value must be attached.
const optional = "q"

// Parse reads the arguments after the command's name. Its error is one of
// usage.
func Parse(args []string) (Options, error) {
	var o Options
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			o.Recipients = append(o.Recipients, args...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			o.Recipients = append(o.Recipients, arg)
			continue
		}
		rest, err := o.cluster(arg[1:], args)
		if err != nil {
			return o, err
		}
		args = rest
	}
	return o, nil
}

// cluster reads one argument of options, "-ti" or "-fsender", and returns the
// arguments that follow its value.
func (o *Options) cluster(letters string, args []string) ([]string, error) {
	for i := 0; i < len(letters); i++ {
		c := letters[i]
		if strings.IndexByte(withValue, c) < 0 {
			if err := o.flag(c); err != nil {
				return nil, err
			}
			continue
		}
		value := letters[i+1:]
		if value == "" && strings.IndexByte(optional, c) < 0 {
			if len(args) == 0 {
				return nil, fmt.Errorf("option -%c needs a value", c)
			}
			value, args = args[0], args[1:]
		}
		return args, o.value(c, value)
	}
	return args, nil
}

func (o *Options) flag(c byte) error {
	switch c {
	case 't':
		o.FromHeader = true
	case 'i':
		o.DotIsText = true
	case 'v':
		o.Verbose = true
	case 'G', 'm', 'n', 's', 'U', 'x':
		// of no meaning here
	default:
		return fmt.Errorf("unknown option -%c", c)
	}
	return nil
}

func (o *Options) value(c byte, v string) error {
	switch c {
	case 'f', 'r':
		o.Sender, o.SenderSet = strings.Trim(v, "<>"), true
	case 'C':
		o.Config = v
	case 'F':
		o.FullName = v
	case 'b':
		return o.mode(v)
	case 'q':
		o.Mode = Flush
	case 'o':
		// -oi is the only one of sendmail's many that says something to us.
		o.DotIsText = o.DotIsText || v == "i"
	case 'N':
		return o.notify(v)
	case 'R':
		o.Ret = map[string]string{"full": "FULL", "hdrs": "HDRS"}[strings.ToLower(v)]
		if o.Ret == "" {
			return fmt.Errorf("-R %s: want full or hdrs", v)
		}
	case 'V':
		o.EnvID = v
	}
	return nil
}

func (o *Options) mode(v string) error {
	modes := map[string]Mode{"m": Deliver, "s": SMTP, "p": List, "i": Nothing}
	m, known := modes[v]
	if !known {
		return fmt.Errorf("-b%s is not supported (-bm, -bs, -bp, -bi are)", v)
	}
	o.Mode = m
	return nil
}

func (o *Options) notify(v string) error {
	for word := range strings.SplitSeq(strings.ToUpper(v), ",") {
		switch word {
		case "NEVER", "SUCCESS", "FAILURE", "DELAY":
			o.Notify = append(o.Notify, word)
		default:
			return fmt.Errorf("-N %s: want never, or some of success, failure, delay", v)
		}
	}
	if len(o.Notify) > 1 && strings.Contains(strings.ToUpper(v), "NEVER") {
		return fmt.Errorf("-N %s: never stands alone", v)
	}
	return nil
}
