#!/usr/bin/env python3
"""Runs the commands of a page of the manual and compares what they print.

    manual.py PAGE [PREFIX...]

In each fenced block of the language "console" a line that begins with "# " is
a command for root, with "> " its continuation, and all others are what it
prints: each must come, in this order, but others may come between; "…" stands
for anything, and white space for any white space. A command must succeed unless "(exit status N)" stands below it.
What a reader need not see stands in comments of their own lines:

    <!-- test: COMMAND -->

is run as well, in its place. PREFIX is put before each command (bash -c ...).

    manual.py --spans PAGE...

looks whether every command in the text of the pages, as in `mailsrvd status`, is
among those that are run: words in capitals stand for any.
"""
import re
import subprocess
import sys


def steps(text):
    """Yields (line number, command, expected lines)."""
    fence, command, expected, start = None, None, [], 0
    for n, line in enumerate(text.splitlines(), 1):
        hidden = re.fullmatch(r"<!-- test: (.*) -->", line)
        if fence is None and hidden:
            yield n, hidden[1], []
        elif line.startswith("```") and fence is None:
            fence = line[3:].strip()
        elif line.startswith("```") or fence != "console":
            if line.startswith("```"):
                fence = None
            if command is not None:
                yield start, command, expected
            command = None
        elif line.startswith("# "):
            if command is not None:
                yield start, command, expected
            command, expected, start = line[2:], [], n
        elif (line + " ").startswith("> ") and command is not None:
            command += "\n" + line[2:]
        elif line.strip() and line.strip() != "…":
            expected.append(line)


def pattern(line):
    return re.compile(".*".join(re.escape(p) for p in " ".join(line.split()).split("…")))


def missing(expected, output):
    """The first expected line that does not come in its turn."""
    lines = iter(output.splitlines())
    for want in expected:
        p = pattern(want)
        if not any(p.fullmatch(" ".join(got.split())) for got in lines):
            return want
    return None


def main(page, prefix):
    ran = failed = 0
    for n, command, expected in steps(open(page, encoding="utf-8").read()):
        status = 0
        if expected and (m := re.fullmatch(r"\(exit status (\d+)\)", expected[-1])):
            status, expected = int(m[1]), expected[:-1]
        done = subprocess.run([*prefix, "bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120, text=True, errors="replace")
        ran += 1
        want = missing(expected, done.stdout)
        if done.returncode != status or want is not None:
            print("%s:%d: %s\n%s(exit status %d)" % (page, n, command, done.stdout, done.returncode))
            print("expected %s" % (repr(want) if want is not None else "exit status %d" % status))
            failed += 1
    if failed > 0:
        sys.exit("%s: %d of %d commands are not as written" % (page, failed, ran))
    if ran == 0:
        sys.exit("%s: no command" % page)
    print("%s: %d commands, all as written" % (page, ran))


# Programs whose names begin a command in the text.
PROGRAMS = "mailsrvd|journalctl|systemctl|apt|apt-get|dpkg|ss|ls|doveadm|swaks|curl"


def spans(pages):
    texts = {page: open(page, encoding="utf-8").read() for page in pages}
    ran = [command for text in texts.values() for _, command, _ in steps(text)]
    missed = 0
    for page, text in texts.items():
        prose = re.sub(r"(?ms)^```.*?^```$|<!--.*?-->", "", text)
        for span in re.findall(r"`((?:%s)\s[^`]*)`" % PROGRAMS, prose):
            words = [r"\S+" if w.isupper() else re.escape(w) for w in span.split()]
            form = re.compile(r"(^|[\s;&|(])" + r"\s+".join(words) + r"($|[\s;&|)])", re.M)
            if not any(form.search(command) for command in ran):
                print("%s: `%s` is run nowhere" % (page, " ".join(span.split())))
                missed += 1
    if missed > 0:
        sys.exit("%d commands in the text are not tried" % missed)


if sys.argv[1] == "--spans":
    spans(sys.argv[2:])
else:
    main(sys.argv[1], sys.argv[2:])
