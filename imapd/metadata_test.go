package imapd

import (
	"fmt"
	"strings"
	"testing"
)

func TestMetadata(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	h.talk(`
		C: a CREATE Work
		S: ~a OK ...
		C: b SETMETADATA Work (/shared/comment "Letters" /PRIVATE/Vendor/x/a {3+}
		C: a"b /private/vendor/x/b/c "deep" /private/raw ~{3+}
		C: x\0y)
		S: b OK SETMETADATA completed.
		C: c GETMETADATA Work /shared/comment
		S: * METADATA Work (/shared/comment "Letters")
		S: c OK ...
		C: c GETMETADATA Work (/shared/comment /private/none)
		S: * METADATA Work (/shared/comment "Letters" /private/none NIL)
		S: c OK ...
		C: d GETMETADATA (DEPTH 1) Work (/private/vendor/x)
		S: * METADATA Work (/private/vendor/x/a "a\"b")
		S: d OK ...
		C: e GETMETADATA (DEPTH infinity) Work /private
		S: * METADATA Work (/private/raw ~{3}
		S: x\0y /private/vendor/x/a "a\"b" /private/vendor/x/b/c "deep")
		S: e OK ...
		C: f GETMETADATA (MAXSIZE 4 DEPTH infinity) Work (/private/vendor /shared)
		S: * METADATA Work (/private/vendor/x/a "a\"b" /private/vendor/x/b/c "deep")
		S: f OK [METADATA LONGENTRIES 7] ...
		C: g SETMETADATA Work (/shared/comment NIL /private/vendor/x/a "")
		S: g OK ...
		C: h GETMETADATA (DEPTH infinity) Work (/shared /private/vendor)
		S: * METADATA Work (/private/vendor/x/a "" /private/vendor/x/b/c "deep")
		S: h OK ...
		C: i GETMETADATA (DEPTH 1) Work /shared
		S: i OK ...
	`)
}

func TestMetadataOfServerAndFolders(t *testing.T) {
	h := newHarness(t, nil)
	h.login("1", "2")
	h.talk(`
		C1: a SETMETADATA "" (/private/comment "mine")
		S1: a OK ...
		C1: b SETMETADATA INBOX (/private/comment "in")
		S1: b OK ...
		C2: c GETMETADATA "" /private/comment
		S2: * METADATA "" (/private/comment "mine")
		S2: c OK ...
		C2: d LIST "" * RETURN (METADATA (/private/comment /shared/x))
		S2: * LIST ... INBOX
		S2: * METADATA INBOX (/private/comment "in" /shared/x NIL)
		S2: d OK ...
		C1: e GETMETADATA None /private/comment
		S1: e NO [NONEXISTENT] ...
		C1: f SETMETADATA None (/private/comment "x")
		S1: f NO [NONEXISTENT] ...
	`)
}

func TestMetadataRefusals(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	for _, entry := range []string{"comment", "/other/x", `"/private/a*"`, `"/private/a%"`, "/private//a", "/private/a/", "/private", `""`, "/private/" + strings.Repeat("x", 300)} {
		h.talk("C: a SETMETADATA INBOX (" + entry + " \"x\")\nS: a BAD Invalid name of an entry")
	}
	h.talk(`
		C: b GETMETADATA (DEPTH 2) INBOX /private
		S: b BAD ...
		C: b GETMETADATA (FOO 2) INBOX /private
		S: b BAD ...
		C: b GETMETADATA INBOX ()
		S: b BAD ...
		C: b SETMETADATA INBOX ()
		S: b BAD ...
		C: c SETMETADATA INBOX (/private/a {32769+}
		C: ` + strings.Repeat("x", 32769) + `)
		S: c NO [METADATA MAXSIZE 32768] ...
	`)
	for i := range 10 {
		var list []string
		for j := range 10 {
			list = append(list, fmt.Sprintf(`/private/e%d "x"`, 10*i+j))
		}
		h.talk("C: d SETMETADATA INBOX (" + strings.Join(list, " ") + ")\nS: d OK ...")
	}
	h.talk(`
		C: e SETMETADATA INBOX (/private/more "x")
		S: e NO [METADATA TOOMANY] ...
	`)
}

func TestCreateSpecialUse(t *testing.T) {
	h := newHarness(t, nil)
	h.login("1", "2")
	h.talk(`
		C1: a CREATE Sent
		S1: ~a OK ...
		C1: b LIST (SPECIAL-USE) "" *
		S1: * LIST (\HasNoChildren \Sent) "/" Sent
		S1: b OK ...
		C1: c CREATE "Meine Post" (USE (\sent \Important))
		S1: c OK ...
		C2: d LIST "" * RETURN (SPECIAL-USE)
		S2: ~* LIST (\HasNoChildren \Sent \Important) "/" "Meine Post"
		S2: * LIST (\HasNoChildren) "/" Sent
		S2: d OK ...
		C1: e CREATE All (USE (\All))
		S1: e NO [USEATTR] ...
		C1: f STATUS All (MESSAGES)
		S1: f NO [NONEXISTENT] ...
		C1: g GETMETADATA "Meine Post" /private/specialuse
		S1: * METADATA "Meine Post" (/private/specialuse "\\Sent \\Important")
		S1: g OK ...
		C1: h SETMETADATA "Meine Post" (/private/specialuse NIL)
		S1: h OK ...
		C2: i LIST (SPECIAL-USE) "" *
		S2: * LIST (\HasNoChildren \Sent) "/" Sent
		S2: i OK ...
		C1: j SETMETADATA INBOX (/private/specialuse "\\Sent")
		S1: j NO [USEATTR] ...
		C1: k SETMETADATA Sent (/private/specialuse "\\Foo")
		S1: k NO [USEATTR] ...
		C1: l RENAME "Meine Post" Post
		S1: l OK ...
		C1: m CREATE "Meine Post/" (USE (\Junk))
		S1: m OK ...
		C1: n LIST (SPECIAL-USE) "" *
		S1: * LIST (\HasNoChildren \Junk) "/" "Meine Post"
		S1: ~n OK ...
	`)
}
