package config

import (
	"fmt"
	"net/netip"
	"time"
)

// Limits is [limits]: what one peer, one user and everybody together may take.
type Limits struct {
	// Connections is per listener, ConnectionsPerIP a part of it;
	// ConnectionsPerUser counts IMAP sessions of all listeners, and those of
	// ManageSieve by themselves.
	Connections, ConnectionsPerIP, ConnectionsPerUser int
	// ConnectionsPerNetwork, and the two rates per minute: 0 for no limit.
	ConnectionsPerNetwork, RatePerIP, RatePerNetwork int
	// Handshake bounds a TLS handshake.
	Handshake time.Duration
	// AuthFailures per connection.
	AuthFailures int
	// BanAfter and BanNetworkAfter failed logins; 0 for never. BanTime is for the
	// first time.
	BanAfter, BanNetworkAfter int
	BanTime                   time.Duration
	// UnknownDelay is how long the answer about an unknown recipient waits after
	// some of them.
	UnknownDelay time.Duration
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
		{name: "connections_per_network", def: `0`, value: integer(&s.ConnectionsPerNetwork, 0, 1<<20),
			doc: "The same for one network (IPv4: /24, IPv6: /48); 0 for no limit."},
		{name: "connection_rate_per_ip", def: `0`, value: integer(&s.RatePerIP, 0, 1<<20),
			doc: "New connections that one address (IPv6: one /64) may make within a minute to each address of [listen]; 0 for no limit."},
		{name: "connection_rate_per_network", def: `0`, value: integer(&s.RatePerNetwork, 0, 1<<20),
			doc: "The same for one network (IPv4: /24, IPv6: /48); 0 for no limit."},
		{name: "connections_per_user", def: `50`, value: integer(&s.ConnectionsPerUser, 1, 1<<20),
			doc: "IMAP sessions of one user at one time, and as many of ManageSieve."},
		{name: "handshake_timeout", def: `"30s"`, value: duration(&s.Handshake, time.Second, 10*time.Minute),
			doc: "How long a client may take for a TLS handshake."},
		{name: "auth_failures", def: `5`, value: integer(&s.AuthFailures, 1, 1000),
			doc: "Failed logins after which a connection is closed. Failures also slow down the address, and the log line names it for fail2ban."},
		{name: "ban_after", def: `50`, value: integer(&s.BanAfter, 0, 1<<20),
			doc: "Wrong passwords within an hour after which an address (IPv6: its /64) may not connect to the ports of submission, IMAP and ManageSieve any more; 0 for never. The same password again counts once, and a user who logged in from there before is spared. mailsrvd ban list shows who is banned."},
		{name: "ban_network_after", def: `0`, value: integer(&s.BanNetworkAfter, 0, 1<<20),
			doc: "The same for a network (IPv4: /24, IPv6: /48), if the wrong passwords came from three of its addresses at least; 0 for never."},
		{name: "ban_time", def: `"1h"`, value: duration(&s.BanTime, time.Minute, 7*24*time.Hour),
			doc: "How long such a ban lasts. Each further one within a week lasts twice as long, up to a week."},
		{name: "unknown_recipient_delay", def: `"1s"`, value: duration(&s.UnknownDelay, 0, time.Minute),
			doc: "How long another server waits for each answer about a recipient that does not exist, after five such in one connection: guessing addresses is to be slow. \"0s\" for no delay."},
		{name: "recipients", def: `1000`, value: integer(&s.Recipients, 100, 100000),
			doc: "Recipients of one message (RFC 5321 section 4.5.3.1.8 wants at least 100)."},
		{name: "trusted", def: `["127.0.0.0/8", "::1"]`, value: prefixes(&s.Trusted),
			doc: "Addresses and networks without limits per address, delays and bans: monitoring, a proxy, one's own office. They get no other right."},
	}}
}

func (s *Limits) check() Problems {
	if s.ConnectionsPerIP > s.Connections {
		return Problems{{Key: "limits.connections_per_ip", Text: fmt.Sprintf("%d is more than connections, %d", s.ConnectionsPerIP, s.Connections), Mend: "lower it or raise connections", Warning: true}}
	}
	return nil
}
