package dkim_test

import (
	"context"
	"fmt"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/message"
)

// A message is signed with two keys and verified with the records that belong
// in the zone.
func Example() {
	rsa, err := dkim.GenerateKey(dkim.RSA)
	if err != nil {
		fmt.Println(err)
		return
	}
	ed, err := dkim.GenerateKey(dkim.Ed25519)
	if err != nil {
		fmt.Println(err)
		return
	}
	signer, err := dkim.NewSigner([]dkim.Identity{
		{Domain: "svc.plus", Selector: "2026rsa", Key: rsa},
		{Domain: "svc.plus", Selector: "2026ed", Key: ed},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mail := message.FromBytes([]byte("From: alice@lists.svc.plus\r\nSubject: Hello\r\n\r\nHi\r\n"))
	domain, ok := signer.Match("lists.svc.plus")
	fmt.Println(domain, ok)
	head, err := signer.Sign(context.Background(), domain, mail)
	if err != nil {
		fmt.Println(err)
		return
	}
	zone := map[string]string{
		dkim.RecordName("svc.plus", "2026rsa"): dkim.Record(rsa),
		dkim.RecordName("svc.plus", "2026ed"):  dkim.Record(ed),
	}
	lookup := func(_ context.Context, name string) ([]string, error) { return []string{zone[name]}, nil }
	for _, r := range dkim.Verify(context.Background(), mail.WithPrefix(head), lookup) {
		fmt.Println(r.Value, r.Domain, r.Selector, r.Bits)
	}
	// Output:
	// svc.plus true
	// pass svc.plus 2026rsa 2048
	// pass svc.plus 2026ed 256
}
