package smtpd

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxCommand bounds a command line other than AUTH, in bytes with CRLF: 512 of
// RFC 5321 section 4.5.3.1.4 and what extensions add.
const maxCommand = 2048

// command looks at one line before go-smtp does: it answers it, or makes it
// w.feed. An error ends the connection.
func (w *wire) command(raw []byte) error {
	if w.answer { // of a SASL dialogue
		w.answer = false
		w.feed = append(bytes.TrimRight(bytes.Clone(raw), "\r\n"), "\r\n"...)
		return nil
	}
	text, ok := bytes.CutSuffix(raw, []byte("\r\n"))
	if !ok {
		if w.server.o.LineEnds == RejectLineEnds {
			return w.part("500 5.5.2 Commands end in CRLF")
		}
		text = raw[:len(raw)-1]
	}
	line := string(text)
	verb, arg, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	if reply := checkCommand(line, verb); reply != "" {
		return w.reply(reply)
	}
	w.verb = verb
	switch verb {
	case "STARTTLS":
		if arg != "" {
			return w.reply("501 5.5.4 STARTTLS has no parameter")
		}
		return w.startTLS()
	case "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT":
		return w.part("421 4.7.0 This is a mail server")
	case "EHLO", "HELO", "LHLO":
		return w.hello(verb, arg)
	case "RCPT":
		line = w.namePostmaster(line)
	case "BDAT":
		return w.bdat(line, arg)
	case "DATA":
		w.dataTaken = false
	}
	if !w.greeted && needsHello[verb] {
		return w.reply(replyNoHello)
	}
	if verb == "MAIL" && w.server.o.Mode.submits() {
		var reply string
		if line, w.times, reply = cutTimes(line, time.Now(), w.server.o.Limits.Hold); reply != "" {
			return w.reply(reply)
		}
	}
	w.feed = append([]byte(line), "\r\n"...)
	return nil
}

var needsHello = map[string]bool{"MAIL": true, "RCPT": true, "DATA": true, "AUTH": true, "VRFY": true}

// checkCommand refuses lines that no part of the server shall see, or echo.
func checkCommand(line, verb string) (reply string) {
	switch {
	case len(line)+2 > maxCommand && verb != "AUTH":
		return "500 5.5.6 Line is too long"
	case !utf8.ValidString(line):
		return "500 5.5.2 The command is not UTF-8"
	case hasControl(strings.ReplaceAll(line, "\t", " ")):
		return "500 5.5.2 Control character in the command"
	}
	return ""
}

// hello notes how the client introduces itself.
func (w *wire) hello(verb, arg string) error {
	name, _, _ := strings.Cut(strings.TrimSpace(arg), " ")
	if name == "" || len(name) > 255 || strings.ContainsAny(name, "()<>\"\\\t") {
		return w.reply("501 5.5.4 Say your name: " + verb + " hostname")
	}
	w.helo, w.extended = name, verb != "HELO"
	w.greeted = (verb == "LHLO") == (w.server.o.Mode == LMTP)
	w.feed = []byte(verb + " " + name + "\r\n")
	return nil
}

var barePostmaster = regexp.MustCompile(`(?i)^(RCPT TO: ?<"?postmaster"?)>`)

// namePostmaster gives the postmaster without a domain, whom RFC 5321 section
// 4.5.1 wants served, the domain that go-smtp insists on.
func (w *wire) namePostmaster(line string) string {
	return barePostmaster.ReplaceAllString(line, "${1}@"+w.server.o.Hostname+">")
}

// bdat notes how many octets follow (RFC 3030 section 2). Where go-smtp would
// not read them, the connection ends, since they would be read as commands.
func (w *wire) bdat(line, arg string) error {
	fields := strings.Fields(arg)
	if len(fields) == 0 || len(fields) > 2 || len(fields) == 2 && !strings.EqualFold(fields[1], "LAST") {
		return w.part("501 5.5.4 Syntax: BDAT size [LAST]")
	}
	size, err := strconv.ParseUint(fields[0], 10, 32)
	if err != nil {
		return w.part("501 5.5.4 Syntax: BDAT size [LAST]")
	}
	if int64(size) > 2*w.server.o.Limits.MessageSize {
		return w.part("552 5.3.4 Message is too big")
	}
	w.chunk, w.chunkEnd = int64(size), time.Now().Add(w.server.o.Limits.Transfer)
	w.feed = append([]byte(line), "\r\n"...)
	return nil
}
