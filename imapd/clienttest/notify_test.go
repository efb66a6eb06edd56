package clienttest

import (
	"strings"
	"testing"
)

// notifyScript is a client of its own, with its own parser, that listens (NOTIFY,
// RFC 5465; CONTEXT=SEARCH, RFC 5267) while imaplib acts. It prints what it hears
// at each step, numbers that differ between servers left out.
const notifyScript = `
import imaplib, re, socket, ssl, sys
port, cert, user, password = int(sys.argv[1]), *sys.argv[2:5]
def connection():
    if cert == "-": return socket.create_connection(("127.0.0.1", port), 20)
    return ssl.create_default_context(cafile=cert).wrap_socket(socket.create_connection(("127.0.0.1", port), 20), server_hostname="localhost")

class Listener:
    def __init__(self):
        self.s = connection(); self.f = self.s.makefile("rwb"); self.n = 0; self.heard = []
        assert self.answer()[1] == "OK"
        self.do('LOGIN %s "%s"' % (user, password))
    def line(self):
        text = self.f.readline()
        assert text.endswith(b"\r\n"), text
        while re.search(rb"\{\d+\}\r\n$", text):
            text += self.f.read(int(re.search(rb"\{(\d+)\}\r\n$", text)[1])) + self.f.readline()
        return text[:-2].decode()
    def parse(self, text):
        stack = [[]]
        for t in re.findall(r'\(|\)|"(?:[^"\\]|\\.)*"|[^\s()"]+(?:\[[^\]]*\])?', text):
            if t == "(": stack.append([])
            elif t == ")": top = stack.pop(); stack[-1].append(top)
            else: stack[-1].append(t.strip('"'))
        assert len(stack) == 1, text
        return stack[0]
    def answer(self): return self.parse(self.line())
    def do(self, command):
        self.n += 1; tag = "t%d" % self.n
        self.f.write(("%s %s\r\n" % (tag, command)).encode()); self.f.flush()
        while True:
            a = self.answer()
            if a[0] == tag:
                assert a[1] == "OK", (command, a)
                return
            self.heard.append(a)
    # tell prints what was heard of the kinds, and waits for the first of them.
    # Dovecot tells at once of other mailboxes only; of the selected one when asked.
    def tell(self, step, *kinds, selected=False):
        if selected and cert == "-": self.do("NOOP")
        while kinds and not any(kinds[0] in a for a in self.heard): self.heard.append(self.answer())
        out = [show(a[1:]) for a in self.heard if any(k in a for k in kinds or ("EXISTS", "FETCH", "STATUS", "LIST", "EXPUNGE", "ESEARCH"))]
        self.heard = []
        print(step + ":", " | ".join(sorted(out)))
def show(a):
    if isinstance(a, str): return re.sub(r"^[0-9]{8,}$", "N", a)
    a = [x for x in a if x not in ("\\Recent", "\\HasNoChildren", "\\HasChildren", "\\NoInferiors", "\\Unmarked", "\\Marked", "\\UnMarked")]
    for extra in ("MODSEQ", "UNSEEN", "HIGHESTMODSEQ", "TAG"): # what may be told or not, or is each time another
        if extra in a: i = a.index(extra); a = a[:i] + a[i+2:]
    if len(a) == 4 and a[0] == "UID" and a[2] == "FLAGS": a = a[2:]
    if a and isinstance(a[0], str) and a[0] in ("MESSAGES", "UIDNEXT", "UIDVALIDITY"):
        pairs = sorted((a[i], a[i+1]) for i in range(0, len(a), 2))
        a = [x for p in pairs for x in p]
    return "(" + " ".join(show(x) for x in a) + ")"

class Actor(imaplib.IMAP4):
    def open(self, *_, **__):
        self.sock = connection(); self._file = self.file = self.sock.makefile("rb")
    def send(self, data): self.sock.sendall(data)
    def shutdown(self): self.sock.close()
imaplib.Commands.setdefault("NOTIFY", ("AUTH", "SELECTED"))
a = Actor(); a.login(user, password)
def did(answer): assert answer[0] == "OK", answer
did(a.create("Work"))
did(a.append("INBOX", None, None, b"Subject: first\r\n\r\nx\r\n"))

w = Listener()
w.do("NOTIFY SET (SELECTED (MessageNew (UID FLAGS) MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge MailboxName SubscriptionChange))")
w.heard = []
w.do("SELECT INBOX"); w.heard = []
did(a.append("INBOX", r"(\Seen)", None, b"Subject: second\r\n\r\nx\r\n"))
w.tell("a message in the selected mailbox", "FETCH", "EXISTS", selected=True)
did(a.select("INBOX")); did(a.store("1", "+FLAGS", r"(\Flagged)"))
w.tell("a flag", "FETCH", selected=True)
did(a.append("Work", None, None, b"Subject: there\r\n\r\nx\r\n"))
w.tell("a message elsewhere", "STATUS")
did(a.create("New"))
w.tell("a new mailbox", "LIST")
did(a.subscribe("New"))
w.tell("a subscription", "LIST")
did(a.store("2", "+FLAGS", r"(\Deleted)")); did(a.expunge())
w.tell("an expunge", "EXPUNGE", selected=True)
did(a.delete("New"))
w.tell("a mailbox that goes", "LIST")
w.do("NOTIFY NONE")
did(a.append("Work", None, None, b"Subject: unheard\r\n\r\nx\r\n")); did(a.create("Unheard"))
w.do("NOOP"); w.tell("after NOTIFY NONE")

w.do("SEARCH RETURN (UPDATE ALL) FLAGGED"); search = "t%d" % w.n; w.tell("a search that stays", "ESEARCH")
did(a.append("INBOX", r"(\Flagged)", None, b"Subject: third\r\n\r\nx\r\n"))
w.do("NOOP"); w.tell("one more is found", "ADDTO")
did(a.store("1", "-FLAGS", r"(\Flagged)"))
w.do("NOOP"); w.tell("one less", "REMOVEFROM")
w.do('CANCELUPDATE "%s"' % search)
did(a.store("1", "+FLAGS", r"(\Flagged)"))
w.do("NOOP"); print("cancelled:", [a for a in w.heard if "ESEARCH" in a])
w.do("LOGOUT"); a.logout()
print("done")
`

// TestNotifyWithAnIndependentClient: what the client hears of ours is what it
// hears of Dovecot.
func TestNotifyWithAnIndependentClient(t *testing.T) {
	python := need(t, "python3", "python3")
	s := newServer(t)
	ours := run(t, t.TempDir(), python, "-c", notifyScript, s.port, s.cert, user, password)
	for _, want := range []string{
		`a message in the selected mailbox: (2 EXISTS) | (2 FETCH (FLAGS (\Seen)))`, `a flag: (1 FETCH (FLAGS (\Flagged)))`,
		`a message elsewhere: (STATUS Work (MESSAGES 1 UIDNEXT 2 UIDVALIDITY N))`, `a mailbox that goes: (LIST (\NonExistent) / New)`,
		"after NOTIFY NONE: \n", "one more is found: (ESEARCH () ADDTO (0 2))", "one less: (ESEARCH () REMOVEFROM (0 1))", "cancelled: []\ndone\n",
	} {
		if !strings.Contains(ours, want) {
			t.Errorf("no %q in\n%s", want, ours)
		}
	}
	d := newDovecotHome(t, "mailbox_list_index = yes\n")
	theirs := run(t, t.TempDir(), python, "-c", notifyScript, d.serve(), "-", user, password)
	if ours != theirs {
		t.Errorf("mailsrvd:\n%s\nDovecot:\n%s", ours, theirs)
	}
}
