package smtpd

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

// times are what MAIL says about the time of delivery: FUTURERELEASE (RFC 4865)
// and DELIVERBY (RFC 2852).
type times struct {
	release time.Time
	by      message.DeliverBy
}

// timeKeywords are those of EHLO, for users of ours.
func (s *Server) timeKeywords(now time.Time) []string {
	if !s.o.Mode.submits() {
		return nil
	}
	most := s.o.Limits.Hold
	return []string{
		fmt.Sprintf("FUTURERELEASE %d %s", int64(most/time.Second), now.Add(most).UTC().Format(time.RFC3339)),
		"DELIVERBY",
	}
}

// cutTimes takes the parameters about time out of a MAIL command, since go-smtp
// knows none of them for MAIL. A reply means that one of them is bad.
func cutTimes(line string, now time.Time, most time.Duration) (rest string, t times, reply string) {
	end := pathEnd(line)
	var keep []string
	seen := map[string]bool{}
	for _, word := range strings.Fields(line[end:]) {
		name, value, _ := strings.Cut(word, "=")
		name = strings.ToUpper(name)
		ok := true
		switch name {
		case "HOLDFOR":
			ok = t.holdFor(value, now)
		case "HOLDUNTIL":
			ok = t.holdUntil(value)
		case "BY":
			ok = t.deliverBy(value, now)
		default:
			keep = append(keep, word)
			continue
		}
		if !ok || seen[name] {
			return "", times{}, "501 5.5.4 Bad " + name + ": " + timeSyntax[name]
		}
		seen[name] = true
	}
	switch {
	case seen["HOLDFOR"] && seen["HOLDUNTIL"]:
		return "", times{}, "501 5.5.4 Give HOLDFOR or HOLDUNTIL"
	case t.release.After(now.Add(most)):
		return "", times{}, fmt.Sprintf("501 5.5.4 Mail is held for %d seconds at most", int64(most/time.Second))
	case t.by.Return && !t.by.At.After(t.release):
		return "", times{}, "501 5.5.4 BY is over before the message is released"
	}
	return strings.Join(append([]string{line[:end]}, keep...), " "), t, ""
}

var timeSyntax = map[string]string{
	"HOLDFOR":   "HOLDFOR=seconds",
	"HOLDUNTIL": "HOLDUNTIL=2026-12-24T18:00:00Z",
	"BY":        "BY=seconds;R or BY=seconds;N, the seconds above 0 with R",
}

func (t *times) holdFor(value string, now time.Time) bool {
	if len(value) > 9 || strings.Trim(value, "0123456789") != "" {
		return false
	}
	n, err := strconv.Atoi(value)
	t.release = now.Add(time.Duration(n) * time.Second)
	return err == nil && n > 0
}

// holdUntil takes a time that has gone by, too: it means now.
func (t *times) holdUntil(value string) (ok bool) {
	at, err := time.Parse(time.RFC3339, value)
	t.release = at
	return err == nil
}

var deliverBy = regexp.MustCompile(`^([-+]?[0-9]{1,9});([RNrn])([Tt]?)$`)

func (t *times) deliverBy(value string, now time.Time) bool {
	m := deliverBy.FindStringSubmatch(value)
	if m == nil {
		return false
	}
	n, _ := strconv.Atoi(m[1])
	t.by = message.DeliverBy{At: now.Add(time.Duration(n) * time.Second), Return: strings.EqualFold(m[2], "R"), Trace: m[3] != ""}
	return n > 0 || !t.by.Return
}

// pathEnd is where the path of a MAIL command ends, and its parameters begin.
func pathEnd(line string) int {
	quoted := false
	for i := strings.IndexByte(line, '<') + 1; i > 0 && i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return i + 1
		}
	}
	return len(line)
}

// hold puts a message for later into the queue, that for mailboxes of ours too.
func (s *session) hold(ctx context.Context, tx *transaction, c *message.Content, p plan) error {
	env := tx.env
	env.Recipients = p.remote
	queued := map[int]bool{}
	for i, r := range tx.recipients {
		for _, n := range p.of[i] {
			if !queued[n] {
				queued[n] = true
				env.Recipients = append(env.Recipients, s.server.deferred(r, p.locals[n]))
			}
		}
	}
	if len(env.Recipients) == 0 { // an alias that throws mail away
		return nil
	}
	return s.server.o.Queue.Enqueue(ctx, env, c)
}
