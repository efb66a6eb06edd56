package dev

import (
	"fmt"
	"strings"
	"text/template"
	"time"
)

// Ports are where the site listens, as "host:port".
type Ports struct{ MX, Submission, Submissions, IMAP, IMAPS, ManageSieve, HTTPS, Metrics, Status string }

var instructions = template.Must(template.New("").Parse(`
mailsrvd dev is ready in {{.Dir}}. Ctrl-C stops it; mail and passwords stay there.

  user    password        address
{{range .Users}}  {{printf "%-7s %-15s %s@%s" .Name .Password .Name $.Domain}}
{{end}}
Mail client:  IMAP {{.Ports.IMAPS}} (TLS) or {{.Ports.IMAP}} (STARTTLS)
              SMTP {{.Ports.Submissions}} (TLS) or {{.Ports.Submission}} (STARTTLS)
              filters by ManageSieve {{.Ports.ManageSieve}} (STARTTLS)
              the certificate to trust is {{.Dir}}/cert.pem
Status page:  http://{{.Ports.Status}}/; metrics: http://{{.Ports.Metrics}}/metrics
Settings that mail programs fetch:
  curl --cacert {{.Dir}}/cert.pem 'https://{{.Ports.HTTPS}}/mail/config-v1.1.xml?emailaddress=alice@{{.Domain}}'

Send a message as alice to bob:
  swaks --server {{.Ports.Submission}} --tls --auth PLAIN --auth-user alice --auth-password {{.Password "alice"}} \
    --from alice@{{.Domain}} --to bob@{{.Domain}} --header 'Subject: hello'
One from outside, on the MX port:
  swaks --server {{.Ports.MX}} --from someone@example.net --to both@{{.Domain}}
Read it as bob:
  curl --cacert {{.Dir}}/cert.pem --user bob:{{.Password "bob"}} 'imaps://{{.Ports.IMAPS}}/INBOX;MAILINDEX=1'
  openssl s_client -quiet -crlf -CAfile {{.Dir}}/cert.pem -connect {{.Ports.IMAPS}}
    a LOGIN bob {{.Password "bob"}}
    b SELECT INBOX
    c FETCH 1:* (FLAGS ENVELOPE)
    d LOGOUT
Mail to other domains stays in the queue:
  swaks --server {{.Ports.Submissions}} --tls-on-connect --auth LOGIN --auth-user alice --auth-password {{.Password "alice"}} \
    --from alice@{{.Domain}} --to friend@example.net
  {{.Program}} queue list --config {{.Config}}

`))

// Instructions are the lines to paste. program is how the user called us.
func (s *Site) Instructions(p Ports, program string) string {
	type user struct{ Name, Password string }
	data := struct {
		*Site
		Domain, Program string
		Ports           Ports
		Users           []user
	}{s, Domain, program, p, nil}
	for _, u := range Users {
		data.Users = append(data.Users, user{u, s.Passwords[u]})
	}
	var b strings.Builder
	if err := instructions.Execute(&b, data); err != nil {
		panic(err) // the template is ours, and tested
	}
	return b.String()
}

// Password is the password of a user.
func (s *Site) Password(user string) string { return s.Passwords[user] }

// Welcome is a first message for the user, with CRLF line ends.
func Welcome(user string, now time.Time) []byte {
	text := fmt.Sprintf(`From: mailsrvd <postmaster@%[1]s>
To: %[2]s@%[1]s
Subject: Welcome to mailsrvd
Date: %[3]s
Message-ID: <welcome.%[4]d.%[2]s@%[1]s>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

This message was delivered by mailsrvd dev and read by IMAP from a Maildir.

Send one to bob, alice or both at %[1]s; mail to other domains
stays in the queue (mailsrvd queue list). What you see here is a file:
any other program may read and write the Maildir at the same time.
`, Domain, user, now.Format(time.RFC1123Z), now.UnixNano())
	return []byte(strings.ReplaceAll(text, "\n", "\r\n"))
}
