package dkim

import (
	"context"
	"errors"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/message"
)

// The messages and keys that the RFCs print.

const rfcBody = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"

const rfcHeader = "From: Joe SixPack <joe@football.example.com>\r\n" +
	"To: Suzie Q <suzie@shopping.example.net>\r\n" +
	"Subject: Is dinner ready?\r\n" +
	"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"

// rfc8463Mail is RFC 8463 appendix A.3: one message with two signatures.
const rfc8463Mail = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n" +
	" d=football.example.com; i=@football.example.com;\r\n" +
	" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n" +
	" subject : date : message-id : from : subject : date;\r\n" +
	" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n" +
	" b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n" +
	" Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n" +
	"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n" +
	" d=football.example.com; i=@football.example.com;\r\n" +
	" q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n" +
	" date : message-id : from : subject : date;\r\n" +
	" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n" +
	" b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n" +
	" DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n" +
	" dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n" +
	rfcHeader +
	"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n" + rfcBody

// rfc6376Mail is RFC 6376 appendix A.2.
const rfc6376Mail = "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\r\n" +
	"      c=simple/simple; q=dns/txt; i=joe@football.example.com;\r\n" +
	"      h=Received : From : To : Subject : Date : Message-ID;\r\n" +
	"      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n" +
	"      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB\r\n" +
	"      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut\r\n" +
	"      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV\r\n" +
	"      4bmp/YzhwvcubU4=;\r\n" +
	"Received: from client1.football.example.com  [192.0.2.1]\r\n" +
	"      by submitserver.example.com with SUBMISSION;\r\n" +
	"      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\r\n" +
	rfcHeader +
	"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n" +
	// One space between sentences, as the hash wants it.
	"Hi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n"

// rfcKeys are those of RFC 8463 appendix A.2 and RFC 6376 appendix C.
var rfcKeys = map[string]string{
	"brisbane._domainkey.football.example.com": "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
	"test._domainkey.football.example.com": "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR" +
		"iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC" +
		"DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3" +
		"Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
	"brisbane._domainkey.example.com": "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQ" +
		"KBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt" +
		"IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v" +
		"/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi" +
		"tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB",
}

func TestVectorsOfTheRFCs(t *testing.T) {
	lookup := func(_ context.Context, name string) ([]string, error) {
		if r, ok := rfcKeys[name]; ok {
			return []string{r}, nil
		}
		return nil, errors.New("no key at " + name)
	}
	for _, c := range []struct {
		name, mail string
		want       []Value
	}{
		{"RFC 8463", rfc8463Mail, []Value{Pass, Pass}},
		{"RFC 8463, the body changed", strings.Replace(rfc8463Mail, "hungry", "thirsty", 1), []Value{Fail, Fail}},
		{"RFC 8463, the subject changed", strings.Replace(rfc8463Mail, "dinner", "supper", 1), []Value{Fail, Fail}},
		{"RFC 8463, a second subject", strings.Replace(rfc8463Mail, "To: S", "Subject: more\r\nTo: S", 1), []Value{Fail, Fail}},
		{"RFC 8463, white space", strings.Replace(rfc8463Mail, "Is dinner", "Is\r\n  dinner", 1) + "\r\n\r\n", []Value{Pass, Pass}},
		{"RFC 6376", rfc6376Mail, []Value{Pass}},
		{"RFC 6376, simple allows no white space", strings.Replace(rfc6376Mail, "Is dinner", "Is  dinner", 1), []Value{Fail}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Verify(t.Context(), message.FromBytes([]byte(c.mail)), lookup)
			for i, r := range got {
				if i >= len(c.want) || r.Value != c.want[i] {
					t.Errorf("%d: %+v", i, r)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("%d results", len(got))
			}
		})
	}
}
