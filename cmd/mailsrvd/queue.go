package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/queue"
)

func (a *app) queueCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "queue",
		Short: "Look into the queue of outbound mail, and change it",
		Long: `The queue holds mail that waits for another server or for a mailbox. These
commands ask the running daemon; when none is running, they work on the queue's
directory itself.`,
	}
	c.AddCommand(
		a.queueListCommand(),
		a.queueShowCommand(),
		a.queueChangeCommand("retry", "Attempt messages now", "tries at once to deliver the chosen messages; held ones stay held."),
		a.queueChangeCommand("hold", "Keep messages from being sent", "keeps the chosen messages in the queue, without attempts and without expiry, until queue release."),
		a.queueChangeCommand("release", "End the hold of messages", "lets the chosen messages go on."),
		a.queueChangeCommand("remove", "Drop messages, or return them to their senders", "drops the chosen messages for good. Their senders are not told,\nunless --bounce is given: then they get them back, as after a delivery that failed."),
	)
	return c
}

// queueOptions choose messages.
type queueOptions struct {
	filter queue.Filter
	all    bool
	bounce bool
	printer
}

func (o *queueOptions) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.filter.Sender, "sender", "", "of this reverse-path `address` (<> for none)")
	c.Flags().StringVar(&o.filter.Recipient, "recipient", "", "for this `address`")
	c.Flags().StringVar(&o.filter.Domain, "domain", "", "for this `domain`")
	c.Flags().BoolVar(&o.filter.Held, "held", false, "that are held")
}

// queue is the queue that the configuration names.
func (a *app) queue() (admin.Queue, error) {
	c, err := a.config()
	if err != nil {
		return admin.Queue{}, err
	}
	return admin.Queue{Socket: c.Socket("control"), Dir: c.QueueDir(), Hostname: c.Hostname}, nil
}

func (a *app) queueListCommand() *cobra.Command {
	var o queueOptions
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the messages in the queue, oldest first",
		Example: "  mailsrvd queue list\n  mailsrvd queue list --domain example.net --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runQueueList(cmd.Context(), o)
		},
	}
	o.flags(c)
	o.flag(c)
	return c
}

func (a *app) runQueueList(ctx context.Context, o queueOptions) error {
	q, err := a.queue()
	if err != nil {
		return err
	}
	items, err := q.List(ctx, o.filter)
	if err != nil && len(items) == 0 {
		return err
	}
	return errors.Join(err, o.print(a, items, func(w *tabwriter.Writer) {
		printItems(w, items, time.Now())
	}))
}

// printItems prints a line for each message and one for each recipient that
// waits.
func printItems(w *tabwriter.Writer, items []queue.Item, now time.Time) {
	if len(items) == 0 {
		fmt.Fprintln(w, "The queue is empty.")
		return
	}
	fmt.Fprintln(w, "ID\tAGE\tSIZE\tSTATE\tSENDER")
	for _, it := range items {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", it.ID, age(it.Created, now), shortSize(it.Size), itemState(it, now), sender(it))
	}
	w.Flush()
	fmt.Fprintln(w)
	for _, it := range items {
		for _, r := range it.Recipients {
			if r.State == queue.Pending {
				fmt.Fprintf(w, "%s\t-> %s\t%s\n", it.ID, r.Address, lastResult(r))
			}
		}
	}
}

func sender(it queue.Item) string {
	if it.Envelope.ReversePath == "" {
		return "<>"
	}
	return it.Envelope.ReversePath
}

func itemState(it queue.Item, now time.Time) string {
	switch {
	case it.Held:
		return "held"
	case it.Active:
		return "sending"
	case it.Paced:
		return "paced" // by a rate of the configuration
	}
	var next time.Time
	for _, r := range it.Recipients {
		if r.State == queue.Pending && (next.IsZero() || r.Next.Before(next)) {
			next = r.Next
		}
	}
	if !next.After(now) {
		return "due"
	}
	return "in " + config.FormatDuration(next.Sub(now).Round(time.Second))
}

func lastResult(r queue.Recipient) string {
	switch {
	case r.Last == nil:
		return "not tried yet"
	case r.Last.Reply != "":
		return r.Last.Remote + ": " + r.Last.Reply
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", r.Last.Code, r.Last.Enhanced, r.Last.Text))
}

func age(t, now time.Time) string {
	d := now.Sub(t)
	unit := time.Second
	switch {
	case d > 48*time.Hour:
		unit = time.Hour
	case d > time.Hour:
		unit = time.Minute
	}
	return config.FormatDuration(d.Truncate(unit))
}

// shortSize is for people; config.FormatSize would be exact.
func shortSize(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f%s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}

func (a *app) queueShowCommand() *cobra.Command {
	var message bool
	var p printer
	c := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one message in the queue and what became of each recipient",
		Example: "  mailsrvd queue show 05k2q1h8d3x7aa\n  mailsrvd queue show --message 05k2q1h8d3x7aa",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := a.queue()
			if err != nil {
				return err
			}
			if message {
				_, err := q.Show(cmd.Context(), args[0], a.stdout)
				return err
			}
			var text bytes.Buffer
			it, err := q.Show(cmd.Context(), args[0], &text)
			if err != nil {
				return err
			}
			header, _, _ := bytes.Cut(text.Bytes(), []byte("\r\n\r\n"))
			return p.print(a, it, func(w *tabwriter.Writer) {
				printItem(w, it, time.Now())
				fmt.Fprintf(w, "\n%s\n", bytes.ReplaceAll(header, []byte("\r\n"), []byte("\n")))
			})
		},
	}
	c.Flags().BoolVar(&message, "message", false, "print the message itself, as it would be sent")
	p.flag(c)
	return c
}

func printItem(w *tabwriter.Writer, it queue.Item, now time.Time) {
	fmt.Fprintf(w, "id\t%s\nsender\t%s\nsince\t%s (%s ago)\nsize\t%d bytes\nstate\t%s\n",
		it.ID, sender(it), it.Created.Local().Format(time.DateTime), age(it.Created, now), it.Size, itemState(it, now))
	if it.Envelope.User != "" {
		fmt.Fprintf(w, "user\t%s\n", it.Envelope.User)
	}
	if at := it.Envelope.ReleaseAt; !at.IsZero() {
		fmt.Fprintf(w, "not before\t%s\n", at.Local().Format(time.DateTime))
	}
	if by := it.Envelope.DeliverBy; !by.At.IsZero() {
		fmt.Fprintf(w, "deliver by\t%s\n", by.At.Local().Format(time.DateTime))
	}
	for _, r := range it.Recipients {
		fmt.Fprintf(w, "recipient\t%s: %s, %d attempts; %s\n", place(r.Recipient), r.State, r.Attempts, lastResult(r))
		if r.Last != nil && r.Last.Reply != "" {
			fmt.Fprintf(w, "\t  by %s\n", r.Last.TLS)
		}
	}
}

// place is a recipient's address, with the one place that is left of it.
func place(r message.Recipient) string {
	switch l := r.Local; {
	case l == nil:
		return r.Address
	case l.Program != "":
		return r.Address + " (|" + l.Program + ")"
	default:
		return r.Address + " (" + l.User + ")"
	}
}

func (a *app) queueChangeCommand(name, short, long string) *cobra.Command {
	var o queueOptions
	c := &cobra.Command{
		Use:   name + " [ID...]",
		Short: short,
		Long: name + " " + long + `

Messages are chosen by ID, by conditions, which must all hold, or with --all.

Exit status: 0 done; 1 no message was chosen.`,
		Example: fmt.Sprintf("  mailsrvd queue %[1]s 05k2q1h8d3x7aa\n  mailsrvd queue %[1]s --domain example.net\n  mailsrvd queue %[1]s --all", name),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.filter.IDs = args
			return a.runQueueChange(cmd.Context(), name, o)
		},
	}
	o.flags(c)
	o.flag(c)
	c.Flags().BoolVar(&o.all, "all", false, "all messages")
	if name == "remove" {
		c.Flags().BoolVar(&o.bounce, "bounce", false, "return the messages to their senders")
	}
	return c
}

func (a *app) runQueueChange(ctx context.Context, name string, o queueOptions) error {
	f := o.filter
	chosen := len(f.IDs) > 0 || f.Sender != "" || f.Recipient != "" || f.Domain != "" || f.Held
	if chosen == o.all {
		return &exitError{exitUsage, errors.New("choose messages by ID or conditions, or all with --all")}
	}
	q, err := a.queue()
	if err != nil {
		return err
	}
	if o.bounce {
		name = "return"
	}
	n, err := q.Change(ctx, name, f)
	if err != nil {
		return err
	}
	answer := struct {
		Count int `json:"count"`
	}{n}
	past := map[string]string{"retry": "due now", "hold": "held now", "release": "released", "remove": "removed", "return": "removed and returned"}[name]
	if err := o.print(a, answer, func(w *tabwriter.Writer) { fmt.Fprintf(w, "%d messages %s\n", n, past) }); err != nil {
		return err
	}
	if n == 0 && !o.all {
		return &exitError{code: exitFailure}
	}
	return nil
}
