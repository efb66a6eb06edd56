package dmarcrpt

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/observe"
)

// mail hands a report over to the queue (RFC 7489 section 7.2.1.1).
func (c *Collector) mail(ctx context.Context, to, domain string, r *Report, packed []byte) error {
	text, err := c.compose(to, domain, r, packed)
	if err != nil {
		return err
	}
	env := message.Envelope{
		Trace: observe.NewTrace(), ReversePath: r.Metadata.Email, Trusted: true,
		Recipients: []message.Recipient{{Address: to, Notify: []string{"NEVER"}}},
	}
	return c.o.Mail(ctx, env, message.FromBytes(text))
}

// compose writes the message, without a signature.
func (c *Collector) compose(to, domain string, r *Report, packed []byte) ([]byte, error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range [][2]string{
		{"From", r.Metadata.Email}, {"To", to}, {"Date", c.now().UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + r.Metadata.ID + ">"},
		{"Subject", fmt.Sprintf("Report Domain: %s\r\n Submitter: %s\r\n Report-ID: <%s>", domain, c.o.Hostname, r.Metadata.ID)},
		{"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"},
		{"Content-Type", "multipart/mixed;\r\n boundary=\"" + w.Boundary() + "\""},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", f[0], f[1])
	}
	b.WriteString("\r\n")
	part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"text/plain; charset=utf-8"}})
	if err != nil {
		return nil, err
	}
	begin := time.Unix(r.Metadata.Range.Begin, 0).UTC()
	fmt.Fprintf(part, "This is an aggregate report on DMARC for mail of %s (RFC 7489),\r\nfor %s, from %s.\r\n", domain, begin.Format(time.DateOnly), c.o.Hostname)
	name := fmt.Sprintf("%s!%s!%d!%d.xml.gz", c.o.Hostname, domain, r.Metadata.Range.Begin, r.Metadata.Range.End)
	part, err = w.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {"application/gzip"},
		"Content-Transfer-Encoding": {"base64"},
		"Content-Disposition":       {"attachment;\r\n filename=\"" + name + "\""},
	})
	if err != nil {
		return nil, err
	}
	for text := base64.StdEncoding.EncodeToString(packed); text != ""; {
		n := min(len(text), 76)
		fmt.Fprintf(part, "%s\r\n", text[:n])
		text = text[n:]
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
