#!/usr/bin/env python3
"""Delivers mail over and over, as an eager sending server would.

    load.py HOST:PORT SENDER RECIPIENT CONNECTIONS STOPFILE RECEIPTS

Each connection sends one numbered message after another until STOPFILE exists.
What is not acknowledged, by a refusal or a broken connection, is sent again.
The number of each acknowledged message is a line of RECEIPTS.
"""
import os
import smtplib
import sys
import threading
import time

address, sender, recipient, connections, stop, receipts = sys.argv[1:]
host, port = address.rsplit(":", 1)
lock = threading.Lock()
out = open(receipts, "w")
retries = 0


def worker(k):
    global retries
    n, client, deadline = 0, None, time.monotonic() + 300
    while time.monotonic() < deadline and not os.path.exists(stop):
        number = "load-%d-%d" % (k, n)
        try:
            if client is None:
                client = smtplib.SMTP(host, int(port), timeout=20)
            client.sendmail(sender, [recipient], "Subject: %s\r\n\r\n%s\r\n" % (number, "x" * 2000))
        except (OSError, smtplib.SMTPException):
            client = None
            with lock:
                retries += 1
            time.sleep(0.1)
            continue
        with lock:
            out.write(number + "\n")
        n += 1


threads = [threading.Thread(target=worker, args=(k,)) for k in range(int(connections))]
for t in threads:
    t.start()
for t in threads:
    t.join()
out.close()
print("load: %d acknowledged, %d tries failed" % (sum(1 for _ in open(receipts)), retries))
