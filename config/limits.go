package config

import (
	"fmt"
	"net/netip"
	"time"
)

// Limits is [limits]: what one peer, one user and everybody together may take.
type Limits struct {
	// Connections is per listener, ConnectionsPerIP a part of it;
	// ConnectionsPerUser counts IMAP sessions of all listeners.
	Connections, ConnectionsPerIP, ConnectionsPerUser int
	// Handshake bounds a TLS handshake.
	Handshake time.Duration
	// AuthFailures per connection.
	AuthFailures int
	// Recipients per message.
	Recipients int
	// Trusted networks have no limit per address and are never slowed down.
	Trusted []netip.Prefix
}

func (s *Limits) section() section {
	return section{name: "limits", doc: "Limits on what peers may take.", keys: []key{
		{name: "connections", def: `4000`, value: integer(&s.Connections, 1, 1<<20),
			doc: "Connections at one time to each address of [listen]. Further ones are told to come back later."},
		{name: "connections_per_ip", def: `100`, value: integer(&s.ConnectionsPerIP, 1, 1<<20),
			doc: "The same for one address (IPv6: one /64). A family or an office behind one address needs about six per device."},
		{name: "connections_per_user", def: `50`, value: integer(&s.ConnectionsPerUser, 1, 1<<20),
			doc: "IMAP sessions of one user at one time."},
		{name: "handshake_timeout", def: `"30s"`, value: duration(&s.Handshake, time.Second, 10*time.Minute),
			doc: "How long a client may take for a TLS handshake."},
		{name: "auth_failures", def: `5`, value: integer(&s.AuthFailures, 1, 1000),
			doc: "Failed logins after which a connection is closed. Failures also slow down the address, and the log line names it for fail2ban."},
		{name: "recipients", def: `1000`, value: integer(&s.Recipients, 100, 100000),
			doc: "Recipients of one message (RFC 5321 section 4.5.3.1.8 wants at least 100)."},
		{name: "trusted", def: `["127.0.0.0/8", "::1"]`, value: prefixes(&s.Trusted),
			doc: "Addresses and networks without limits per address and without delays: monitoring, a proxy, one's own office. They get no other right."},
	}}
}

func (s *Limits) check() Problems {
	if s.ConnectionsPerIP > s.Connections {
		return Problems{{Key: "limits.connections_per_ip", Text: fmt.Sprintf("%d is more than connections, %d", s.ConnectionsPerIP, s.Connections), Mend: "lower it or raise connections", Warning: true}}
	}
	return nil
}
