package managesieve

import (
	"encoding/base64"
	"strings"
	"testing"

	"svc.plus/mailsrvd/lda/sieve"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// plain is a login by PLAIN at one stroke.
func plain(user string) string { return `AUTHENTICATE "PLAIN" "` + b64("\x00"+user+"\x00secret") + `"` }

// TestConversations: each row is a dialogue of one client, command and answer in
// turn; the lines of an answer are joined by "|".
func TestConversations(t *testing.T) {
	const keep = "keep;\r\n"
	bad := "require \"fileinto\";\r\nfileinto;\r\nnonsense;\r\n"
	for name, talk := range map[string][]string{
		"before login": {
			`LISTSCRIPTS`, `NO "Log in first"`,
			`NOOP`, `OK "NOOP completed."`,
			`noop "a tag"`, `OK (TAG "a tag") "Done"`,
			`NOOP ` + literal("two\r\nlines"), "OK (TAG {10}\r\ntwo\r\nlines) \"Done\"",
			`UNAUTHENTICATE`, `NO "Log in first"`,
			`STARTTLS`, `NO "TLS is not configured"`,
			`LOGOUT`, `OK "Logout completed."`,
		},
		"logins": {
			`AUTHENTICATE "CRAM-MD5"`, `NO "Unsupported authentication mechanism"`,
			`AUTHENTICATE "PLAIN" "` + b64("\x00alice\x00wrong") + `"`, `NO "Authentication credentials invalid"`,
			`AUTHENTICATE "PLAIN" "!"`, `NO "Invalid base64 in the response"`,
			`AUTHENTICATE "PLAIN" "` + b64("x") + `"`, `NO "Malformed authentication response"`,
			`AUTHENTICATE "PLAIN" "` + b64("bob\x00alice\x00secret") + `"`, `BYE`,
		},
		"lists and the active one": {
			plain("alice"), `OK "Logged in."`,
			plain("alice"), `NO "You are logged in already"`,
			`LISTSCRIPTS`, `OK "Listscripts completed."`,
			`PUTSCRIPT "b" ` + literal(keep), `OK "PUTSCRIPT completed."`,
			`PUTSCRIPT "a \"q\"" "stop;"`, `OK "PUTSCRIPT completed."`,
			`SETACTIVE "b"`, `OK "Setactive completed."`,
			`LISTSCRIPTS`, `"a \"q\""|"b" ACTIVE|OK "Listscripts completed."`,
			`SETACTIVE "b"`, `OK "Setactive completed."`,
			`SETACTIVE "c"`, `NO (NONEXISTENT) "There is no script of that name"`,
			`GETSCRIPT "b"`, "{7}\r\n" + keep + `|OK "Getscript completed."`,
			`GETSCRIPT "c"`, `NO (NONEXISTENT) "There is no script of that name"`,
			`DELETESCRIPT "b"`, `NO (ACTIVE) "The active script cannot be deleted; activate another one first"`,
			`DELETESCRIPT "c"`, `NO (NONEXISTENT) "There is no script of that name"`,
			`RENAMESCRIPT "b" "a \"q\""`, `NO (ALREADYEXISTS) "There is a script of that name already"`,
			`RENAMESCRIPT "c" "d"`, `NO (NONEXISTENT) "There is no script of that name"`,
			`RENAMESCRIPT "b" "b2"`, `OK "Renamescript completed."`,
			`LISTSCRIPTS`, `"a \"q\""|"b2" ACTIVE|OK "Listscripts completed."`,
			`SETACTIVE ""`, `OK "No script is active now."`,
			`SETACTIVE ""`, `OK "No script is active now."`,
			`LISTSCRIPTS`, `"a \"q\""|"b2"|OK "Listscripts completed."`,
			`DELETESCRIPT "b2"`, `OK "Deletescript completed."`,
			`LISTSCRIPTS`, `"a \"q\""|OK "Listscripts completed."`,
		},
		"scripts are checked": {
			plain("alice"), `OK "Logged in."`,
			`PUTSCRIPT "x" ` + literal(bad), "NO {84}\r\nx:2:9: error: \"fileinto\" wants a string here\r\nx:3:1: error: \"nonsense\" is no command",
			`CHECKSCRIPT ` + literal("keep"), `NO "1:5: error: `,
			`CHECKSCRIPT ` + literal(keep), `OK "Script checked successfully."`,
			`CHECKSCRIPT ` + literal(""), `OK "Script checked successfully."`,
			`PUTSCRIPT "x" ""`, `NO "A script must not be empty; to use none, deactivate it"`,
			`LISTSCRIPTS`, `OK "Listscripts completed."`,
			`PUTSCRIPT "x" ` + literal(`require "include"; include "part";`), `OK (WARNINGS) "x:1:28: warning: there is no script \"part\"; add it, or write :optional"`,
			`SETACTIVE "x"`, `NO "x:1:28: error: there is no script \"part\"; add it, or write :optional"`,
			`PUTSCRIPT "part" ` + literal(`require "include"; include "x";`), `NO `,
			`PUTSCRIPT "part" ` + literal(keep), `OK "PUTSCRIPT completed."`,
			`SETACTIVE "x"`, `OK "Setactive completed."`,
			`PUTSCRIPT "x" ` + literal(`require "include"; include "x";`), `NO "x:1:28: error: the script \"x\" includes itself`,
			`GETSCRIPT "x"`, "{34}\r\n" + `require "include"; include "part";|OK "Getscript completed."`,
		},
		"names": {
			plain("alice"), `OK "Logged in."`,
			`PUTSCRIPT "../x" "keep;"`, `NO "That cannot be the name of a script"`,
			`PUTSCRIPT ".x" "keep;"`, `NO "That cannot be the name of a script"`,
			`PUTSCRIPT "" "keep;"`, `NO "That cannot be the name of a script"`,
			`PUTSCRIPT ` + literal("a\tb") + ` "keep;"`, `NO "That cannot be the name of a script"`,
			`PUTSCRIPT ` + literal("a\u0085b") + ` "keep;"`, `NO "That cannot be the name of a script"`,
			`PUTSCRIPT "` + strings.Repeat("n", maxName+1) + `" "keep;"`, `NO "The name of the script is too long"`,
			`PUTSCRIPT "` + strings.Repeat("n", maxName) + `" "keep;"`, `OK "PUTSCRIPT completed."`,
			`DELETESCRIPT "` + strings.Repeat("n", maxName) + `"`, `OK "Deletescript completed."`,
			`PUTSCRIPT "Füße & co" "keep;"`, `OK "PUTSCRIPT completed."`,
			`RENAMESCRIPT "Füße & co" "a/b"`, `NO "That cannot be the name of a script"`,
			`GETSCRIPT "a/b"`, `NO "That cannot be the name of a script"`,
			`DELETESCRIPT "a/b"`, `NO "That cannot be the name of a script"`,
			`SETACTIVE "a/b"`, `NO "That cannot be the name of a script"`,
			`LISTSCRIPTS`, `"Füße & co"|OK "Listscripts completed."`,
		},
		"room": {
			plain("alice"), `OK "Logged in."`,
			`HAVESPACE "a" 100`, `OK "There is room."`,
			`HAVESPACE "a" 4294967295`, `NO (QUOTA/MAXSIZE) "A script may have 1000 bytes"`,
			`HAVESPACE "a" 99999999999999999999`, `NO (QUOTA/MAXSIZE) "A script may have 1000 bytes"`,
			`HAVESPACE "a" "100"`, `NO "Argument 2 must be a number"`,
			`HAVESPACE "a/b" 1`, `NO "That cannot be the name of a script"`,
			`PUTSCRIPT "a" ` + literal(strings.Repeat("#", 1001)), `NO (QUOTA/MAXSIZE) "The literal is longer than 1000 bytes"`,
			`PUTSCRIPT "a" "#` + strings.Repeat("#", 1001) + `"`, `NO "a:1:1: error: the script is longer than 1000 bytes"`,
			`PUTSCRIPT "a" "keep;"`, `OK "PUTSCRIPT completed."`,
			`PUTSCRIPT "b" "keep;"`, `OK "PUTSCRIPT completed."`,
			`PUTSCRIPT "c" "keep;"`, `NO (QUOTA/MAXSCRIPTS) "There may be 2 scripts"`,
			`HAVESPACE "c" 5`, `NO (QUOTA/MAXSCRIPTS) "There may be 2 scripts"`,
			`HAVESPACE "b" 5`, `OK "There is room."`,
			`PUTSCRIPT "b" "stop;"`, `OK "PUTSCRIPT completed."`,
		},
		"mistakes leave the connection whole": {
			plain("alice"), `OK "Logged in."`,
			``, `NO "There is no command"`,
			`PUTSCRIPT "a"`, `NO "Too few arguments"`,
			`LISTSCRIPTS "a"`, `NO "Too many arguments"`,
			`GETSCRIPT a`, `NO "Argument 1 must be a string, in quotes or as a literal"`,
			`GETSCRIPT "a`, `NO "A quoted string has no end"`,
			`GETSCRIPT "a"b`, `NO "There must be a space between arguments"`,
			`GETSCRIPT "\a"`, `NO "Invalid character in a quoted string"`,
			`PUTSCRIPT "a" {5}`, `NO "A literal must be written {n+}, since nobody asks for it"`,
			`PUTSCRIPT a/b "x" "y" "z" ` + literal("LOGOUT\r\n"), `NO "Too many arguments"`,
			`NONSENSE ` + literal("LOGOUT\r\n") + ` ` + literal("LOGOUT\r\n"), `NO "Unknown command"`,
			`PUTSCRIPT (` + literal("LOGOUT\r\n"), `NO "Invalid character"`,
			`NOOP`, `OK "NOOP completed."`,
		},
		"unauthenticate": {
			plain("alice"), `OK "Logged in."`,
			`PUTSCRIPT "a" "keep;"`, `OK "PUTSCRIPT completed."`,
			`UNAUTHENTICATE`, `OK "Unauthenticated."`,
			`LISTSCRIPTS`, `NO "Log in first"`,
			plain("bob"), `OK "Logged in."`,
			`LISTSCRIPTS`, `OK "Listscripts completed."`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, func(o *Options) {
				o.Limits.LoginFailures = 3
				if name == "room" {
					o.Limits.Scripts = 2
					o.Language = func() sieve.Options { return sieve.Options{Limits: sieve.Limits{ScriptSize: 1000}} }
				}
			})
			c := h.dial()
			for i := 0; i < len(talk); i += 2 {
				c.send(talk[i] + "\r\n")
				lines := c.answer()
				got, want := strings.Join(lines, "|"), talk[i+1]
				if want == "BYE" { // after the NO
					got = c.closed()
				}
				if whole := strings.HasSuffix(want, `"`); whole && got != want || !strings.HasPrefix(got, want) {
					t.Errorf("%.200q\n got %.300q\nwant %.300q", talk[i], got, want)
				}
			}
		})
	}
}
