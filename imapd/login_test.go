package imapd

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/auth"
)

func TestGreetingAndEndOfSession(t *testing.T) {
	h := newHarness(t, nil)
	h.talk(`
		S: * OK [CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE IDLE AUTH=PLAIN AUTH=LOGIN] test mailsrvd ready.
		C: a CAPABILITY
		C: b NOOP
		C: c LOGOUT
		S: * CAPABILITY IMAP4rev1 ...
		S: a OK CAPABILITY completed.
		S: b OK NOOP completed.
		S: * BYE Logging out
		S: c OK LOGOUT completed.
		S: EOF
	`)
}

func TestNoPasswordIsTakenInTheClear(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.InsecureAuth, o.TLS = false, testTLS() })
	h.talk(`
		S: * OK [CAPABILITY ... STARTTLS LOGINDISABLED] ...
		C: a LOGIN alice secret
		S: a NO [PRIVACYREQUIRED] Log in under TLS only
		C: b LOGIN {5}
		S: b NO [PRIVACYREQUIRED] ...
		C: c AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==
		S: c NO [PRIVACYREQUIRED] ...
	`)
	if h.auth.tls {
		t.Error("a password was looked at")
	}
}

func TestStartTLS(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.InsecureAuth, o.TLS = false, testTLS() })
	h.talk(`
		S: * OK ...
		C: a STARTTLS
		S: a OK ...
	`)
	h.startTLS("")
	h.talk(`
		C: b CAPABILITY
		S: * CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE IDLE AUTH=PLAIN AUTH=LOGIN
		S: b OK ...
		C: c STARTTLS
		S: c BAD TLS is active already
		C: d LOGIN alice secret
		S: d OK [CAPABILITY ...] Logged in
	`)
	if !h.auth.tls {
		t.Error("the login was not known to be under TLS")
	}
}

// What an attacker puts in front of the handshake must not be answered as the
// client's, inside TLS.
func TestStartTLSDropsWhatCameInTheClear(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.TLS = testTLS() })
	h.talk(`
		S: * OK ...
		C: a STARTTLS
		C: b LOGIN alice secret
		S: a OK ...
	`)
	h.startTLS("")
	h.talk(`
		C: c NOOP
		S: c OK ...
		C: d SELECT INBOX
		S: d BAD Command not allowed now: log in first
	`)
}

func TestImplicitTLS(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.InsecureAuth = false })
	server, client := tcpPair(t)
	h.srv.start(tls.Server(server, testTLS()))
	h.conns[""] = &testConn{Conn: client}
	h.startTLS("")
	h.talk(`
		S: * OK [CAPABILITY ... AUTH=PLAIN AUTH=LOGIN] ...
		C: a LOGIN alice secret
		S: a OK ...
	`)
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestAuthenticate(t *testing.T) {
	plain := b64("\x00alice\x00secret")
	for name, talk := range map[string]string{
		"PLAIN with initial response": `
			C: a AUTHENTICATE PLAIN ` + plain + `
			S: a OK [CAPABILITY ...] Logged in`,
		"plain in lower case": `
			C: a authenticate plain ` + plain + `
			S: a OK ...`,
		"PLAIN without": `
			C: a AUTHENTICATE PLAIN
			S: + 
			C: ` + plain + `
			S: a OK ...`,
		"LOGIN": `
			C: a AUTHENTICATE LOGIN
			S: + ` + b64("Username:") + `
			C: ` + b64("alice") + `
			S: + ` + b64("Password:") + `
			C: ` + b64("secret") + `
			S: a OK ...`,
		"LOGIN with the name as initial response": `
			C: a AUTHENTICATE LOGIN ` + b64("alice") + `
			S: + ` + b64("Password:") + `
			C: ` + b64("secret") + `
			S: a OK ...`,
		"cancelled": `
			C: a AUTHENTICATE PLAIN
			S: + 
			C: *
			S: a BAD Authentication cancelled
			C: b NOOP
			S: b OK ...`,
		"bad base64": `
			C: a AUTHENTICATE PLAIN %%%
			S: a BAD Invalid base64 in the response
			C: b AUTHENTICATE PLAIN
			S: + 
			C: not base64
			S: b BAD Invalid base64 in the response
			C: c NOOP
			S: c OK ...`,
		"malformed": `
			C: a AUTHENTICATE PLAIN ` + b64("alice") + `
			S: a BAD [CLIENTBUG] Malformed authentication response`,
		"empty initial response": `
			C: a AUTHENTICATE PLAIN =
			S: a BAD [CLIENTBUG] ...`,
		"other identity": `
			C: a AUTHENTICATE PLAIN ` + b64("bob\x00alice\x00secret") + `
			S: a NO [AUTHORIZATIONFAILED] ...`,
		"unknown mechanism": `
			C: a AUTHENTICATE CRAM-MD5
			S: a NO [CANNOT] Unsupported authentication mechanism`,
		"wrong password": `
			C: a AUTHENTICATE PLAIN ` + b64("\x00alice\x00guess") + `
			S: a NO [AUTHENTICATIONFAILED] ...`,
		"a literal in place of a response": `
			C: a AUTHENTICATE PLAIN
			S: + 
			C: x{8+}
			C: b NOOP
			C: 
			S: a BAD Invalid base64 in the response
			C: c NOOP
			S: c OK ...`,
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, nil)
			h.talk("S: * OK ...\n" + talk)
		})
	}
}

func TestLoginForms(t *testing.T) {
	h := newHarness(t, nil)
	for _, args := range []string{`alice secret`, `"alice" "secret"`, "{5+}\\r\\nalice {6+}\\r\\nsecret"} {
		h.talk(`
			C: a LOGIN ` + args + `
			S: ~a OK [CAPABILITY IMAP4rev1 ...] Logged in
			C: b LOGIN alice secret
			S: b BAD Command not allowed now: no mailbox is selected
			C: c UNAUTHENTICATE
			S: c OK ...
		`)
	}
	h.talk(`
		C: d LOGIN {5}
		S: + OK
		C: alice {6}
		S: + OK
		C: secret
		S: d OK ...
	`)
}

func TestLoginErrorsTellTheReason(t *testing.T) {
	for want, err := range map[string]error{
		"NO [AUTHENTICATIONFAILED] Authentication credentials invalid":          &auth.Error{Kind: auth.Refused},
		"NO [UNAVAILABLE] Temporary authentication failure, try again later":    errTest,
		"NO [EXPIRED] The password or the account has expired":                  &auth.Error{Kind: auth.Expired},
		"NO [UNAVAILABLE] Too many login attempts, try again later":             &auth.Error{Kind: auth.Throttled},
		"NO [AUTHORIZATIONFAILED] This account may not be used here":            &auth.Error{Kind: auth.Disabled, Cause: errTest},
		"NO [UNAVAILABLE] Temporary authentication failure, try again later...": errors.Join(errTest),
	} {
		h := newHarness(t, nil)
		h.auth.err = err
		h.talk("S: * OK ...\nC: a LOGIN alice secret\nS: a " + want)
	}
}

func TestFailedLoginsEndTheConnection(t *testing.T) {
	h := newHarness(t, nil)
	h.talk(`
		S: * OK ...
		C: a LOGIN alice x
		S: a NO [AUTHENTICATIONFAILED] ...
		C: b LOGIN alice y
		S: b NO [AUTHENTICATIONFAILED] ...
		C: c LOGIN alice z
		S: c NO [AUTHENTICATIONFAILED] ...
		S: * BYE Too many failed logins
		S: EOF
	`)
}

func TestConnectionsPerUser(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Limits.PerUser = 2 })
	h.login("1", "2")
	h.talk(`
		S3: * OK ...
		C3: a LOGIN alice secret
		S3: a NO [LIMIT] Too many connections of this user
		C3: b LOGIN bob secret
		S3: b OK ...
		C1: c LOGOUT
		S1: ~c OK ...
		S1: EOF
	`)
	// The server may still be about to notice that the first one is gone.
	for range 100 {
		h.dial("4")
		h.talk("S4: * OK ...\nC4: a LOGIN alice secret")
		if line := h.conn("4").line(t); strings.HasPrefix(line, "a OK") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the place of a connection that was closed stays taken")
}

func TestDisabledCapabilities(t *testing.T) {
	h := newHarness(t, func(o *Options) {
		o.DisableCapabilities = []string{"idle", "IMAP4rev2", "AUTH=LOGIN", "move"}
	})
	h.talk(`
		S: * OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID ENABLE AUTH=PLAIN] ...
		C: a AUTHENTICATE LOGIN
		S: a NO [CANNOT] ...
		C: b LOGIN alice secret
		S: b OK ...
		C: c IDLE
		S: c BAD Unknown command
		C: d ENABLE IMAP4rev2
		S: * ENABLED
		S: d OK ...
		C: e SELECT INBOX
		S: ~e OK ...
		C: f MOVE 1 x
		S: f BAD Unknown command
	`)
}

func TestOptionsCheckFindsAllProblems(t *testing.T) {
	err := Options{DisableCapabilities: []string{"IMAP4rev1", "FOO"}, Limits: Limits{Line: 100, Idle: time.Minute}}.Check(t.Context())
	if err == nil {
		t.Fatal("no problem found")
	}
	for _, want := range []string{"Auth:", "Stores:", "Limits.Line:", "Limits.Idle:", `"IMAP4rev1"`, `"FOO"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %s", err, want)
		}
	}
}

// A client that has been here for long has the whole time to log in again.
func TestUnauthenticateStartsTheLoginTimeAnew(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Limits.LoginTime = time.Second })
	h.talk(`
		S: * OK ...
		C: a LOGIN alice secret
		S: a OK ...
	`)
	time.Sleep(1100 * time.Millisecond)
	h.talk(`
		C: b UNAUTHENTICATE
		S: b OK ...
		C: c LOGIN bob secret
		S: c OK ...
	`)
}

// A client that stumbles over something has it taken away for its user alone.
func TestCapabilitiesDisabledForOneUser(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.DisableFor = map[string][]string{"alice": {"MOVE", "quota"}} })
	h.login("")
	h.talk(`
		C: a CAPABILITY
		S: * CAPABILITY <<all>> ...
		S: a OK ...
		C: b UID MOVE 1 INBOX
		S: b BAD Unknown command
		C: c GETQUOTA ""
		S: c BAD Unknown command
		C: d UNAUTHENTICATE
		S: d OK ...
		C: e LOGIN bob secret
		S: e OK [CAPABILITY ... MOVE ... QUOTA ...
		C: f SELECT INBOX
		S: ~f OK ...
		C: g UID MOVE 1 INBOX
		S: g OK ...
	`)
	err := Options{DisableFor: map[string][]string{"alice": {"FOO"}}}.Check(t.Context())
	if err == nil || !strings.Contains(err.Error(), `alice: "FOO"`) {
		t.Errorf("Check: %v", err)
	}
}
