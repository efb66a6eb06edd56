package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// version is the format of the envelope file that this code writes.
const version = 1

// Item is one queued message as its envelope file holds it. The JSON form is
// the file format and the output of the queue commands.
type Item struct {
	Version int       `json:"version"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	// Size is the length of the message in bytes.
	Size int64 `json:"size"`
	// Held says that no attempt is made until the item is released.
	Held bool `json:"held,omitempty"`
	// Active says that an attempt is under way. It is never in the file.
	Active bool `json:"active,omitempty"`
	// Paced says that the item waits only because of Options.Rate. It is never in
	// the file.
	Paced bool `json:"paced,omitempty"`
	// Envelope is what the message came with, without its recipients.
	Envelope Envelope `json:"envelope"`
	// Recipients are all that the message came with, also those that are done.
	Recipients []Recipient `json:"recipients"`
}

// Envelope is a message.Envelope whose recipients are kept apart, in
// Item.Recipients.
type Envelope struct {
	message.Envelope
	// Recipients hides the embedded field in the JSON form.
	Recipients *struct{} `json:"recipients,omitempty"`
}

// State is where a recipient stands.
type State string

// The states of a recipient.
const (
	Pending   State = "pending"
	Delivered State = "delivered"
	Failed    State = "failed"
)

// Recipient is one recipient of an Item with its state.
type Recipient struct {
	message.Recipient
	State State `json:"state"`
	// Attempts counts those that were made for this recipient.
	Attempts int `json:"attempts,omitempty"`
	// Next is when the next attempt is due, for a pending recipient.
	Next time.Time `json:"next,omitzero"`
	// Last is the result of the last attempt.
	Last *Result `json:"last,omitempty"`
	// Expired says that the recipient failed because its time was up.
	Expired bool `json:"expired,omitempty"`
	// Delayed says that the question of a delay warning is settled.
	Delayed bool `json:"delayed,omitempty"`
	// Owed is the report that the sender must still get about this recipient.
	Owed Report `json:"owed,omitempty"`
}

// Result is the outcome of one attempt.
type Result struct {
	At time.Time `json:"at"`
	// Code, Enhanced and Text are the status; the code of a success is 250.
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced,omitempty"`
	Text     string `json:"text,omitempty"`
	// Remote and Reply are as in message.Outcome.
	Remote string `json:"remote,omitempty"`
	Reply  string `json:"reply,omitempty"`
	// TLS and Notifies are as in message.Outcome.
	TLS      message.TLS `json:"tls,omitzero"`
	Notifies bool        `json:"notifies,omitempty"`
}

// Report is a kind of delivery status notification (RFC 3461 section 4.1).
type Report string

// The kinds of reports, in the words of the NOTIFY parameter.
const (
	NoReport      Report = ""
	ReportSuccess Report = "SUCCESS"
	ReportFailure Report = "FAILURE"
	ReportDelay   Report = "DELAY"
)

func newItem(id string, env message.Envelope, size int64, now time.Time) *Item {
	it := &Item{Version: version, ID: id, Created: now.UTC().Truncate(time.Millisecond), Size: size}
	it.Envelope.Envelope = env
	it.Envelope.Envelope.Recipients = nil
	var next time.Time
	if env.ReleaseAt.After(it.Created) {
		next = env.ReleaseAt
	}
	for _, r := range env.Recipients {
		it.Recipients = append(it.Recipients, Recipient{Recipient: r, State: Pending, Next: next})
	}
	return it
}

// begins is when delivery may begin, from which its time counts.
func (it *Item) begins() time.Time {
	if at := it.Envelope.ReleaseAt; at.After(it.Created) {
		return at
	}
	return it.Created
}

// late is what becomes of an item whose sender wants it back rather than delivered
// after now (RFC 2852 section 4.1.5); nil if it may be delivered.
func (it *Item) late(now time.Time) *message.Outcome {
	by := it.Envelope.DeliverBy
	if !by.Return || now.Before(by.At) {
		return nil
	}
	return &message.Outcome{Err: status.New(554, 4, 7, "The time is over by which the message was to be delivered")}
}

func resultOf(out message.Outcome, now time.Time) *Result {
	r := &Result{At: now.UTC().Truncate(time.Millisecond), Remote: out.Remote, Reply: out.Reply, TLS: out.TLS, Notifies: out.Notifies}
	if e := status.From(out.Err); e != nil {
		r.Code, r.Enhanced, r.Text = e.Code, e.Enhanced.String(), e.Text
	} else {
		r.Code = 250
	}
	return r
}

// pending reports whether some recipient has not come to an end.
func (it *Item) pending() bool {
	for i := range it.Recipients {
		if it.Recipients[i].State == Pending {
			return true
		}
	}
	return false
}

// owes reports whether the sender must still be told something.
func (it *Item) owes() bool {
	for i := range it.Recipients {
		if it.Recipients[i].Owed != NoReport {
			return true
		}
	}
	return false
}

// message gives the envelope for an attempt for these recipients.
func (it *Item) message(rcpts []message.Recipient) message.Envelope {
	env := it.Envelope.Envelope
	env.Recipients = rcpts
	return env
}

// ErrVersion means that an envelope file was written by a later release.
var ErrVersion = errors.New("written by a later version of mailsrvd")

func (it *Item) encode() ([]byte, error) {
	c := *it
	c.Active, c.Paced = false, false
	b, err := json.Marshal(&c)
	if err != nil {
		return nil, fmt.Errorf("encoding the envelope of %s: %w", it.ID, err)
	}
	return append(b, '\n'), nil
}

// decode reads an envelope file. Fields it does not know are ignored; what
// could make the queue act wrongly is an error.
func decode(id string, b []byte) (*Item, error) {
	it := new(Item)
	if err := json.Unmarshal(b, it); err != nil {
		return nil, fmt.Errorf("reading the envelope of %s: %w", id, err)
	}
	if it.Version > version {
		return nil, fmt.Errorf("the envelope of %s (version %d): %w", id, it.Version, ErrVersion)
	}
	if err := it.check(id); err != nil {
		return nil, fmt.Errorf("the envelope of %s: %w", id, err)
	}
	it.Active, it.Paced = false, false
	return it, nil
}

func (it *Item) check(id string) error {
	switch {
	case it.Version < 1:
		return errors.New("has no version")
	case it.ID != id:
		return fmt.Errorf("says it is %q", it.ID)
	case it.Created.IsZero():
		return errors.New("has no date")
	case len(it.Recipients) == 0:
		return errors.New("has no recipients")
	}
	for _, r := range it.Recipients {
		if r.Address == "" {
			return errors.New("has an empty recipient")
		}
		switch r.State {
		case Pending, Delivered, Failed:
		default:
			return fmt.Errorf("has a recipient in the unknown state %q", r.State)
		}
		switch r.Owed {
		case NoReport, ReportSuccess, ReportFailure, ReportDelay:
		default:
			return fmt.Errorf("owes an unknown report %q", r.Owed)
		}
	}
	return nil
}
