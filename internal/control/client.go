package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoDaemon means that nobody listens on the socket: the daemon is not
// running, or it uses another path.
var ErrNoDaemon = errors.New("no daemon is listening")

// Request is one call, as its caller makes it.
type Request struct {
	// Name is the name of the call.
	Name string
	// Args are its arguments, encoded as JSON; nil means none.
	Args any
	// Body is sent after them when it is not nil.
	Body io.Reader
	// Out gets what the handler streams; nil discards it.
	Out io.Writer
}

// Do makes one call to the daemon on the socket path and stores the value of
// its answer in value, unless that is nil. It returns the daemon's own failure
// as *Error, ErrNoDaemon when nobody listens, os.ErrPermission when the socket
// is closed to this user, and other errors when the connection broke. The call
// ends with ctx; after any error but *Error it is unknown whether it was done.
func Do(ctx context.Context, path string, r Request, value any) error {
	conn, err := dial(ctx, path)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := exchange(conn, r, value); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("calling %s: %w", r.Name, context.Cause(ctx))
		}
		return err
	}
	return nil
}

// Reach is nil if a daemon listens on the socket path and we may connect; else the
// error is as that of Do.
func Reach(ctx context.Context, path string) error {
	conn, err := dial(ctx, path)
	if err == nil {
		conn.Close()
	}
	return err
}

// dial connects and tells the two usual failures apart.
func dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return nil, fmt.Errorf("%s: %w", path, ErrNoDaemon)
	case err != nil:
		return nil, fmt.Errorf("connecting to the daemon: %w", err)
	}
	return conn, nil
}

// exchange sends the request and reads the answer. A daemon that refuses early
// answers and closes before the whole body is sent: its answer counts more
// than the failed write.
func exchange(conn net.Conn, r Request, value any) error {
	bodyErr, werr := send(conn, r)
	if bodyErr != nil {
		return fmt.Errorf("reading the body for %s: %w", r.Name, bodyErr)
	}
	rerr := receive(bufio.NewReader(conn), r, value)
	var failure *Error
	if werr != nil && rerr != nil && !errors.As(rerr, &failure) {
		return fmt.Errorf("sending %s: %w", r.Name, werr)
	}
	return rerr
}

// send writes the request line and the body. The first error is the body's
// own; the daemon then sees an unfinished body.
func send(w io.Writer, r Request) (bodyErr, err error) {
	line, err := requestLine(r)
	if err != nil {
		return err, nil
	}
	if _, err := w.Write(line); err != nil || r.Body == nil {
		return nil, err
	}
	return sendBody(w, r.Body)
}

// sendBody writes the body and its zero chunk. It uses no io.ReadFull, which
// would take a body that broke off (io.ErrUnexpectedEOF) for one that ended.
func sendBody(w io.Writer, body io.Reader) (bodyErr, err error) {
	buf := make([]byte, maxChunk)
	for {
		n, rerr := body.Read(buf)
		if _, err := (chunkWriter{w}).Write(buf[:n]); err != nil {
			return nil, err
		}
		if rerr == io.EOF {
			_, err := io.WriteString(w, "0\n")
			return nil, err
		}
		if rerr != nil {
			return rerr, nil
		}
	}
}

// requestLine encodes the request line with its LF.
func requestLine(r Request) ([]byte, error) {
	req := request{Call: r.Name, Body: r.Body != nil}
	if r.Args != nil {
		args, err := json.Marshal(r.Args)
		if err != nil {
			return nil, fmt.Errorf("encoding the arguments of %s: %w", r.Name, err)
		}
		req.Args = args
	}
	line, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encoding the call %s: %w", r.Name, err)
	}
	if len(line) > maxRequestLine {
		return nil, fmt.Errorf("the arguments of %s: %w", r.Name, errLineTooLong)
	}
	return append(line, '\n'), nil
}

// receive reads chunks and the reply line.
func receive(in *bufio.Reader, r Request, value any) error {
	out := r.Out
	if out == nil {
		out = io.Discard
	}
	for {
		first, err := in.Peek(1)
		if err != nil {
			return fmt.Errorf("reading the answer to %s: %w", r.Name, noEOF(err))
		}
		if first[0] == '{' {
			return readReply(in, r.Name, value)
		}
		if err := copyChunk(out, in); err != nil {
			return fmt.Errorf("reading the answer to %s: %w", r.Name, err)
		}
	}
}

// copyChunk copies one chunk to out.
func copyChunk(out io.Writer, in *bufio.Reader) error {
	line, err := readLine(in, 10)
	if err != nil {
		return noEOF(err)
	}
	n, err := parseChunkLength(line)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, in, int64(n))
	return noEOF(err)
}

// readReply reads the reply line into value.
func readReply(in *bufio.Reader, name string, value any) error {
	line, err := readLine(in, maxReplyLine)
	if err != nil {
		return fmt.Errorf("reading the answer to %s: %w", name, noEOF(err))
	}
	var r reply
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("reading the answer to %s: %w", name, errors.Join(errMalformed, err))
	}
	if r.Error != nil {
		return r.Error
	}
	if value == nil {
		return nil
	}
	if err := json.Unmarshal(r.Value, value); err != nil {
		return fmt.Errorf("reading the answer to %s: %w", name, err)
	}
	return nil
}
