package clienttest

import (
	"strings"
	"testing"
)

// imaplibScript gives every command that imaplib has a method for, each with
// what it must answer. check stops at the first that does not.
const imaplibScript = `
import base64, imaplib, ssl, sys, time
port, cert, user, password = int(sys.argv[1]), *sys.argv[2:5]
context = ssl.create_default_context(cafile=cert)
used = set()
class Client(imaplib.IMAP4_SSL):
    def __getattribute__(self, name):
        if not name.startswith("_"): used.add(name)
        return super().__getattribute__(name)
def connect(): return Client("localhost", port, ssl_context=context)
def ok(answer, want=None):
    typ, data = answer
    assert typ in ("OK", "BYE"), answer
    if want is not None: assert data == want, (data, want)
    return data
def no(answer, kind="NO"): assert answer[0] == kind, answer
def mail(subject, body="x"):
    return ("From: Joe <joe@example.org>\r\nSubject: %s\r\nMessage-ID: <%s@test>\r\n\r\n%s\r\n" % (subject, subject, body)).encode()

m = connect()
assert m.PROTOCOL_VERSION == "IMAP4REV1", m.PROTOCOL_VERSION
assert b"localhost" in m.welcome or m.welcome.startswith(b"* OK")
try: m.login(user, "wrong"); assert False
except imaplib.IMAP4.error as e: assert "AUTHENTICATIONFAILED" in str(e), e
try: m.select(); assert False
except imaplib.IMAP4.error: pass
ok(m.login(user, password)); assert m.state == "AUTH"
caps = ok(m.capability())[0].split()
for c in b"IMAP4rev1 UIDPLUS CONDSTORE QRESYNC SORT THREAD=REFERENCES QUOTA ACL IDLE".split():
    print("capability", c.decode(), c in caps)
ok(m.enable("CONDSTORE")); ok(m.noop())
ok(m.namespace(), [b'(("" "/")) NIL NIL'])
for name in "Work", "Work/Sub", '"Odd &- name (1) %"', "Later": ok(m.create(name))
no(m.create("Work"))
assert len(ok(m.list())) == 5, m.list()
ok(m.list('""', '"Work/%"'), [b'(\\HasNoChildren) "/" Work/Sub'])
ok(m.subscribe("Work")); ok(m.subscribe("Later")); ok(m.unsubscribe("Later"))
ok(m.lsub(), [b'() "/" Work'])
ok(m.rename("Later", "Sooner")); no(m.rename("Later", "Never")); ok(m.delete("Sooner")); no(m.delete("Sooner"))
when = imaplib.Time2Internaldate(time.mktime((2001, 2, 3, 4, 5, 6, 0, 0, -1)))
for i in range(4):
    data = ok(m.append("INBOX", r"(\Seen $Label1)" if i == 0 else None, when, mail("m%d" % i, "body %d" % i)))
    assert b"APPENDUID" in data[0], data
data = ok(m.status("INBOX", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)"))
assert b"MESSAGES 4 UIDNEXT 5" in data[0] and b"UNSEEN 3" in data[0], data
ok(m.select("INBOX"), [b"4"])
assert m.response("UIDVALIDITY")[1][0].isdigit() and b"\\Seen" in m.response("FLAGS")[1][0]
assert m.response("UIDNEXT")[1] == [b"5"] and m.is_readonly is False
ok(m.recent())
ok(m.search(None, "ALL"), [b"1 2 3 4"])
ok(m.search("UTF-8", "KEYWORD", "$Label1"), [b"1"])
m.literal = "body 2".encode()
ok(m.search("UTF-8", "BODY"), [b"3"])
ok(m.uid("SEARCH", None, "SUBJECT", "m1"), [b"2"])
ok(m.sort("REVERSE SUBJECT", "UTF-8", "ALL"), [b"4 3 2 1"])
ok(m.uid("SORT", "(SUBJECT)", "UTF-8", "2:3"), [b"2 3"])
ok(m.thread("REFERENCES", "UTF-8", "ALL"), [b"(1)(2)(3)(4)"])
ok(m.uid("THREAD", "ORDEREDSUBJECT", "UTF-8", "ALL"))
data = ok(m.fetch("1", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"))
assert data[0][1] == mail("m0", "body 0") and b" 3-Feb-2001 04:05:06" in data[0][0], data
assert imaplib.Internaldate2tuple(data[0][0]).tm_year == 2001
assert set(imaplib.ParseFlags(data[0][0])) >= {rb"\Seen"}, data
data = ok(m.fetch("1:2", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")); assert data[2][1] == b"Subject: m1\r\n\r\n", data
data = ok(m.uid("FETCH", "2", "(BODY[TEXT])")); assert data[0][1] == b"body 1\r\n", data
data = ok(m.store("2", "+FLAGS", r"(\Flagged Custom)")); assert rb"\Flagged" in data[0] and b"Custom" in data[0], data
data = ok(m.uid("STORE", "2", "-FLAGS", r"(\Flagged)")); assert rb"\Flagged" not in data[0], data
data = ok(m.copy("1:2", "Work")); assert b"COPYUID" in data[0], data
no(m.copy("1", "Nowhere"))
ok(m.uid("COPY", "3", '"Odd &- name (1) %"'))
ok(m.uid("MOVE", "3", "Work")); ok(m.search(None, "ALL"), [b"1 2 3"])
m.response("EXPUNGE") # of the MOVE
ok(m.store("1", "+FLAGS.SILENT", r"\Deleted")); ok(m.expunge(), [b"1"])
ok(m.uid("STORE", "2", "+FLAGS.SILENT", r"(\Deleted)")); ok(m.uid("EXPUNGE", "2:3")); ok(m.search(None, "ALL"), [b"1"])
ok(m.check())
ok(m.unselect()); assert m.state == "AUTH"
ok(m.select("Work", readonly=True), [b"3"]); assert m.is_readonly
ok(m.uid("SEARCH", None, "ALL"), [b"1 2 3"])
no(m.store("1", "+FLAGS", r"(\Seen)"))
ok(m.close())
ok(m.select("Work")); ok(m.store("1:*", "+FLAGS", r"(\Deleted)")); ok(m.close())
ok(m.select("Work"), [b"0"])

# What is in an RFC and not in the server answers so, and the connection lives.
for name, call in {
    "getacl": lambda: m.getacl("INBOX"), "setacl": lambda: m.setacl("INBOX", "bob", "lr"),
    "deleteacl": lambda: m.deleteacl("INBOX", "bob"), "myrights": lambda: m.myrights("INBOX"),
    "getannotation": lambda: m.getannotation("INBOX", "/comment", "value.priv"),
    "setannotation": lambda: m.setannotation("INBOX", "/comment", '("value.priv" "x")'),
    "getquota": lambda: m.getquota("User quota"), "getquotaroot": lambda: m.getquotaroot("INBOX"),
    "setquota": lambda: m.setquota("User quota", "(STORAGE 10)"), "proxyauth": lambda: m.proxyauth("bob"),
    "xatom": lambda: m.xatom("XNOTHING"), "partial": lambda: m.partial("1", "RFC822", "1", "2"),
}.items():
    try: print(name, call())
    except imaplib.IMAP4.error as e: print(name, e)
    ok(m.noop())
ok(m.uid("SEARCH", None, "ALL"))
ok(m.logout())

m = connect()
ok(m.authenticate("PLAIN", lambda _: ("\0%s\0%s" % (user, password)).encode()))
m.debug = 0
try: m.login_cram_md5(user, password); assert False
except (imaplib.IMAP4.error, ValueError): pass
m.enable("UTF8=ACCEPT") if b"UTF8=ACCEPT" in caps else None
if m.utf8_enabled:
    ok(m.create('"Füß"')); data = ok(m.list('""', "F*")); assert "Füß".encode() in data[0], data
    ok(m.append('"Füß"', None, None, "Subject: ü\r\n\r\nü\r\n".encode()))
    ok(m.select('"Füß"'), [b"1"])
m.send(b"raw NOOP\r\n")
while not m.readline().startswith(b"raw OK"): pass
m.shutdown()
every = {n for n in dir(imaplib.IMAP4_SSL) if not n.startswith("_") and n.islower()}
print("not tried:", *sorted(every - used))
print("fine")
`

func TestPython(t *testing.T) {
	python := need(t, "python3", "python3")
	s := newServer(t)
	file := t.TempDir() + "/script.py"
	write(t, file, imaplibScript)
	out := run(t, s.dir, python, file, s.port, s.cert, user, password)
	t.Log(out)
	if !strings.HasSuffix(out, "fine\n") {
		t.Error("the script did not come to its end")
	}
	if list := s.letters("INBOX"); len(list) != 1 || list[0].id() != "<m3@test>" {
		t.Errorf("INBOX: %+v", list)
	}
}
