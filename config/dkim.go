package config

import "fmt"

// DKIM is one [[dkim]]: a signing key of a domain.
type DKIM struct {
	Domain, Selector string
	// Key is the path of the private key, PEM.
	Key string
}

func dkimSection(list *[]DKIM) section {
	return section{name: "dkim", doc: "A key that signs the mail of one domain (RFC 6376). Several keys for one domain, RSA and Ed25519 (RFC 8463), all sign. mailsrvd dkim genkey makes one and prints the DNS record.",
		sample: 1,
		each: func() ([]key, func()) {
			d := &DKIM{}
			return []key{
				{name: "domain", example: `"svc.plus"`, value: lower(&d.Domain, domainName), required: "add the domain that the key signs for",
					doc: "The domain of the From address that is signed for."},
				{name: "selector", def: `"default"`, value: text(&d.Selector, domainName),
					doc: "The name of the key in the DNS: <selector>._domainkey.<domain>."},
				{name: "key", example: `"/etc/mailsrvd/dkim/svc.plus.default.key"`, value: file(&d.Key), required: "add the path of the private key; mailsrvd dkim genkey makes it",
					doc: "The private key, RSA (2048 bits or more) or Ed25519, in PEM."},
			}, func() { *list = append(*list, *d) }
		}}
}

func checkDKIM(list []DKIM) Problems {
	var ps Problems
	seen := map[string]bool{}
	for i, d := range list {
		name := d.Selector + "._domainkey." + d.Domain
		if seen[name] {
			ps = append(ps, Problem{Key: fmt.Sprintf("dkim[%d].selector", i), Text: name + " is used by two keys", Mend: "give each key its own selector"})
		}
		seen[name] = true
	}
	return ps
}
