package smtpd

import (
	"bytes"
	"strings"
	"time"
)

// corrections replace replies that go-smtp words unlike RFC 5321 (section
// 4.2.4, 4.3.2), RFC 4954 or RFC 3463: mostly 502, "not implemented", for
// commands out of order, and codes that clients take for something else.
var corrections = map[string]string{
	"502 5.5.1 Please introduce yourself first.":                              replyNoHello,
	"502 5.5.1 Missing MAIL FROM command.":                                    "503 5.5.1 Send MAIL first",
	"502 5.5.1 Missing RCPT TO command.":                                      "503 5.5.1 No valid recipients",
	"502 5.5.1 MAIL not allowed during message transfer":                      "503 5.5.1 A message is being sent by BDAT",
	"502 5.5.1 RCPT not allowed during message transfer":                      "503 5.5.1 A message is being sent by BDAT",
	"502 5.5.1 DATA not allowed during message transfer":                      "503 5.5.1 A message is being sent by BDAT",
	"502 5.5.4 Missing parameter":                                             "501 5.5.4 Name a mechanism",
	"454 4.7.0 Invalid base64 data":                                           "501 5.5.2 Cannot decode the base64 response",
	"501 5.0.0 Negotiation cancelled":                                         "501 5.7.0 Authentication cancelled",
	"235 2.0.0 Authentication succeeded":                                      "235 2.7.0 Authentication successful",
	"501 5.5.2 Was expecting MAIL arg syntax of FROM:<address>":               "501 5.1.7 Syntax: MAIL FROM:<address>",
	"501 5.5.2 Was expecting RCPT arg syntax of TO:<address>":                 "501 5.1.3 Syntax: RCPT TO:<address>",
	"500 5.5.4 Unknown MAIL FROM argument":                                    "555 5.5.4 Unknown parameter of MAIL",
	"500 5.5.4 Unknown RCPT TO argument":                                      "555 5.5.4 Unknown parameter of RCPT",
	"500 5.5.4 Malformed AUTH parameter value":                                "501 5.5.4 Malformed AUTH parameter",
	"500 5.5.4 Malformed AUTH parameter mailbox":                              "501 5.5.4 Malformed AUTH parameter",
	"500 5.5.1 Too many errors. Quiting now":                                  "421 4.7.0 Too many errors",
	"501 5.5.2 Bad command":                                                   "500 5.5.2 Command not recognized",
	"500 5.5.2 Error: bad syntax":                                             "500 5.5.2 Command not recognized",
	"252 2.5.0 Cannot VRFY user, but will accept message":                     "252 2.5.0 Send some mail, I'll try my best",
	"250 2.0.0 I have successfully done nothing":                              "250 2.0.0 Ok",
	"354 Go ahead. End your data with <CR><LF>.<CR><LF>":                      "354 End data with <CR><LF>.<CR><LF>",
	"501 5.5.2 Domain/address argument required for HELO":                     "501 5.5.4 Say your name: EHLO hostname",
	"421 4.0.0 Internal server error":                                         "421 4.3.0 Internal error, try again later",
	"554 5.0.0 Error: transaction failed: smtp: message transmission aborted": replyCutOff,
}

const (
	replyNoHello  = "503 5.5.1 Send EHLO first"
	replyShutdown = "421 4.3.2 Service is shutting down"
	replyCutOff   = "421 4.4.2 The message came only in part"
)

// Write implements net.Conn for go-smtp, which writes whole replies line by
// line. They are gathered until the client's turn has come.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line = append(w.line, p...)
	for {
		line, rest, ok := bytes.Cut(w.line, []byte("\r\n"))
		if !ok {
			return len(p), nil
		}
		w.settle(string(line))
		w.line = w.line[:copy(w.line, rest)]
	}
}

// reply writes a whole reply of our own; it always succeeds.
func (w *wire) reply(line string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.send(line)
	return nil
}

// settle corrects one line of a reply and puts it out. w.mu is held.
func (w *wire) settle(line string) {
	last := len(line) < 4 || line[3] != '-'
	if w.muted {
		w.muted = !last
		return
	}
	if better, ok := corrections[line]; ok {
		line = better
	}
	host := w.server.o.Hostname
	switch hello := strings.TrimPrefix(line, "250-Hello "); {
	case w.verb == "" && strings.HasPrefix(line, "220 "):
		line = "220 " + host + " " + w.protocol() + " ready"
	case (w.verb == "EHLO" || w.verb == "LHLO") && hello != line:
		w.send("250-" + host + " greets " + traceToken(hello))
		for _, keyword := range w.extraKeywords() {
			w.send("250-" + keyword)
		}
		return
	case w.verb == "HELO" && strings.HasPrefix(line, "250 "):
		line = "250 " + host + " greets " + traceToken(w.helo)
	case w.verb == "MAIL" && strings.HasPrefix(line, "250 "):
		line = "250 2.1.0 Ok"
	case w.verb == "RCPT" && strings.HasPrefix(line, "250 "):
		line = "250 2.1.5 Ok"
	case w.verb == "RCPT" && strings.HasPrefix(line, "452 4.5.3 "):
		line = "452 4.5.3 Too many recipients"
		w.server.metrics.limited("recipients")
		if !w.crowded { // once, whatever the client goes on to say
			w.crowded = true
			w.log().Info("a message has too many recipients", "most", w.server.o.Limits.Recipients)
		}
	case (w.verb == "MAIL" || w.verb == "RCPT") && strings.HasPrefix(line, "504 "):
		line = "555" + line[3:]
	case w.verb == "BDAT" && w.ended:
		line = replyCutOff
	}
	w.send(line)
}

// send puts out one line and draws its consequences. w.mu is held.
func (w *wire) send(line string) {
	w.out = append(append(w.out, line...), "\r\n"...)
	if len(line) < 4 || line[3] == '-' {
		return
	}
	w.code = line[:3]
	w.answer = w.code == "334"
	if line[0] == '4' || line[0] == '5' {
		w.server.metrics.negative(w.code)
		w.negative++
		if w.negative >= w.server.o.Limits.Errors && w.farewell == "" {
			w.farewell = "421 4.7.0 Too many errors"
			w.server.metrics.limited("errors")
			w.log().Info("a client makes too many errors", "last", line)
		}
	}
}

// extraKeywords are the EHLO keywords that go-smtp, which sees no TLS, cannot
// know.
func (w *wire) extraKeywords() []string {
	times := w.server.timeKeywords(time.Now())
	switch {
	case w.tls != nil:
		return append([]string{"REQUIRETLS"}, times...)
	case w.server.o.TLS != nil:
		return append([]string{"STARTTLS"}, times...)
	}
	return times
}

// mute swallows the next reply: it is to a command that the client did not
// send.
func (w *wire) mute() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.muted = true
}

// accepted sets the count of errors back.
func (w *wire) accepted() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.negative = 0
	w.messages++
}

// flush sends what was gathered.
func (w *wire) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.out) == 0 {
		return nil
	}
	w.conn.SetWriteDeadline(time.Now().Add(w.server.o.Limits.Write))
	_, err := w.conn.Write(w.out)
	if w.out = w.out[:0]; cap(w.out) > smallInput {
		w.out = nil
	}
	return err
}

// protocol is the word in the greeting.
func (w *wire) protocol() string {
	if w.server.o.Mode == LMTP {
		return "LMTP"
	}
	return "ESMTP"
}
