#!/usr/bin/env python3
"""Prints what IMAP tells of all folders of a user: names and subscriptions,
UIDVALIDITY, and UID, flags and Message-ID of each message.

    mailstate.py PORT USER PASSWORD
"""
import imaplib
import re
import ssl
import sys

port, user, password = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
imap = imaplib.IMAP4_SSL("127.0.0.1", int(port), ssl_context=context)
imap.login(user, password)


def names(answer):
    for line in filter(None, answer[1]):
        yield re.fullmatch(rb'\((.*?)\) "(.)" "?(.*?)"?', line).groups()


print("subscribed:", sorted(n.decode() for _, _, n in names(imap.lsub())))
for attributes, separator, name in sorted(names(imap.list()), key=lambda x: x[2]):
    name = name.decode()
    if re.search(rb"\\(noselect|nonexistent)", attributes, re.I):
        print(name, separator.decode(), "is no folder")
        continue
    imap.select('"%s"' % name, readonly=True)
    print(name, separator.decode(), "UIDVALIDITY", imap.untagged_responses["UIDVALIDITY"][-1].decode())
    for item in imap.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")[1]:
        if isinstance(item, tuple):
            uid = re.search(rb"UID (\d+)", item[0])[1].decode()
            flags = sorted(f for f in re.search(rb"FLAGS \((.*?)\)", item[0])[1].decode().split() if f != r"\Recent")
            print(" ", uid, " ".join(flags), re.search(rb"<(.*?)>", item[1])[1].decode())
imap.logout()
