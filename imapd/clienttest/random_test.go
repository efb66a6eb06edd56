package clienttest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// pick returns one of the choices.
func pick[T any](rnd *rand.Rand, choices ...T) T { return choices[rnd.IntN(len(choices))] }

// random is a command for a session, and what follows for it when it succeeds.
func (d *duel) random(w *twin) (command string, then func()) {
	if w.name == "" || d.rnd.IntN(4) == 0 {
		return d.randomAnywhere(w)
	}
	return d.randomSelected(w), nil
}

// mailbox is a name; it may not exist. It needs no quoting in any answer that
// only one server would give it.
func (d *duel) mailbox() string {
	return pick(d.rnd, "INBOX", "INBOX", "inbox", "a", "a", "a/b", "a/b/c", `"B x"`, "d&APw-", "e/f", "nothing",
		fmt.Sprintf("r%d", d.renamed), fmt.Sprintf("r%d/b", max(1, d.renamed-1)))
}

// randomAnywhere is a command that needs no selected mailbox.
func (d *duel) randomAnywhere(w *twin) (string, func()) {
	name := d.mailbox()
	switch d.rnd.IntN(22) {
	case 0, 1, 2, 3, 4, 5:
		return fmt.Sprintf("APPEND %s %s%s%s", name, d.flagList(" "), d.date(" "), literal(d.message())), nil
	case 6, 7, 8, 9, 10:
		verb := pick(d.rnd, "SELECT", "SELECT", "SELECT", "EXAMINE")
		w.name, w.uids = "", nil // also when it fails (RFC 9051 section 6.3.2)
		return verb + " " + name, func() {
			w.name, w.readOnly = name, verb == "EXAMINE"
			d.look(w)
		}
	case 11, 12:
		return "CREATE " + name, nil
	case 13:
		d.leave(func(t *twin) bool { return strings.EqualFold(t.name, name) })
		return "DELETE " + name, nil
	case 14:
		d.leave(func(*twin) bool { return true })
		// To a new name, since below an old one there may be what would be in
		// the way: that is NO here, and half done there.
		d.renamed++
		return fmt.Sprintf("RENAME %s r%d", name, d.renamed), nil
	case 15:
		if there := cmp.Or(w.name, "INBOX"); d.rnd.IntN(2) == 0 {
			return "SUBSCRIBE " + there, nil // what does not exist may be subscribed to here
		}
		return "UNSUBSCRIBE " + name, nil
	case 16:
		return pick(d.rnd, `LIST "" *`, `LIST "" %`, `LIST "" a/%`, `LIST a/ *`, `LIST (SUBSCRIBED) "" *`, `LIST "" "%/%"`,
			`LIST "" (a* e%)`), nil
	case 17:
		return pick(d.rnd, `LSUB "" *`, `LSUB "" %`, `LSUB "" a/*`), nil
	default:
		return "STATUS " + name + pick(d.rnd, " (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)", " (MESSAGES)", " (UNSEEN)"), nil
	}
}

// leave unselects on both servers what is about to go from under a session: one
// is free to say BYE then, and when.
func (d *duel) leave(which func(*twin) bool) {
	for _, w := range d.twins {
		if w.name != "" && which(w) {
			d.both(w, "UNSELECT")
			w.name, w.uids = "", nil
		}
	}
}

// randomSelected is a command on the selected mailbox.
func (d *duel) randomSelected(w *twin) string {
	uid := pick(d.rnd, "", "UID ")
	set := d.set(w, uid != "")
	if set == "" { // nothing to name
		uid, set = "UID ", "1:*"
	}
	kind := d.rnd.IntN(24)
	if w.readOnly && (kind < 7 || kind >= 9 && kind < 13) {
		kind = 20 // to change an examined mailbox is NO here, and there it is nothing
	}
	switch kind {
	case 0, 1, 2, 3, 4:
		return fmt.Sprintf("%sSTORE %s %sFLAGS%s %s", uid, set, pick(d.rnd, "", "+", "-"), pick(d.rnd, "", ".SILENT"), d.flags())
	case 5, 6:
		return fmt.Sprintf("%sSTORE %s +FLAGS.SILENT (\\Deleted)", uid, set)
	case 7, 8:
		return fmt.Sprintf("%sCOPY %s", uid, d.whereTo(w, set, uid != ""))
	case 9, 10:
		return fmt.Sprintf("%sMOVE %s", uid, d.whereTo(w, set, uid != ""))
	case 11:
		return "EXPUNGE"
	case 12:
		return "UID EXPUNGE " + d.set(w, true)
	case 13, 14, 15, 16:
		return fmt.Sprintf("%sSEARCH %s", uid, d.searchKey(w, 2))
	case 17:
		return fmt.Sprintf("%sSEARCH RETURN (%s) %s", uid, pick(d.rnd, "", "ALL", "MIN MAX COUNT", "COUNT", "MIN"), d.searchKey(w, 1))
	case 18:
		return fmt.Sprintf("%sSORT (%s) UTF-8 %s", uid, pick(d.rnd, "SUBJECT", "REVERSE ARRIVAL", "SIZE", "FROM REVERSE SIZE", "DATE", "TO CC"),
			d.searchKey(w, 1))
	case 19:
		// Not ORDEREDSUBJECT: Dovecot puts a copy behind what is younger by Date.
		return fmt.Sprintf("%sTHREAD REFERENCES UTF-8 %s", uid, d.searchKey(w, 1))
	case 20:
		return "CHECK"
	default:
		return fmt.Sprintf("%sFETCH %s (%s)", uid, set, d.items())
	}
}

// whereTo is a set and a target, which exists for a set that may name nothing:
// either server may look for the other first. It is never the selected mailbox:
// Dovecot loses a copy in the same Maildir from sight, and finds it again under a
// new UID.
func (d *duel) whereTo(w *twin, set string, uid bool) string {
	to := d.mailbox()
	if len(w.uids) == 0 || uid && !strings.HasSuffix(set, "*") {
		to = "INBOX"
	}
	if strings.EqualFold(to, w.name) {
		to = "INBOX"
		if strings.EqualFold(to, w.name) {
			to = "copies"
		}
	}
	return set + " " + to
}

func (d *duel) items() string {
	return pick(d.rnd, "FLAGS", "UID FLAGS", "INTERNALDATE RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE", "BODY", "BODY.PEEK[]", "BODY[]",
		"BODY[TEXT]<3.7>", "BODY.PEEK[HEADER.FIELDS (SUBJECT TO X-NONE)]", "BODY.PEEK[1]", "BODY.PEEK[1.MIME]", "RFC822.HEADER",
		"RFC822.TEXT", "BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT)]", "BINARY.PEEK[1]", "BINARY.SIZE[1]", "UID FLAGS BODY.PEEK[HEADER] RFC822.SIZE")
}

// set is a sequence set, of numbers that the session knows to exist; UIDs may be
// others too. It is "" when there are none.
func (d *duel) set(w *twin, uid bool) string {
	if len(w.uids) == 0 && !uid {
		return ""
	}
	one := func() string {
		if !uid {
			return strconv.Itoa(d.rnd.IntN(len(w.uids)) + 1)
		}
		if len(w.uids) == 0 || d.rnd.IntN(10) == 0 {
			return strconv.Itoa(d.rnd.IntN(100) + 1)
		}
		return w.uids[d.rnd.IntN(len(w.uids))]
	}
	switch d.rnd.IntN(8) {
	case 0:
		return one() + ":" + one()
	case 1:
		return one() + "," + one() + "," + one()
	case 2:
		return one() + ":*"
	case 3:
		return pick(d.rnd, "1:*", "*")
	default:
		return one()
	}
}

var flagNames = []string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`, "$Label1", "$Forwarded", "NonJunk", "k1", "K2"}

// flags is a list of some flags, none of them twice: Dovecot loses those that
// come behind.
func (d *duel) flags() string {
	var list []string
	for _, i := range d.rnd.Perm(len(flagNames))[:d.rnd.IntN(4)] {
		list = append(list, flagNames[i])
	}
	return "(" + strings.Join(list, " ") + ")"
}

func (d *duel) flagList(after string) string {
	if d.rnd.IntN(3) == 0 {
		return ""
	}
	return d.flags() + after
}

// date is always given: without one it is that of the moment.
func (d *duel) date(after string) string {
	return fmt.Sprintf(`"%2d-%s-%d %02d:%02d:%02d %s"`, d.rnd.IntN(28)+1, pick(d.rnd, "Jan", "Jul", "Dec"), 2000+d.rnd.IntN(9),
		d.rnd.IntN(24), d.rnd.IntN(60), d.rnd.IntN(60), pick(d.rnd, "+0000", "-0800", "+0530")) + after
}

// message is a new message of one of several shapes.
func (d *duel) message() string {
	n := d.rnd.IntN(100_000)
	text := fmt.Sprintf("From: %s <%[1]s@example.org>\r\nTo: alice@example.org\r\nDate: %d Feb %d 21:52:25 -0800\r\nMessage-ID: <%d@test>\r\n"+
		"Subject: %s%s\r\n", pick(d.rnd, "joe", "ann", "zoe"), d.rnd.IntN(28)+1, 1994+d.rnd.IntN(20), n, pick(d.rnd, "", "Re: ", "Fwd: "),
		pick(d.rnd, "apples", "pears", "=?utf-8?q?=C3=84pfel?=", "Grapes and more"))
	switch d.rnd.IntN(5) {
	case 0:
		return text + "\r\n"
	case 1:
		return text + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\npreamble\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n" +
			"Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe one\r\n--b\r\nContent-Type: application/octet-stream; name=x\r\n" +
			"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"x.bin\"\r\n\r\nAAECAwQF\r\n--b--\r\n"
	case 2:
		return text + fmt.Sprintf("References: <%d@test> <%d@test>\r\n\r\nanswer\r\n", d.rnd.IntN(100), d.rnd.IntN(100))
	default:
		return text + "\r\n" + strings.Repeat(fmt.Sprintf("line %d of a body\r\n", n), d.rnd.IntN(20))
	}
}

// searchKey is a search key, of others down to this depth.
func (d *duel) searchKey(w *twin, depth int) string {
	if depth > 0 && d.rnd.IntN(3) == 0 {
		sub := func() string { return d.searchKey(w, depth-1) }
		return pick(d.rnd, "NOT "+sub(), "OR "+sub()+" "+sub(), sub()+" "+sub(), "("+sub()+" "+sub()+")")
	}
	switch d.rnd.IntN(6) {
	case 0:
		return "UID " + d.set(w, true)
	case 1:
		if set := d.set(w, false); set != "" {
			return set
		}
		return "ALL"
	case 2:
		return pick(d.rnd, "ALL", "SEEN", "UNSEEN", "ANSWERED", "FLAGGED", "UNFLAGGED", "DELETED", "UNDELETED", "DRAFT",
			"KEYWORD $Label1", "UNKEYWORD NonJunk", "KEYWORD k1", "KEYWORD $Forwarded")
	case 3:
		return pick(d.rnd, "SUBJECT apples", `SUBJECT "re:"`, "FROM joe", "TO alice", "CC x", "TEXT answer", "BODY line", `BODY "of a"`,
			"HEADER Message-ID 7", `HEADER References ""`, "TEXT pears", `SUBJECT "äpfel"`, "BODY grüße")
	case 4:
		return fmt.Sprintf("%s %d", pick(d.rnd, "LARGER", "SMALLER"), d.rnd.IntN(1000))
	default:
		return fmt.Sprintf("%s %d-%s-%d", pick(d.rnd, "BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE"),
			d.rnd.IntN(28)+1, pick(d.rnd, "Feb", "Jul"), 2000+d.rnd.IntN(9))
	}
}
