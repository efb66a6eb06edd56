package sieve

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// RunError is why a script was stopped. The message is kept then.
type RunError struct {
	// Script is the name of the script, which may be an included one.
	Script string
	Position
	Text string
	// Cause is the error of a hook or of reading the message; nil when the
	// script itself is to blame.
	Cause error
}

func (e *RunError) Error() string {
	s := fmt.Sprintf("%s:%d: %s", e.Script, e.Line, e.Text)
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

func (e *RunError) Unwrap() error { return e.Cause }

// statement is a checked command.
type statement interface {
	exec(r *run) error
}

// test is a checked test.
type test interface {
	eval(r *run) (bool, error)
}

// command is a statement with its place in the script.
type command struct {
	pos int
	statement
}

// Errors that end the execution of a script without being one.
var (
	errStop   = errors.New("stop")
	errReturn = errors.New("return")
)

// run is one execution of a sequence of scripts for one message.
type run struct {
	ctx    context.Context
	env    *Env
	msg    *Message
	limits Limits
	now    time.Time

	header   *header // of the message as edited so far
	edited   *Edit   // the same for the result, nil until it is edited or asked for
	globals  []string
	frame    *frame
	included map[*Script]bool
	pos      int // of the command or test that is executed, in frame.script
	depth    int // of the trace

	result outcome
	work   int // units left
	ticks  int // units until the context is asked again
	// scratch is for folded values, to be used again.
	scratch []byte
}

// frame is what belongs to one execution of one script, included ones too.
type frame struct {
	script  *Script
	locals  []string
	matched []string // the numbered variables
}

// Run judges a message by one script. The Result is never nil: where an error
// is returned, a *RunError or that of ctx, it says to keep the message, as
// RFC 5228 section 2.10.6 wants. m must not be used by others meanwhile; s may.
func (s *Script) Run(ctx context.Context, m *Message, env Env) (*Result, error) {
	return RunAll(ctx, []*Script{s}, m, env)
}

// RunAll judges a message by several scripts in turn, such as the
// administrator's before the user's: a script is followed by the next if it
// keeps the message, whether by a keep command or implicitly. Flags live on from
// script to script, variables do not.
func RunAll(ctx context.Context, scripts []*Script, m *Message, env Env) (*Result, error) {
	r := &run{ctx: ctx, env: &env, msg: m, now: env.Now, result: outcome{implicit: true}}
	if r.now.IsZero() {
		r.now = time.Now()
	}
	if env.Zone != nil {
		r.now = r.now.In(env.Zone)
	}
	res, err := r.all(scripts)
	if err != nil {
		return r.failed(), err
	}
	return res, nil
}

// all executes the scripts and makes the result.
func (r *run) all(scripts []*Script) (res *Result, err error) {
	defer r.recovered(&err)
	for _, s := range scripts {
		done, err := r.one(s)
		if err != nil {
			return nil, err
		}
		if done {
			break
		}
	}
	return r.finish()
}

// one executes one script of the sequence, and reports whether the sequence
// ends with it.
func (r *run) one(s *Script) (done bool, err error) {
	r.limits = s.limits
	r.work, r.ticks = s.limits.Work, ticks
	r.globals = nil
	r.included = nil
	r.result.begin()
	r.enter(s)
	if err := r.msg.readHeader(s.limits.Header); err != nil {
		return false, r.caused(err, "the message cannot be read")
	}
	if r.header == nil {
		r.header = r.msg.header
	}
	if err := r.block(s.commands); err != nil && err != errStop && err != errReturn {
		return false, err
	}
	return !r.result.keeps(), nil
}

// recovered turns a panic, which only a bug of ours can be the cause of, into
// an error: no mail shall be lost by it.
func (r *run) recovered(err *error) {
	if p := recover(); p != nil {
		*err = r.caused(fmt.Errorf("%v\n%s", p, debug.Stack()), "the interpreter failed")
	}
}

// block executes commands.
func (r *run) block(commands []command) error {
	for _, c := range commands {
		r.pos = c.pos
		if err := r.spend(0); err != nil {
			return err
		}
		if err := c.exec(r); err != nil {
			return err
		}
	}
	return nil
}

// ticks is after how many units the context is asked.
const ticks = 1000

// spend pays for a step that looks at n bytes. It fails when the script has
// done too much, or the context has ended.
func (r *run) spend(n int) error {
	units := 1 + n>>6
	r.work -= units
	if r.work < 0 {
		return r.errorf("it does too much work for one message")
	}
	if r.ticks -= units; r.ticks > 0 {
		return nil
	}
	r.ticks = ticks
	if err := r.ctx.Err(); err != nil {
		return r.caused(err, "it was interrupted")
	}
	return nil
}

// errorf is an error of the script at the present command.
func (r *run) errorf(format string, args ...any) error {
	return r.caused(nil, fmt.Sprintf(format, args...))
}

// caused is an error at the present command whose reason is elsewhere.
func (r *run) caused(cause error, text string) error {
	if r.frame == nil { // no script was begun
		return &RunError{Text: text, Cause: cause}
	}
	s := r.frame.script
	return &RunError{Script: s.name, Position: s.position(r.pos), Text: text, Cause: cause}
}

// script is the script that is executed, which may be an included one.
func (r *run) script() *Script { return r.frame.script }
