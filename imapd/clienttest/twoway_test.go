package clienttest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
)

// newDovecotHome is newDovecot with a home of its own.
func newDovecotHome(t testing.TB, more string) *dovecot {
	t.Helper()
	dir, err := os.MkdirTemp("", "clienttest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	owner := dovecotOwner(dir + "/home")
	if err := errors.Join(os.Mkdir(owner.Home, 0o700), os.Chown(owner.Home, owner.UID, owner.GID)); err != nil {
		t.Fatal(err)
	}
	return newDovecot(t, dir, owner, more)
}

// sync runs doveadm sync until it is content: now and then it makes a folder, loses
// sight of its GUID over IMAP, and asks to be run again.
func (d *dovecot) sync(args ...string) {
	d.t.Helper()
	for range 5 {
		out, err := d.command("/usr/bin/doveadm", append([]string{"sync"}, args...)...).CombinedOutput()
		if err == nil {
			return
		}
		if !strings.Contains(string(out), "GUID") {
			d.t.Fatalf("doveadm sync: %v\n%s", err, out)
		}
	}
	d.t.Fatal("doveadm sync does not come to an end")
}

// serve runs an imap program of Dovecot's for each connection to a port, for
// clients that want to log in first: any name and password will do. It stands in
// for Dovecot's login service, which needs a whole Dovecot.
func (d *dovecot) serve() (port string) {
	d.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if err := d.converse(c); err != nil {
					d.t.Errorf("a session of Dovecot's: %v", err)
				}
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port
}

// converse answers a client's login, and leaves all else to Dovecot.
func (d *dovecot) converse(client net.Conn) error {
	cmd := d.command(dovecotIMAP)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		return err
	}
	defer cmd.Wait()
	defer in.Close()
	server, from := bufio.NewReader(out), bufio.NewReader(client)
	greeting, err := server.ReadString('\n')
	if err != nil {
		return err
	}
	capabilities := greeting[strings.IndexByte(greeting, '[') : strings.IndexByte(greeting, ']')+1]
	const before = "CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN"
	fmt.Fprintf(client, "* OK [%s] Dovecot ready.\r\n", before)
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return err
		}
		tag, command, _ := strings.Cut(line, " ")
		if strings.HasPrefix(command, "CAPABILITY") {
			fmt.Fprintf(client, "* %s\r\n%s OK done\r\n", before, tag)
			continue
		}
		fmt.Fprintf(client, "%s OK %s Logged in\r\n", tag, capabilities)
		break
	}
	go io.Copy(client, server)
	io.Copy(in, from)
	return nil
}

// TestDovecotSyncsBothWays: a Dovecot and a server of which it is a client change
// on both sides, and doveadm sync brings the changes across, be the server ours or
// another Dovecot.
func TestDovecotSyncsBothWays(t *testing.T) {
	var want []string
	for _, side := range []string{"local", "remote"} {
		want = append(want, side+` INBOX: number r1 ["$Label1" "\\Seen"], number r2 ["\\Answered"], number r4 []`,
			side+" Sent: number r3 []", side+" Here: number l2 []", side+" There: ")
	}
	for name, ours := range map[string]bool{"mailsrvd": true, "Dovecot": false} {
		if got := twoWay(t, ours); !slices.Equal(got, want) {
			t.Errorf("with %s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// twoWay returns what both sides hold in the end, with our server or with a
// Dovecot as the other side.
func twoWay(t *testing.T, ours bool) []string {
	var settings string
	var dial func() *conn
	if ours {
		s := newServer(t)
		settings, dial = imapc(s), s.dial
	} else {
		d := newDovecotHome(t, "")
		settings, dial = fmt.Sprintf("imapc_host = 127.0.0.1\nimapc_port = %s\nimapc_user = x\nimapc_password = x\nimapc_list_prefix =\n"+
			"imapc_features = rfc822.size fetch-headers fetch-bodystructure\n", d.serve()), d.imap
	}
	local := newDovecotHome(t, settings)

	say := func(dial func() *conn, commands ...string) {
		c := dial()
		defer c.close()
		for _, command := range commands {
			c.ok(command)
		}
	}
	say(dial, "CREATE Sent", "APPEND INBOX "+literal(mail("r1")), "APPEND INBOX (\\Answered) "+literal(mail("r2")), "APPEND Sent "+literal(mail("r3")))
	local.sync("imapc:")
	local.sync("imapc:")
	// New messages on both sides of one folder are left out: imapc knows messages
	// by their UIDs alone, and with Dovecot on the other side, too, doubles both.
	// So are flags changed on the other side, which lose against those here.
	say(local.imap, "SELECT INBOX", `STORE 1 +FLAGS (\Seen $Label1)`, "CREATE Here", "APPEND Here "+literal(mail("l2")))
	say(dial, "APPEND INBOX "+literal(mail("r4")), "CREATE There")
	local.sync("imapc:")
	local.sync("imapc:")
	return append(holds("local", local.imap), holds("remote", dial)...)
}

// holds tells what the folders of one side hold.
func holds(side string, dial func() *conn) (list []string) {
	c := dial()
	defer c.close()
	for _, folder := range []string{"INBOX", "Sent", "Here", "There"} {
		c.ok("SELECT " + folder)
		var messages []string
		untagged, _ := c.do("FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
		for _, line := range untagged {
			_, flags, found := strings.Cut(line, "FLAGS (")
			if !found {
				continue
			}
			flags, text, _ := strings.Cut(flags, ")")
			fields := slices.DeleteFunc(strings.Fields(flags), func(f string) bool { return f == `\Recent` })
			slices.Sort(fields)
			_, subject, _ := strings.Cut(text, "Subject: ")
			subject, _, _ = strings.Cut(subject, "\r\n")
			messages = append(messages, fmt.Sprintf("%s %q", subject, fields))
		}
		slices.Sort(messages)
		list = append(list, fmt.Sprintf("%s %s: %s", side, folder, strings.Join(messages, ", ")))
	}
	return list
}
