package smtpd

import (
	"testing"

	"svc.plus/mailsrvd/internal/status"
)

func TestConversations(t *testing.T) {
	for name, c := range map[string]struct {
		mode   Mode
		script string
	}{
		"a message from the Internet": {MX, `
	S: 220 mx.test ESMTP ready
	C: EHLO there.test
	S: 250-mx.test greets there.test
	S: 250-STARTTLS
	S: 250-PIPELINING
	S: 250-8BITMIME
	S: 250-ENHANCEDSTATUSCODES
	S: 250-CHUNKING
	S: 250-SMTPUTF8
	S: 250-DSN
	S: 250-SIZE 52428800
	S: 250 LIMITS RCPTMAX=100
	C: MAIL FROM:<x@there.test> SIZE=100 BODY=8BITMIME
	S: 250 2.1.0 Ok
	C: RCPT TO:<alice@here.test>
	S: 250 2.1.5 Ok
	C: DATA
	S: 354 End data with <CR><LF>.<CR><LF>
	C: Subject: hello
	C:
	C: ..body
	C: .
	S: 250 2.0.0 Ok: queued as …
	C: QUIT
	S: 221 2.0.0 Bye
	END`},
		"HELO has one line": {MX, `
	S* 220
	C: HELO there.test
	S: 250 mx.test greets there.test
	C: MAIL FROM:<x@there.test>
	S* 250
	C: QUIT
	S* 221`},
		"commands out of order": {MX, `
	S* 220
	C: MAIL FROM:<x@there.test>
	S: 503 5.5.1 Send EHLO first
	C: EHLO there.test
	S* 250
	C: RCPT TO:<alice@here.test>
	S: 503 5.5.1 Send MAIL first
	C: DATA
	S: 503 5.5.1 No valid recipients
	C: MAIL FROM:<x@there.test>
	S* 250
	C: MAIL FROM:<y@there.test>
	S: 503 5.5.1 MAIL was given already
	C: DATA
	S: 503 5.5.1 No valid recipients
	C: RSET
	S* 250
	C: MAIL FROM:<y@there.test>
	S: 250 2.1.0 Ok`},
		"EHLO within a transaction resets it": {MX, `
	S* 220
	C: EHLO there.test
	S* 250
	C: MAIL FROM:<x@there.test>
	S* 250
	C: RCPT TO:<alice@here.test>
	S* 250
	C: EHLO there.test
	S* 250
	C: DATA
	S: 503 5.5.1 No valid recipients`},
		"recipients": {MX, `
	S* 220
	C: EHLO there.test
	S* 250
	C: MAIL FROM:<>
	S* 250
	C: RCPT TO:<nobody@here.test>
	S: 550 5.1.1 <nobody@here.test>: no such user here
	C: RCPT TO:<full@here.test>
	S: 552 5.2.2 Mailbox is full
	C: RCPT TO:<broken@here.test>
	S: 451 4.3.0 Local error, try again later
	C: RCPT TO:<x@elsewhere.test>
	S: 550 5.7.1 <x@elsewhere.test>: relay access denied
	C: RCPT TO:<Alice@HERE.test>
	S: 250 2.1.5 Ok
	C: RCPT TO:<forward@here.test>
	S: 250 2.1.5 Ok
	C: RCPT TO:<postmaster>
	S: 250 2.1.5 Ok
	C: rcpt to: <PostMaster>
	S: 250 2.1.5 Ok
	C: RCPT TO:<"postmaster"> NOTIFY=NEVER
	S: 250 2.1.5 Ok
	C: RCPT TO:<postmaster@MX.test>
	S: 250 2.1.5 Ok
	C: RCPT TO:<alice@mx.test>
	S: 550 5.7.1 <alice@mx.test>: relay access denied
	C: RCPT TO:<@relay.test:bob@here.test>
	S: 250 2.1.5 Ok
	C: RCPT TO:<panic@here.test>
	S: 421 4.3.0 Internal error, try again later
	END`},
		"parameters": {MX, `
	S* 220
	C: EHLO there.test
	S* 250
	C: MAIL FROM:<x@there.test> SIZE=99999999
	S: 552 5.3.4 Max message size exceeded
	C: MAIL FROM:<x@there.test> FOO=BAR
	S: 555 5.5.4 Unknown parameter of MAIL
	C: MAIL FROM:<x@there.test> BODY=BINARYMIME
	S: 555 5.5.4 BINARYMIME is not implemented
	C: MAIL FROM:<x@there.test> REQUIRETLS
	S: 530 5.7.10 REQUIRETLS needs TLS
	C: MAIL FROM:x@there.test RET=HDRS ENVID=abc+2B
	S: 250 2.1.0 Ok
	C: RCPT TO:<alice@here.test> NOTIFY=NEVER,DELAY
	S: 501 5.5.4 Malformed NOTIFY parameter value
	C: RCPT TO:<alice@here.test> FOO=BAR
	S: 555 5.5.4 Unknown parameter of RCPT
	C: RCPT TO:<alice@here.test> NOTIFY=DELAY,FAILURE ORCPT=rfc822;a+2Bb@here.test
	S: 250 2.1.5 Ok`},
		"addresses": {MX, `
	S* 220
	C: EHLO there.test
	S* 250
	C: MAIL FROM:<x>
	S: 501 5.1.7 Syntax: MAIL FROM:<address>
	C: MAIL FROM:<x@-bad->
	S: 501 5.1.7 Bad sender address: bad domain
	C: MAIL FROM:<josé@there.test>
	S: 553 5.6.7 The sender address needs SMTPUTF8
	C: MAIL FROM:<josé@there.test> SMTPUTF8
	S: 250 2.1.0 Ok
	C: RCPT TO:<josé@here.test>
	S: 250 2.1.5 Ok
	C: RCPT TO:<"josé"@here.test>
	S: 250 2.1.5 Ok
	C: RCPT TO:<"a b"@here.test>
	S: 550 5.1.1 <"a b"@here.test>: no such user here
	C: RCPT TO:<alice@here.test@elsewhere.test>
	S: 550 5.7.1 <"alice@here.test"@elsewhere.test>: relay access denied
	C: RCPT TO:<alice%elsewhere.test@here.test>
	S: 550 5.1.1 …`},
		"small talk": {MX, `
	S* 220
	C: NOOP what ever
	S: 250 2.0.0 Ok
	C: VRFY alice
	S: 503 5.5.1 Send EHLO first
	C: EHLO 
	S: 501 5.5.4 Say your name: EHLO hostname
	C: EHLO <script>
	S* 501
	C: EHLO café
	S: 250-mx.test greets caf?
	S* 250
	C: RSET
	S* 250
	C: LHLO x
	S* 500
	C: EHLO x
	S* 250
	C: VRFY alice
	S: 252 2.5.0 Send some mail, I'll try my best
	C: XYZZY
	S: 500 5.5.2 Command not recognized
	C: TURN
	S* 502
	C: AUTH PLAIN
	S: 502 5.5.1 AUTH is not offered
	C: STARTTLS now
	S: 501 5.5.4 STARTTLS has no parameter
	C: RSET
	S* 250
	C: quit
	S* 221
	END`},
		"browsers are sent away": {MX, `
	S* 220
	C: POST / HTTP/1.1
	S: 421 4.7.0 This is a mail server
	END`},
		"STARTTLS forgets": {MX, `
	S* 220
	C: EHLO there.test
	S* 250
	C: MAIL FROM:<x@there.test>
	S* 250
	C: RCPT TO:<alice@here.test>
	S* 250
	C: STARTTLS
	S: 220 2.0.0 Ready to start TLS
	TLS
	C: DATA
	S: 503 5.5.1 Send EHLO first
	C: MAIL FROM:<x@there.test>
	S: 503 5.5.1 Send EHLO first
	C: EHLO there.test
	S: 250-mx.test greets there.test
	S: 250-REQUIRETLS
	S: 250-PIPELINING
	S* 250
	C: STARTTLS
	S: 503 5.5.1 TLS is active already
	C: DATA
	S: 503 5.5.1 No valid recipients
	C: MAIL FROM:<x@there.test> REQUIRETLS
	S: 250 2.1.0 Ok
	C: RCPT TO:<postmaster>
	S: 250 2.1.5 Ok`},
		"commands before a handshake are not the client's": {MX, `
	S* 220
	C: EHLO there.test
	S* 250
	C- "STARTTLS\r\nRSET\r\n"
	S: 421 4.7.0 Input after STARTTLS
	END`},
		"submission": {Submission, login + `
	C: MAIL FROM:<alice@here.test>
	S: 250 2.1.0 Ok
	C: RCPT TO:<x@elsewhere.test>
	S: 250 2.1.5 Ok
	C: RCPT TO:<bob@here.test>
	S: 250 2.1.5 Ok
	C: DATA
	S* 354
	C: From: Alice <alice@here.test>
	C:
	C: .
	S: 250 2.0.0 Ok: queued as …`},
		"submission needs TLS, then a login": {Submission, `
	S* 220
	C: EHLO laptop
	S: 250-mx.test greets laptop
	S: 250-STARTTLS
	S: 250-FUTURERELEASE 2592000 20…
	S: 250-DELIVERBY
	S: 250-PIPELINING
	S: 250-8BITMIME
	S: 250-ENHANCEDSTATUSCODES
	S: 250-CHUNKING
	S: 250-SMTPUTF8
	S: 250-DSN
	S: 250-SIZE 52428800
	S: 250 LIMITS RCPTMAX=100
	C: MAIL FROM:<alice@here.test>
	S: 530 5.7.0 Must issue a STARTTLS command first
	C: AUTH PLAIN {plain:alice:pw-alice}
	S: 538 5.7.11 Encryption required for authentication
	C: AUTH LOGIN
	S: 538 5.7.11 Encryption required for authentication
	C: STARTTLS
	S* 220
	TLS
	C: EHLO laptop
	S: 250-mx.test greets laptop
	S: 250-REQUIRETLS
	S: 250-FUTURERELEASE 2592000 20…
	S: 250-DELIVERBY
	S: 250-PIPELINING
	S: 250-8BITMIME
	S: 250-ENHANCEDSTATUSCODES
	S: 250-CHUNKING
	S: 250-AUTH PLAIN LOGIN
	S* 250
	C: MAIL FROM:<alice@here.test>
	S: 530 5.7.0 Authentication required`},
		"senders are one's own": {Submission, login + `
	C: MAIL FROM:<bob@here.test>
	S: 553 5.7.1 <bob@here.test>: not a sender address of this user
	C: MAIL FROM:<>
	S: 250 2.1.0 Ok
	C: RSET
	S* 250
	C: MAIL FROM:<alice@here.test>
	S* 250
	C: RCPT TO:<bob@here.test>
	S* 250
	C: DATA
	S* 354
	C: From: Bob <bob@here.test>
	C:
	C: .
	S: 553 5.7.1 <bob@here.test>: not a From address of this user
	C: NOOP
	S* 250`},
		"AUTH LOGIN": {Submission, startTLS + `
	C: AUTH LOGIN
	S: 334 {b64:Username:}
	C: {b64:alice}
	S: 334 {b64:Password:}
	C: {b64:pw-alice}
	S: 235 2.7.0 Authentication successful
	C: AUTH LOGIN
	S: 503 5.5.1 Already authenticated`},
		"AUTH LOGIN with the name at once": {Submission, startTLS + `
	C: AUTH LOGIN {b64:alice}
	S: 334 {b64:Password:}
	C: {b64:pw-alice}
	S: 235 2.7.0 Authentication successful`},
		"AUTH PLAIN in two steps": {Submission, startTLS + `
	C: auth plain
	S: 334 
	C: {plain:alice:pw-alice}
	S: 235 2.7.0 Authentication successful`},
		"AUTH fails": {Submission, startTLS + `
	C: AUTH
	S: 501 5.5.4 Name a mechanism
	C: AUTH CRAM-MD5
	S: 504 5.5.4 Unrecognized authentication mechanism
	C: AUTH PLAIN ???
	S: 501 5.5.2 Cannot decode the base64 response
	C: AUTH PLAIN
	S* 334
	C: ???
	S: 501 5.5.2 Cannot decode the base64 response
	C: AUTH LOGIN
	S* 334
	C: *
	S: 501 5.7.0 Authentication cancelled
	C: AUTH PLAIN {plain:broken:x}
	S: 454 4.7.0 Temporary authentication failure, try again later
	C: AUTH PLAIN =
	S: 501 5.5.2 Malformed authentication response
	C: AUTH PLAIN {plain:alice:wrong}
	S: 535 5.7.8 Authentication credentials invalid
	C: AUTH PLAIN {plain:alice:wrong}
	S: 535 5.7.8 Authentication credentials invalid
	S: 421 4.7.0 Too many failed logins
	END`},
		"AUTH within a transaction": {Submission, login + `
	C: MAIL FROM:<alice@here.test>
	S* 250
	C: AUTH PLAIN {plain:alice:pw-alice}
	S: 503 5.5.1 Already authenticated`},
		"AUTH has no place at the MX": {MX, `
	S* 220
	C: EHLO x
	S* 250
	C: AUTH PLAIN {plain:alice:pw-alice}
	S: 502 5.5.1 AUTH is not offered`},
		"BDAT": {MX, hello + `
	C- "BDAT 10\r\nSubject: x"
	S: 250 2.0.0 Continue
	C: MAIL FROM:<z@there.test>
	S: 503 5.5.1 A message is being sent by BDAT
	C- "BDAT 0\r\nBDAT 8 LAST\r\n\r\n\r\nbody"
	S: 250 2.0.0 Continue
	S: 250 2.0.0 Ok: queued as …
	C: NOOP
	S* 250`},
		"BDAT without recipients": {MX, `
	S* 220
	C: EHLO x
	S* 250
	C- "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"
	S: 503 5.5.1 No valid recipients
	S: 250 2.0.0 Ok`},
		"BDAT with a bad size": {MX, hello + `
	C- "BDAT -1 LAST\r\nQUIT\r\n"
	S: 501 5.5.4 Syntax: BDAT size [LAST]
	END`},
		"LMTP": {LMTP, `
	S: 220 mx.test LMTP ready
	C: EHLO x
	S* 500
	C: LHLO x
	S: 250-mx.test greets x
	S: 250-PIPELINING
	S* 250
	C: MAIL FROM:<x@there.test>
	S* 250
	C: RCPT TO:<alice@here.test>
	S* 250
	C: RCPT TO:<nobody@here.test>
	S* 550
	C: RCPT TO:<carol@here.test>
	S* 250
	C: RCPT TO:<alice@here.test>
	S* 250
	C: DATA
	S* 354
	C: .
	S: 250 2.0.0 <alice@here.test> Ok: queued as …
	S: 552 5.2.2 <carol@here.test> Mailbox is full
	S: 250 2.0.0 <alice@here.test> Ok: queued as …
	C: QUIT
	S* 221`},
		"local submission": {Local, `
	S: 220 mx.test ESMTP ready
	C: EHLO localhost
	S: 250-mx.test greets localhost
	S: 250-FUTURERELEASE 2592000 20…
	S: 250-DELIVERBY
	S: 250-PIPELINING
	S* 250
	C: MAIL FROM:<alice@here.test>
	S* 250
	C: RCPT TO:<x@elsewhere.test>
	S* 250
	C: DATA
	S* 354
	C- "Subject: unix line ends\n\nbody\n\r\n.\r\n"
	S: 250 2.0.0 Ok: queued as …`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := build(t, c.mode, nil)
			h.local["carol"] = status.MailboxFull(nil)
			talk(t, h.dial(t), c.script)
		})
	}
}
