package tlsrpt

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

// mail hands a report over to the queue (RFC 8460 section 5.3). A report about
// TLS that fails must get through without it: the envelope says so, and the
// field TLS-Required says it to the hosts on the way (RFC 8689 section 5).
func (c *Collector) mail(ctx context.Context, to, domain string, r Report, packed []byte) error {
	text, err := c.compose(to, domain, r, packed)
	if err != nil {
		return err
	}
	env := message.Envelope{
		Trace: observe.NewTrace(), ReversePath: r.Contact, Trusted: true, TLSOptional: true,
		Recipients: []message.Recipient{{Address: to, Notify: []string{"NEVER"}}},
	}
	return c.o.Mail(ctx, env, message.FromBytes(text))
}

// compose writes the message, without a signature.
func (c *Collector) compose(to, domain string, r Report, packed []byte) ([]byte, error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range [][2]string{
		{"From", r.Contact}, {"To", to}, {"Date", c.now().UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + r.ID + ">"},
		{"Subject", fmt.Sprintf("Report Domain: %s\r\n Submitter: %s\r\n Report-ID: <%s>", domain, c.o.Hostname, r.ID)},
		{"TLS-Report-Domain", domain}, {"TLS-Report-Submitter", c.o.Hostname},
		{"TLS-Required", "No"}, {"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"},
		{"Content-Type", "multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"" + w.Boundary() + "\""},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", f[0], f[1])
	}
	b.WriteString("\r\n")
	part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"text/plain; charset=utf-8"}})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(part, "This is a report on TLS with the mail exchangers of %s (RFC 8460),\r\nfor %s, from %s.\r\n", domain, r.Dates.Start.Format(time.DateOnly), c.o.Hostname)
	part, err = w.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {mediaType},
		"Content-Transfer-Encoding": {"base64"},
		"Content-Disposition":       {"attachment;\r\n filename=\"" + r.fileName(c.o.Hostname, domain) + "\""},
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
