package queue

import (
	"context"
	"strings"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
)

// Transport hands a message to where its recipients are.
type Transport interface {
	// Attempt tries to deliver c to rcpts, which are some of the message's
	// recipients and belong to one destination, and returns one Outcome for
	// each, in order. env.Recipients is rcpts. When ctx ends, it returns soon
	// with temporary failures. It is called concurrently.
	Attempt(ctx context.Context, env message.Envelope, c *message.Content, rcpts []message.Recipient) []message.Outcome
}

// ByDomain is the usual Options.Group: the destination of an address is its
// domain, as A-labels in lower case.
func ByDomain(address string) string {
	domain := strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
	if ascii, err := dns.ToASCII(domain); err == nil {
		return ascii
	}
	return domain
}
