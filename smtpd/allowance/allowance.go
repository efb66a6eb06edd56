// Package allowance counts what each user sends, so that a stolen password, or a
// program gone wild, sends hundreds of messages and not millions. The counts of
// the last day are kept in a file and survive a restart.
package allowance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/durable"
	"svc.plus/mailsrvd/internal/status"
)

// Limits are what one user may send within an hour and a day that end now; 0 is
// no limit.
type Limits struct {
	MessagesPerHour, MessagesPerDay     int
	RecipientsPerHour, RecipientsPerDay int
	// Unlimited are accounts without limits; they are counted all the same.
	Unlimited []string
}

// Options are what a Book needs: File and Limits.
type Options struct {
	// File keeps the counts.
	File string
	// Limits are asked for whenever they are needed, since a reload may change
	// them.
	Limits func() Limits

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

const (
	slotLength = 5 * time.Minute
	day        = 24 * time.Hour
	saveEvery  = 15 * time.Second
	maxFile    = 256 << 20
)

// Book is the counts of all users. It is safe for concurrent use.
type Book struct {
	o       Options
	now     func() time.Time
	refused *prometheus.CounterVec

	mu    sync.Mutex // guards what follows
	users map[string]*user
	dirty bool
}

type user struct {
	Slots []slot `json:"slots"` // oldest first
	told  map[string]time.Time
}

// slot is what was sent in five minutes.
type slot struct {
	Start      int64 `json:"start"` // Unix seconds
	Messages   int   `json:"messages"`
	Recipients int   `json:"recipients"`
}

type file struct {
	Version int              `json:"version"`
	Users   map[string]*user `json:"users"`
}

// Open reads the counts that are kept. A file that is damaged is passed over: the
// day begins anew.
func Open(o Options) *Book {
	b := &Book{o: o, now: time.Now, users: map[string]*user{},
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mailsrvd_submission_limited_total", Help: "Submissions refused by a sending limit of a user, by limit."}, []string{"limit"})}
	if b.o.Logger == nil {
		b.o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(b.refused)
	}
	if err := b.load(); err != nil {
		b.o.Logger.Warn("the counts of what users send begin anew", "err", err)
	}
	return b
}

func (b *Book) load() error {
	f, err := os.Open(b.o.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var kept file
	if err := json.NewDecoder(io.LimitReader(f, maxFile)).Decode(&kept); err != nil {
		return fmt.Errorf("reading %s: %w", b.o.File, err)
	}
	if kept.Version != 1 {
		return fmt.Errorf("%s is of version %d", b.o.File, kept.Version)
	}
	for name, u := range kept.Users {
		if u != nil {
			b.users[name] = u
		}
	}
	return nil
}

// May says whether an account may send one more message to so many recipients:
// nil, or a temporary *status.Error that says when to come back. Nothing is
// counted.
func (b *Book) May(account string, recipients int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.check(account, recipients)
}

// Take counts a message, or refuses it as May does.
func (b *Book) Take(account string, recipients int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(account, recipients); err != nil {
		return err
	}
	u := b.users[account]
	if u == nil {
		u = &user{}
		b.users[account] = u
	}
	start := b.now().Truncate(slotLength).Unix()
	if n := len(u.Slots); n == 0 || u.Slots[n-1].Start != start {
		u.forget(b.now())
		u.Slots = append(u.Slots, slot{Start: start})
	}
	last := &u.Slots[len(u.Slots)-1]
	last.Messages++
	last.Recipients += recipients
	b.dirty = true
	return nil
}

// sums adds up what was sent since so long.
func (u *user) sums(now time.Time, since time.Duration) (messages, recipients int) {
	from := now.Add(-since).Unix()
	for _, s := range u.Slots {
		if s.Start > from {
			messages += s.Messages
			recipients += s.Recipients
		}
	}
	return messages, recipients
}

// forget drops what is older than a day.
func (u *user) forget(now time.Time) {
	from := now.Add(-day).Unix()
	u.Slots = slices.DeleteFunc(u.Slots, func(s slot) bool { return s.Start <= from })
}

// check is May with the lock held.
func (b *Book) check(account string, recipients int) error {
	u := b.users[account]
	if u == nil {
		u = &user{}
	}
	name, count, most := b.exceeded(u, account, recipients)
	if name == "" {
		return nil
	}
	b.refused.WithLabelValues(name).Inc()
	now := b.now()
	if now.Sub(u.told[name]) >= time.Hour && b.users[account] != nil {
		if u.told == nil {
			u.told = map[string]time.Time{}
		}
		u.told[name] = now
		b.o.Logger.Warn("a user has reached a sending limit; if that is not usual, the password may be stolen",
			"user", account, "limit", name, "sent", count, "max", most)
	}
	return status.New(450, 7, 1, fmt.Sprintf("You have reached the limit of this server, %d %s; try again later", most, limitText[name]))
}

var limitText = map[string]string{
	"messages_per_hour": "messages within an hour", "messages_per_day": "messages within a day",
	"recipients_per_hour": "recipients within an hour", "recipients_per_day": "recipients within a day",
}

// exceeded names the limit that one more message would break, "" if none.
func (b *Book) exceeded(u *user, account string, recipients int) (name string, count, most int) {
	l := b.o.Limits()
	if slices.Contains(l.Unlimited, account) {
		return "", 0, 0
	}
	now := b.now()
	hourM, hourR := u.sums(now, time.Hour)
	dayM, dayR := u.sums(now, day)
	for _, c := range []struct {
		name             string
		count, more, max int
	}{
		{"messages_per_hour", hourM, 1, l.MessagesPerHour}, {"messages_per_day", dayM, 1, l.MessagesPerDay},
		{"recipients_per_hour", hourR, recipients, l.RecipientsPerHour}, {"recipients_per_day", dayR, recipients, l.RecipientsPerDay},
	} {
		if c.max > 0 && c.count+c.more > c.max {
			return c.name, c.count, c.max
		}
	}
	return "", 0, 0
}

// Usage is what one user has sent.
type Usage struct {
	User           string `json:"user"`
	MessagesHour   int    `json:"messages_hour"`
	MessagesDay    int    `json:"messages_day"`
	RecipientsHour int    `json:"recipients_hour"`
	RecipientsDay  int    `json:"recipients_day"`
	// Limit is the limit that keeps the next message back, "" if none does.
	Limit string `json:"limit,omitempty"`
}

// Usage lists who has sent something within a day, those who sent most first.
func (b *Book) Usage() []Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	list := []Usage{}
	for name, u := range b.users {
		s := Usage{User: name}
		s.MessagesHour, s.RecipientsHour = u.sums(now, time.Hour)
		if s.MessagesDay, s.RecipientsDay = u.sums(now, day); s.MessagesDay == 0 {
			continue
		}
		s.Limit, _, _ = b.exceeded(u, name, 1)
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Usage) int {
		return cmp.Or(b.RecipientsDay-a.RecipientsDay, cmp.Compare(a.User, b.User))
	})
	return list
}

// Reset forgets what a user has sent; false means that there is nothing.
func (b *Book) Reset(account string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.users[account]
	delete(b.users, account)
	b.dirty = b.dirty || ok
	b.save()
	return ok
}

// Run keeps the counts in the file until ctx ends, and then once more.
func (b *Book) Run(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		ended := false
		select {
		case <-ctx.Done():
			ended = true
		case <-tick.C:
		}
		b.mu.Lock()
		b.save()
		b.mu.Unlock()
		if ended {
			return
		}
	}
}

// save writes the file if something has changed. b.mu is held.
func (b *Book) save() {
	if !b.dirty {
		return
	}
	b.dirty = false
	now := b.now()
	for name, u := range b.users {
		if u.forget(now); len(u.Slots) == 0 {
			delete(b.users, name)
		}
	}
	root, err := os.OpenRoot(filepath.Dir(b.o.File))
	if err == nil {
		err = durable.WriteFile(root, filepath.Base(b.o.File), 0o600, nil, func(w io.Writer) error {
			return json.NewEncoder(w).Encode(file{Version: 1, Users: b.users})
		})
		root.Close()
	}
	if err != nil {
		b.o.Logger.Warn("keeping the counts of what users send", "err", err)
	}
}
