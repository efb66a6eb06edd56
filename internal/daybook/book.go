package daybook

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	saveEvery  = 30 * time.Second
	retryAfter = time.Hour
	// maxDelay spreads the reports of all senders over some hours of the day.
	maxDelay = 4 * time.Hour
	// giveUp is when a day is forgotten that could not be reported, counted from
	// its end.
	giveUp = 36 * time.Hour
)

// Options are what a Book needs.
type Options[T any] struct {
	Store[T]
	// About names in the log what is reported, as in "TLS report".
	About string
	// MaxDomains bounds the domains of a day; further ones are not counted.
	MaxDomains int
	// On says whether anything is counted and sent. It is asked whenever that
	// matters, since a reload may change it.
	On func() bool
	// Send tells one domain what a day, which began at start, has brought for it.
	// An error puts it off for an hour; what Send has written into t is kept.
	Send func(ctx context.Context, start time.Time, domain string, t *T) error
	// Pace is the least time between two domains.
	Pace time.Duration
	// Delay is how long after midnight a day is reported; 0 is chosen by lot. Now
	// is the clock; nil is the system's.
	Delay time.Duration
	Now   func() time.Time
	// Logger may be nil.
	Logger *slog.Logger
}

// Book counts today, and reports the days that are over. It is safe for
// concurrent use.
type Book[T any] struct {
	o Options[T]

	mu    sync.Mutex // guards what follows
	date  string     // of today's counts
	today *Day[T]
	dirty bool // today is not saved

	next map[string]time.Time // when a day is tried again; Run's alone
}

// New makes a Book, which goes on with the counts of today that are kept.
func New[T any](o Options[T]) *Book[T] {
	if o.Delay == 0 {
		o.Delay = rand.N(maxDelay)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Book[T]{o: o, next: map[string]time.Time{}}
}

// Count lets add change what today has for a domain.
func (b *Book[T]) Count(domain string, add func(*T)) {
	if !b.o.On() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
	t := b.today.Domains[domain]
	if t == nil {
		if len(b.today.Domains) >= b.o.MaxDomains {
			return
		}
		t = new(T)
		b.today.Domains[domain] = t
	}
	add(t)
	b.dirty = true
}

// turn makes today the present day. mu is held.
func (b *Book[T]) turn() {
	date := b.o.Now().UTC().Format(time.DateOnly)
	if date == b.date {
		return
	}
	b.save()
	day, err := b.o.Load(date)
	if err != nil {
		b.o.Logger.Warn("the counts of a day begin anew", "for", b.o.About, "err", err)
	}
	b.date, b.today = date, day
}

// save writes today's counts, if they have changed. mu is held.
func (b *Book[T]) save() {
	if !b.dirty {
		return
	}
	b.dirty = false
	if err := b.o.Save(b.date, b.today); err != nil {
		b.o.Logger.Warn("keeping the counts of a day", "for", b.o.About, "err", err)
	}
}

// Run saves the counts now and then, and reports days that are over, until ctx
// ends.
func (b *Book[T]) Run(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		b.Round(ctx)
		select {
		case <-ctx.Done():
			b.Close()
			return
		case <-tick.C:
		}
	}
}

// Round is what Run does each time.
func (b *Book[T]) Round(ctx context.Context) {
	b.mu.Lock()
	b.turn()
	b.save()
	b.mu.Unlock()
	if b.o.On() {
		b.sendDue(ctx)
	}
}

// Close saves the counts; Run does it, too.
func (b *Book[T]) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.save()
}

// sendDue reports what is due, a day after the other.
func (b *Book[T]) sendDue(ctx context.Context) {
	for _, date := range b.o.Dates() {
		start, err := time.Parse(time.DateOnly, date)
		end := start.Add(24 * time.Hour)
		now := b.o.Now()
		if err != nil || now.Before(end.Add(b.o.Delay)) || now.Before(b.next[date]) || ctx.Err() != nil {
			continue
		}
		d, err := b.o.Load(date)
		if err != nil {
			b.o.Logger.Warn("the counts of a day are lost", "for", b.o.About, "err", err)
		}
		b.sendDay(ctx, start, d)
		if now.After(end.Add(giveUp)) && len(d.Domains) > 0 && ctx.Err() == nil {
			b.o.Logger.Warn("giving up on reports", "for", b.o.About, "day", date, "domains", len(d.Domains))
			clear(d.Domains)
		}
		b.next[date] = now.Add(retryAfter)
		if err := b.o.Save(date, d); err != nil {
			b.o.Logger.Warn("keeping the counts of a day", "for", b.o.About, "err", err)
		}
	}
}

// sendDay reports to all domains of d, and leaves in it those to try again.
func (b *Book[T]) sendDay(ctx context.Context, start time.Time, d *Day[T]) {
	for domain, t := range d.Domains {
		err := b.o.Send(ctx, start, domain, t)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			b.o.Logger.Info("a report is put off", "for", b.o.About, "domain", domain, "err", err)
			continue
		}
		delete(d.Domains, domain)
		select {
		case <-time.After(b.o.Pace):
		case <-ctx.Done():
			return
		}
	}
}
