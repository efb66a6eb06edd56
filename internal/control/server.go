package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Handler answers one call. Its value is sent as JSON; nil is sent as an empty
// object. An *Error in the chain of err keeps its kind, any other arrives as
// Failed. ctx ends when the caller goes away, when the call takes longer than
// Options.Timeout, and at the end of a shutdown. A handler that has a body
// reads it before it writes to Call.Out.
type Handler func(ctx context.Context, c *Call) (value any, err error)

// Call is what a handler sees of a request.
type Call struct {
	// Name is the call's name.
	Name string
	// Peer is the process that called.
	Peer Peer
	// Body is the request's body, empty if it has none. It ends with io.EOF
	// only when the caller sent all of it.
	Body io.Reader
	// Out streams to the caller before the reply.
	Out io.Writer

	args json.RawMessage
}

// Decode stores the arguments in v, a pointer to a struct. Fields that v does
// not have are an *Error of kind Invalid: a newer command must not be half
// obeyed.
func (c *Call) Decode(v any) error {
	if len(c.args) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(c.args))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return Errorf(Invalid, "arguments of %s: %v", c.Name, err)
	}
	return nil
}

// Options is what a Server needs.
type Options struct {
	// Handlers are the calls by name. The map must not change.
	Handlers map[string]Handler
	// Allow refuses a peer for all calls; nil lets everybody in who can
	// connect, which the mode of the socket decides.
	Allow func(Peer) error
	// Timeout bounds a call from its request line to its reply; 0 means 5
	// minutes.
	Timeout time.Duration
	// Idle bounds each wait for the caller; 0 means 30 seconds.
	Idle time.Duration
	// MaxCalls bounds the calls at work at one time, others wait; 0 means 64.
	MaxCalls int
	// Logger gets a line for each call; nil discards them.
	Logger *slog.Logger
}

// Server answers calls. It is safe for concurrent use.
type Server struct {
	o     Options
	slots chan struct{}
	// ctx is the parent of every call's context; cancel ends them all.
	ctx    context.Context
	cancel context.CancelFunc

	mu sync.Mutex // guards what follows
	// closed says that Shutdown was called: nothing is accepted any more.
	closed    bool
	listeners map[net.Listener]struct{}
	calls     sync.WaitGroup
}

// New returns a Server that waits for Serve.
func New(o Options) *Server {
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Minute
	}
	if o.Idle <= 0 {
		o.Idle = 30 * time.Second
	}
	if o.MaxCalls <= 0 {
		o.MaxCalls = 64
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, slots: make(chan struct{}, o.MaxCalls), listeners: map[net.Listener]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Serve answers calls on l, a listener of UNIX sockets, until ctx ends or
// Shutdown is called; then it returns nil. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if !s.track(l) {
		l.Close()
		return nil
	}
	defer s.untrack(l)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := s.accept(ctx, l)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("accepting a control connection: %w", err)
		}
		if conn == nil {
			continue
		}
		go func() {
			defer s.calls.Done()
			defer func() { <-s.slots }()
			s.serve(conn)
		}()
	}
}

// track notes l for Shutdown; false means that it has been called.
func (s *Server) track(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) untrack(l net.Listener) {
	l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// accept waits for a free slot and a connection and counts its call. The
// connection is nil when there is nothing to serve yet.
func (s *Server) accept(ctx context.Context, l net.Listener) (*net.UnixConn, error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
	conn, err := l.Accept()
	if err != nil {
		<-s.slots
		var temporary interface{ Temporary() bool }
		if errors.As(err, &temporary) && temporary.Temporary() { // no file descriptors left: others end soon
			time.Sleep(50 * time.Millisecond)
			return nil, nil
		}
		return nil, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !ok {
		conn.Close()
		<-s.slots
		return nil, nil
	}
	s.calls.Add(1)
	return unixConn, nil
}

// Shutdown stops accepting and waits for the calls at work. When ctx ends
// first, it cancels them and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.calls.Wait()
		close(done)
	}()
	defer s.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for control calls: %w", context.Cause(ctx))
	}
}

// serve is the life of one connection.
func (s *Server) serve(conn *net.UnixConn) {
	defer conn.Close()
	start := time.Now()
	ctx, cancel := context.WithTimeout(s.ctx, s.o.Timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now().Add(time.Second)) })
	defer stop()
	rolling := &rollingConn{UnixConn: conn, idle: s.o.Idle, ctx: ctx}
	in := bufio.NewReader(rolling)
	call := &Call{Out: chunkWriter{rolling}}
	value, err := s.answer(ctx, cancel, rolling, in, call)
	if call.Name == "" && errors.Is(err, io.EOF) {
		return // somebody looked whether we live
	}
	if werr := writeReply(rolling, value, err); err == nil {
		err = werr
	}
	// The rest of a body that the handler did not read is left unread: unix(7)
	// sockets keep the reply readable when the write side of the peer breaks.
	attrs := []any{"call", call.Name, "uid", call.Peer.UID, "pid", call.Peer.PID, "dur", time.Since(start)}
	if err != nil {
		s.o.Logger.Warn("control call failed", append(attrs, "err", err)...)
		return
	}
	s.o.Logger.Info("control call", attrs...)
}

// answer reads the request and runs its handler. io.EOF means that there was
// no request.
func (s *Server) answer(ctx context.Context, cancel func(), conn *rollingConn, in *bufio.Reader, call *Call) (any, error) {
	var err error
	if call.Peer, err = PeerOf(conn.UnixConn); err != nil {
		return nil, err
	}
	if s.o.Allow != nil {
		if err := s.o.Allow(call.Peer); err != nil {
			return nil, err
		}
	}
	req, err := readRequest(in)
	if err != nil {
		return nil, err
	}
	call.Name, call.args = req.Call, req.Args
	handler, ok := s.o.Handlers[req.Call]
	if !ok {
		return nil, Errorf(Unknown, "this daemon has no call %.40q", req.Call)
	}
	watch := func() { go conn.watch(cancel) }
	call.Body = bytes.NewReader(nil)
	if req.Body {
		call.Body = &chunkReader{r: in, atEnd: watch}
	} else {
		watch()
	}
	return s.run(ctx, handler, call)
}

// run calls the handler; its panic is an error of this call alone.
func (s *Server) run(ctx context.Context, h Handler, c *Call) (value any, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.o.Logger.Error("control handler panicked", "call", c.Name, "err", fmt.Sprint(r), "stack", string(debug.Stack()))
			value, err = nil, Errorf(Failed, "internal error in %s", c.Name)
		}
	}()
	return h(ctx, c)
}

// readRequest reads and checks the request line.
func readRequest(in *bufio.Reader) (request, error) {
	line, err := readLine(in, maxRequestLine)
	if errors.Is(err, errLineTooLong) {
		return request{}, Errorf(Invalid, "request: %v", err)
	}
	if err != nil {
		return request{}, err
	}
	var req request
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&req); err != nil {
		return request{}, Errorf(Invalid, "request: %v", err)
	}
	if req.Call == "" {
		return request{}, Errorf(Invalid, "request names no call")
	}
	return req, nil
}

// writeReply writes the reply line.
func writeReply(w io.Writer, value any, err error) error {
	var r reply
	switch {
	case err != nil:
		r.Error = asError(err)
	case value == nil:
		r.Value = json.RawMessage("{}")
	default:
		b, merr := json.Marshal(value)
		if merr != nil {
			r.Error = Errorf(Failed, "encoding the reply: %v", merr)
			break
		}
		r.Value = b
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the reply: %w", err)
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("sending the reply: %w", err)
	}
	return nil
}

// rollingConn gives each read and write its own deadline.
type rollingConn struct {
	*net.UnixConn
	idle time.Duration
	ctx  context.Context
}

// Read implements io.Reader.
func (c *rollingConn) Read(p []byte) (int, error) {
	if c.ctx.Err() == nil {
		c.SetReadDeadline(time.Now().Add(c.idle))
	}
	return c.UnixConn.Read(p)
}

// Write implements io.Writer.
func (c *rollingConn) Write(p []byte) (int, error) {
	if c.ctx.Err() == nil {
		c.SetWriteDeadline(time.Now().Add(c.idle))
	}
	return c.UnixConn.Write(p)
}

// watch waits until the caller is gone and then cancels the call. It starts
// when the request has been read whole, so that it takes no byte from anybody,
// and ends when the connection is closed. A caller that only closed its
// sending side still waits for the reply.
func (c *rollingConn) watch(cancel func()) {
	c.UnixConn.SetReadDeadline(time.Time{})
	if _, err := c.UnixConn.Read(make([]byte, 1)); err == nil || !c.hungUp() {
		return
	}
	cancel()
}

// hungUp reports whether the peer has closed both directions.
func (c *rollingConn) hungUp() bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	gone := true
	err = raw.Control(func(fd uintptr) {
		set := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP needs no asking
		n, perr := unix.Poll(set, 0)
		gone = perr != nil || (n > 0 && set[0].Revents&unix.POLLHUP != 0)
	})
	return err != nil || gone
}
