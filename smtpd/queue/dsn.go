package queue

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

// dsn is a delivery status notification in the making (RFC 3464).
type dsn struct {
	o     Options
	it    *Item
	kind  Report
	about []Recipient
	now   time.Time
	// id is unique: it names the report and delimits its parts.
	id string
	// utf8 says that the report needs the types of RFC 6533.
	utf8 bool
}

func newDSN(o Options, it *Item, kind Report, about []Recipient, now time.Time) *dsn {
	return &dsn{o: o, it: it, kind: kind, about: about, now: now, id: rand.Text(), utf8: it.Envelope.SMTPUTF8}
}

// envelope has the null reverse-path: nobody is told of a lost report
// (RFC 3461 section 6.1).
func (d *dsn) envelope(text []byte) message.Envelope {
	return message.Envelope{
		Trace:      d.id[:16],
		Recipients: []message.Recipient{{Address: d.it.Envelope.ReversePath, Notify: []string{"NEVER"}}},
		EightBit:   eightBit(text),
		SMTPUTF8:   d.utf8,
		RequireTLS: d.it.Envelope.RequireTLS, // RFC 8689 section 5
	}
}

func eightBit(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// wording is what depends on the kind of report.
type wording struct{ subject, intro, outro string }

func (d *dsn) wording() wording {
	age := ageText(d.o.MaxAge)
	switch d.kind {
	case ReportDelay:
		return wording{"Delayed mail: still trying to deliver",
			"Your message could not be delivered yet to the recipients below.",
			"You need not send it again: delivery will be tried for " + age + " in all, and you will hear if it fails."}
	case ReportSuccess:
		return wording{"Mail delivered",
			"Your message has reached the recipients below, as you asked to be told.", ""}
	}
	return wording{"Undelivered mail returned to sender",
		"Your message could not be delivered to the recipients below. It will not be tried again.",
		"What the recipient's mail server said is the reason. If you cannot tell what to mend, show this message to your postmaster."}
}

func ageText(d time.Duration) string {
	if days := int(d.Hours() / 24); days >= 2 {
		return fmt.Sprintf("%d days", days)
	}
	return d.Round(time.Minute).String()
}

// compose writes the whole report: words, fields, and the message it is about.
func (d *dsn) compose(original *message.Content) ([]byte, error) {
	header, whole, err := d.original(original)
	if err != nil {
		return nil, err
	}
	var parts bytes.Buffer
	d.part(&parts, "text/plain; charset=utf-8", "Notification", d.words())
	d.part(&parts, d.global("message/delivery-status"), "Delivery report", d.fields())
	if whole != nil {
		d.part(&parts, d.global("message/rfc822"), "Undelivered message", whole)
	} else {
		d.part(&parts, d.global("text/rfc822-headers"), "Message headers", header)
	}
	var b bytes.Buffer
	d.header(&b, messageID(header), encoding(parts.Bytes()))
	b.WriteString("This is a report in MIME format.\r\n")
	b.Write(parts.Bytes())
	fmt.Fprintf(&b, "\r\n--%s--\r\n", d.id)
	return b.Bytes(), nil
}

// global gives the type that may hold UTF-8 for one that may not (RFC 6533).
func (d *dsn) global(mediaType string) string {
	if !d.utf8 {
		return mediaType
	}
	return map[string]string{
		"message/delivery-status": "message/global-delivery-status",
		"message/rfc822":          "message/global",
		"text/rfc822-headers":     "message/global-headers",
	}[mediaType]
}

func encoding(b []byte) string {
	if eightBit(b) {
		return "8bit"
	}
	return "7bit"
}

func (d *dsn) header(b *bytes.Buffer, about, encoding string) {
	fmt.Fprintf(b, "From: Mail Delivery System <%s>\r\n", oneLine(d.o.Postmaster))
	fmt.Fprintf(b, "To: <%s>\r\n", oneLine(d.it.Envelope.ReversePath))
	fmt.Fprintf(b, "Subject: %s\r\n", d.wording().subject)
	fmt.Fprintf(b, "Date: %s\r\n", date(d.now))
	fmt.Fprintf(b, "Message-ID: <%s@%s>\r\n", d.id, d.o.Hostname)
	if about != "" {
		fmt.Fprintf(b, "In-Reply-To: %s\r\nReferences: %s\r\n", about, about)
	}
	b.WriteString("Auto-Submitted: auto-replied\r\n") // RFC 3834 section 5
	b.WriteString("MIME-Version: 1.0\r\n")
	fmt.Fprintf(b, "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n", d.id)
	fmt.Fprintf(b, "Content-Transfer-Encoding: %s\r\n\r\n", encoding)
}

func date(t time.Time) string { return t.Format("Mon, 02 Jan 2006 15:04:05 -0700") }

func (d *dsn) part(b *bytes.Buffer, mediaType, description string, body []byte) {
	fmt.Fprintf(b, "\r\n--%s\r\nContent-Type: %s\r\nContent-Description: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
		d.id, mediaType, description, encoding(body))
	b.Write(body)
}

// words is the part for people.
func (d *dsn) words() []byte {
	var b bytes.Buffer
	w := d.wording()
	fmt.Fprintf(&b, "This is the mail system at %s.\r\n\r\n%s\r\n", d.o.Hostname, w.intro)
	for _, r := range d.about {
		fmt.Fprintf(&b, "\r\n    <%s>\r\n", oneLine(r.Address))
		if r.Expired {
			fmt.Fprintf(&b, "    Gave up after %s. The last result was:\r\n", ageText(d.o.MaxAge))
		}
		if r.Last != nil && r.Last.Reply != "" && r.Last.Remote != "" {
			fmt.Fprintf(&b, "    %s said:\r\n", oneLine(r.Last.Remote))
		}
		if _, s := diagnostic(r); s != "" {
			fmt.Fprintf(&b, "    %s\r\n", s)
		}
	}
	if w.outro != "" {
		fmt.Fprintf(&b, "\r\n%s\r\n", w.outro)
	}
	return b.Bytes()
}

// fields is the part for programs (RFC 3464 sections 2.2 and 2.3).
func (d *dsn) fields() []byte {
	var b bytes.Buffer
	if id := d.it.Envelope.EnvID; id != "" {
		d.field(&b, "Original-Envelope-Id", id)
	}
	d.field(&b, "Reporting-MTA", "dns; "+d.o.Hostname)
	d.field(&b, "Arrival-Date", date(d.it.Created))
	for _, r := range d.about {
		b.WriteString("\r\n")
		d.recipient(&b, r)
	}
	return b.Bytes()
}

// field writes one line; what is not ASCII may stand only in the types of RFC
// 6533.
func (d *dsn) field(b *bytes.Buffer, name, value string) {
	if value = oneLine(value); !d.utf8 {
		value = strings.Map(func(r rune) rune {
			if r >= 0x80 {
				return '?'
			}
			return r
		}, value)
	}
	fmt.Fprintf(b, "%s: %s\r\n", name, value)
}

func (d *dsn) recipient(b *bytes.Buffer, r Recipient) {
	if r.ORcpt != "" {
		kind, address, ok := strings.Cut(r.ORcpt, ";")
		if !ok {
			kind, address = "rfc822", r.ORcpt
		}
		d.field(b, "Original-Recipient", kind+"; "+address)
	}
	kind := "rfc822; "
	if eightBit([]byte(r.Address)) {
		kind = "utf-8; " // RFC 6533 section 3
	}
	d.field(b, "Final-Recipient", kind+r.Address)
	d.field(b, "Action", d.action(r))
	d.field(b, "Status", d.status(r))
	if r.Last == nil {
		return
	}
	if host, _, _ := strings.Cut(r.Last.Remote, "["); host != "" {
		d.field(b, "Remote-MTA", "dns; "+host)
	}
	if kind, s := diagnostic(r); s != "" {
		d.field(b, "Diagnostic-Code", kind+"; "+s)
	}
	d.field(b, "Last-Attempt-Date", date(r.Last.At))
	if d.kind == ReportDelay {
		until := d.it.begins().Add(d.o.MaxAge)
		if by := d.it.Envelope.DeliverBy; by.Return && by.At.Before(until) {
			until = by.At
		}
		d.field(b, "Will-Retry-Until", date(until))
	}
}

// action is the word of RFC 3464 section 2.3.3.
func (d *dsn) action(r Recipient) string {
	switch {
	case d.kind == ReportFailure:
		return "failed"
	case d.kind == ReportDelay:
		return "delayed"
	case r.Last != nil && r.Last.Remote != "":
		return "relayed" // to a host that tells no more
	}
	return "delivered"
}

func (d *dsn) status(r Recipient) string {
	switch {
	case r.Expired:
		return "4.4.7" // RFC 3463: delivery time expired
	case r.Last != nil && r.Last.Enhanced != "":
		return r.Last.Enhanced
	case d.kind == ReportFailure:
		return "5.0.0"
	case d.kind == ReportDelay:
		return "4.0.0"
	}
	return "2.0.0"
}

// diagnostic is what decided, and its type (RFC 3464 section 2.3.6): the remote
// host's reply where there is one, else our own finding.
func diagnostic(r Recipient) (kind, text string) {
	l := r.Last
	switch {
	case l == nil, l.Reply == "" && l.Code == 250:
		return "", ""
	case l.Reply != "":
		return "smtp", oneLine(l.Reply)
	case l.Enhanced != "":
		return "X-mailsrvd", fmt.Sprintf("%d %s %s", l.Code, l.Enhanced, oneLine(l.Text))
	}
	return "X-mailsrvd", fmt.Sprintf("%d %s", l.Code, oneLine(l.Text))
}

// headerLimit bounds what is read as a header block.
const headerLimit = 64 << 10

// original gives the header block of the message, and the whole of it if it is
// to be returned (RFC 3461 section 4.3): only with a failure, if the sender did
// not ask for headers, and if it is not too long.
func (d *dsn) original(c *message.Content) (header, whole []byte, err error) {
	want := d.kind == ReportFailure && d.it.Envelope.Ret != "HDRS" && c.Size() <= d.o.ReturnLimit
	limit := int64(headerLimit)
	if want {
		limit = c.Size()
	}
	b, err := io.ReadAll(io.LimitReader(c.NewReader(), limit))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the message to report on: %w", err)
	}
	if want {
		if int64(len(b)) < limit {
			return nil, nil, errors.New("the message to report on is cut short")
		}
		whole = b
	}
	return headerBlock(b), whole, nil
}

// headerBlock cuts b after the header: before the blank line, or after the last
// whole line.
func headerBlock(b []byte) []byte {
	b = b[:min(len(b), headerLimit)]
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return nil
	}
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return b[:i+2]
	}
	return b[:bytes.LastIndexByte(b, '\n')+1]
}

// messageID finds the Message-ID in a header block, for threading; it gives ""
// for one that could break our own header.
func messageID(header []byte) string {
	for line := range bytes.SplitSeq(header, []byte("\r\n")) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !bytes.EqualFold(bytes.TrimSpace(name), []byte("Message-ID")) {
			continue
		}
		id := strings.TrimSpace(string(value))
		if len(id) > 2 && len(id) < 500 && id[0] == '<' && id[len(id)-1] == '>' && !strings.ContainsAny(id, " \t\r\n") && !eightBit([]byte(id)) {
			return id
		}
		return ""
	}
	return ""
}

// oneLine keeps foreign text inside its header field: no line ends, no control
// characters, and short enough for a line of 998.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "..."
	}
	return s
}

const maxText = 800
