package queue

import "sync"

// dirSync makes names durable for many writers with few fsyncs of the
// directory: all that wait when one begins are served by it together.
type dirSync struct {
	sync func() error

	mu      sync.Mutex // guards both below
	waiting *syncRound
	running bool
}

// syncRound is one fsync to come; done is closed when it has been made.
type syncRound struct {
	done chan struct{}
	err  error
}

// wait returns when an fsync that began after the call has ended.
func (d *dirSync) wait() error {
	r := d.join()
	<-r.done
	return r.err
}

// soon asks for an fsync without waiting for it.
func (d *dirSync) soon() { d.join() }

func (d *dirSync) join() *syncRound {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		d.waiting = &syncRound{done: make(chan struct{})}
	}
	if !d.running {
		d.running = true
		go d.loop()
	}
	return d.waiting
}

func (d *dirSync) loop() {
	for {
		d.mu.Lock()
		r := d.waiting
		d.waiting = nil
		if r == nil {
			d.running = false
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		r.err = d.sync()
		close(r.done)
	}
}
