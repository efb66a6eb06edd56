package listen

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// recorder is a connection that remembers its deadlines and moves bytes
// without waiting.
type recorder struct {
	net.Conn
	read, write time.Time
	pieces      []int
}

func (r *recorder) SetReadDeadline(t time.Time) error  { r.read = t; return nil }
func (r *recorder) SetWriteDeadline(t time.Time) error { r.write = t; return nil }
func (r *recorder) Read(p []byte) (int, error)         { return len(p), nil }
func (r *recorder) Write(p []byte) (int, error) {
	r.pieces = append(r.pieces, len(p))
	return len(p), nil
}
func (r *recorder) RemoteAddr() net.Addr { return &net.UnixAddr{} }
func (r *recorder) Close() error         { return nil }

func record(t *testing.T, o Options) (*Conn, *recorder) {
	r := &recorder{}
	return newTest(t, o).admit(r), r
}

func TestRollingDeadlineIsRenewedByTraffic(t *testing.T) {
	for name, traffic := range map[string]func(*Conn){
		"read":  func(c *Conn) { c.Read(make([]byte, 1)) },
		"write": func(c *Conn) { c.Write(make([]byte, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			c, r := record(t, Options{RollingDeadlines: true})
			c.SetDeadline(time.Now().Add(time.Minute))
			// As if half a minute had passed without traffic.
			c.read.at = c.read.at.Add(-30 * time.Second)
			c.write.at = c.write.at.Add(-30 * time.Second)
			traffic(c)
			for side, d := range map[string]time.Time{"read": r.read, "write": r.write} {
				if left := time.Until(d); left < 50*time.Second || left > time.Minute {
					t.Errorf("%s deadline in %v", side, left)
				}
			}
		})
	}
}

func TestFixedDeadlineStays(t *testing.T) {
	c, r := record(t, Options{})
	at := time.Now().Add(time.Minute)
	c.SetDeadline(at)
	c.Read(make([]byte, 1))
	c.Write(make([]byte, 1))
	if !r.read.Equal(at) || !r.write.Equal(at) {
		t.Errorf("deadlines moved: %v, %v", r.read, r.write)
	}
}

func TestClearedAndPastDeadlinesAreNotRenewed(t *testing.T) {
	for name, at := range map[string]time.Time{"none": {}, "past": time.Now().Add(-time.Hour)} {
		t.Run(name, func(t *testing.T) {
			c, r := record(t, Options{RollingDeadlines: true})
			c.SetDeadline(at)
			c.Read(make([]byte, 1))
			if !r.read.Equal(at) || !r.write.Equal(at) {
				t.Errorf("deadlines moved: %v, %v", r.read, r.write)
			}
		})
	}
}

func TestFrequentTrafficSparesTheTimer(t *testing.T) {
	c, r := record(t, Options{RollingDeadlines: true})
	c.SetDeadline(time.Now().Add(time.Minute))
	before := r.read
	c.Read(make([]byte, 1))
	if !r.read.Equal(before) {
		t.Error("renewed although hardly any time has passed")
	}
}

func TestRollingWriteGoesInPieces(t *testing.T) {
	c, r := record(t, Options{RollingDeadlines: true})
	n, err := c.Write(make([]byte, 3*writePiece+5))
	if n != 3*writePiece+5 || err != nil || len(r.pieces) != 4 {
		t.Errorf("wrote %d in %v, %v", n, r.pieces, err)
	}
}

func TestPastDeadlineWakesABlockedRead(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := newTest(t, Options{RollingDeadlines: true}).admit(a)
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(c, make([]byte, 2))
		done <- err
	}()
	b.Write([]byte("x")) // the reader is in its second Read now, or about to be
	c.SetReadDeadline(time.Unix(1, 0))
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read = %v", err)
	}
}
