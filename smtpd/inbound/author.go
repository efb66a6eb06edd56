package inbound

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
)

// errAuthor means that a message does not have exactly one author: DMARC has no
// domain to ask, and readers may show any of several.
var errAuthor = errors.New("the message does not name one author")

// author gives the domain of the From field (RFC 7489 section 3.1), as
// A-labels. It fails with errAuthor unless the header has one From field with
// one address. Lines that are no fields end the header for some readers and not
// for others: all of it counts.
func author(header []byte) (string, error) {
	var from []byte
	count := 0
	for name, raw := range message.EachField(header) {
		if bytes.EqualFold(bytes.TrimRight(name, " \t"), []byte("From")) {
			from = raw
			count++
		}
	}
	if count != 1 {
		return "", fmt.Errorf("%w: it has %d From fields", errAuthor, count)
	}
	_, value, _ := bytes.Cut(from, []byte(":"))
	value = bytes.ReplaceAll(bytes.ReplaceAll(value, []byte("\r"), nil), []byte("\n"), nil)
	var domains []string
	for _, a := range message.ParseAddressList(string(value)) {
		if strings.Contains(a.Mailbox, "@") {
			return "", fmt.Errorf("%w: its address has several domains", errAuthor)
		}
		if a.Kind == message.Individual {
			domains = append(domains, a.Host)
		}
	}
	if len(domains) != 1 {
		return "", fmt.Errorf("%w: its From field has %d addresses", errAuthor, len(domains))
	}
	domain, err := dns.ToASCII(domains[0])
	if err != nil {
		return "", fmt.Errorf("%w: %w", errAuthor, err)
	}
	return domain, nil
}
