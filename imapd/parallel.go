package imapd

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// searchChunk is how many messages one worker takes at a time.
const searchChunk = 64

// progressEvery is how often a client hears that we are still at work.
const progressEvery = 10 * time.Second

// inChunks calls work for the numbers 0 to n in chunks of searchChunk. If it
// costs more than memory, several goroutines share the chunks, since reading
// messages is work for every processor. How many do so in the whole server is
// bounded, so that no search takes all. work must not touch the connection.
func (s *session) inChunks(c *call, price cost, n int, work func(lo, hi int) error) error {
	chunks := (n + searchChunk - 1) / searchChunk
	workers := min(runtime.GOMAXPROCS(0), chunks)
	if price <= costStat {
		for lo := 0; lo < n; lo += searchChunk {
			if err := work(lo, min(lo+searchChunk, n)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.enc.Flush(); err != nil {
		return err
	}
	var next atomic.Int64
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= chunks {
					return
				}
				errs[w] = s.guarded(func() error { return work(i*searchChunk, min((i+1)*searchChunk, n)) })
			}
		})
	}
	s.waitFor(c, &wg, func() int { return min(int(next.Load())*searchChunk, n) }, n)
	return errors.Join(errs...)
}

// guarded runs work with one of the server's slots. A panic becomes an error: it
// must not end the process.
func (s *session) guarded(work func() error) (err error) {
	s.srv.searching <- struct{}{}
	defer func() {
		<-s.srv.searching
		if p := recover(); p != nil {
			err = fmt.Errorf("panic while searching: %v", p)
		}
	}()
	return work()
}

// waitFor waits for workers, and tells the client now and then how far they are
// (INPROGRESS, RFC 9585): clients and firewalls give up on a silent server.
func (s *session) waitFor(c *call, wg *sync.WaitGroup, at func() int, goal int) {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			s.progress(c, at(), goal)
		}
	}
}

// progress tells how far a command is.
func (s *session) progress(c *call, at, goal int) {
	if !s.caps.on("INPROGRESS") {
		return
	}
	s.enc.Raw("* OK [INPROGRESS (").String(c.tag).SP().Number(uint64(at)).SP().Number(uint64(goal)).
		Raw(")] Still working").CRLF()
	s.enc.Flush() // a broken connection is noticed at the end
}
