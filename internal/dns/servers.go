package dns

import "slices"

// Servers gives the resolvers that New would ask for Options.Addr, as host:port;
// addr itself if it is none.
func Servers(addr string) []string {
	if addr == "" {
		return (&systemConf{path: resolvConfPath}).current().servers
	}
	if full, err := serverAddr(addr); err == nil {
		addr = full
	}
	return []string{addr}
}

// OnLoopback reports whether all of servers are on this host, so that their AD
// bit counts (Answer.Secure).
func OnLoopback(servers []string) bool {
	return len(servers) > 0 && !slices.ContainsFunc(servers, func(s string) bool { return !loopback(s) })
}
