package tlsrpt

import (
	"net/mail"
	"net/url"
	"strings"
)

// maxURIs bounds the addresses that a domain may have its report sent to.
const maxURIs = 5

// ParseRecord reads the record of a domain among the texts at its name
// _smtp._tls (RFC 8460 section 3), and gives the addresses that it wants
// reports at: "mailto:" and "https:" ones that can be used, in their order. No
// record, or more than one, means none.
func ParseRecord(texts []string) []string {
	var uris []string
	found := false
	for _, text := range texts {
		fields := strings.Split(text, ";")
		if key, value, _ := strings.Cut(fields[0], "="); strings.Trim(key, " \t") != "v" || strings.Trim(value, " \t") != "TLSRPTv1" {
			continue
		}
		if found {
			return nil
		}
		found = true
		for _, f := range fields[1:] {
			key, value, _ := strings.Cut(f, "=")
			if strings.Trim(key, " \t") != "rua" {
				continue
			}
			for u := range strings.SplitSeq(value, ",") {
				if u = strings.Trim(u, " \t"); len(uris) < maxURIs && (mailAddress(u) != "" || webAddress(u)) {
					uris = append(uris, u)
				}
			}
			break
		}
	}
	return uris
}

// mailAddress is the address of a mailto URI (RFC 6068), "" if it is none. What
// follows a question mark would be headers; reports have their own.
func mailAddress(uri string) string {
	scheme, rest, _ := strings.Cut(uri, ":")
	if !strings.EqualFold(scheme, "mailto") {
		return ""
	}
	rest, _, _ = strings.Cut(rest, "?")
	text, err := url.PathUnescape(rest)
	if err != nil {
		return ""
	}
	a, err := mail.ParseAddress(text)
	if err != nil || a.Address != text {
		return ""
	}
	return a.Address
}

func webAddress(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && strings.EqualFold(u.Scheme, "https") && u.Host != "" && u.User == nil
}
