package sieve

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rfcMessage has what the cases below look at.
const rfcMessage = "Return-Path: <coyote@desert.example>\r\n" +
	"Received: from a.example by b.example with ESMTP; Thu, 01 Jan 2026 00:30:00 +0100\r\n" +
	"Received: from c.example by a.example; Wed, 31 Dec 2025 15:29:00 -0800\r\n" +
	"Date: Wed, 31 Dec 2025 23:29:30 +0000\r\n" +
	"From: \"Wile E. Coyote\" <coyote+traps@desert.example>\r\n" +
	"To: Roadrunner <runner@desert.example>, acme@shop.example\r\n" +
	"Cc: sheep@farm.example\r\n" +
	"Subject: [acme-users] [fwd] order: 3 anvils\r\n" +
	"List-Id: ACME Users <users.acme.example>\r\n" +
	"X-Priority: 3\r\n" +
	"X-Score: 17.5\r\n" +
	"X-Empty:\r\n" +
	"Message-ID: <anvils@desert.example>\r\n" +
	"MIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=cut\r\n" +
	"\r\n" +
	"Not for readers of MIME.\r\n" +
	"--cut\r\n" +
	"Content-Type: text/plain; charset=iso-8859-1\r\n" +
	"Content-Transfer-Encoding: quoted-printable\r\n" +
	"\r\n" +
	"Drei Ambosse f=FCr den Kojoten\r\n" +
	"--cut\r\n" +
	"Content-Type: application/x-bill\r\n" +
	"Content-Transfer-Encoding: base64\r\n" +
	"\r\n" +
	"dG90YWw6IDQyIGRvbGxhcnM=\r\n" +
	"--cut--\r\n"

// What the standards say, in a case for each rule: the test must hold.
func TestStandardsHold(t *testing.T) {
	env := Env{From: "coyote@desert.example", To: "runner+fast@desert.example", Now: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), Zone: time.UTC}
	for _, c := range []struct{ rule, test string }{
		{"RFC 5228 2.7.1: is compares all", `not header :is "subject" "order"`},
		{"RFC 5228 2.7.1: contains compares parts", `header :contains "subject" "ORDER"`},
		{"RFC 5228 2.7.1: the empty key is contained in any value", `header :contains "x-priority" ""`},
		{"RFC 5228 2.7.1: * stands for none or more", `header :matches "x-priority" "*3*"`},
		{"RFC 5228 2.7.1: ? stands for one", `not header :matches "x-priority" "?3"`},
		{"RFC 5228 2.7.1: a backslash quotes wildcards", `string :matches "a*b" "a\\*b"`},
		{"RFC 5228 2.7.2: a value must exist to match", `not header :contains "x-none" ""`},
		{"RFC 5228 2.7.2: an empty value does exist", `header :is "x-empty" ""`},
		{"RFC 5228 2.7.3: casemap is the default", `header "list-id" "acme users <USERS.ACME.EXAMPLE>"`},
		{"RFC 5228 2.7.4: the local-part has its quotes off", `address :localpart "from" "coyote+traps"`},
		{"RFC 5228 2.7.4: domain", `address :domain "from" "DESERT.example"`},
		{"RFC 5228 2.7.4: all is without the display name", `not address :all :contains "from" "Wile"`},
		{"RFC 5228 5.1: any address of any field", `address ["to", "cc"] ["x@y.example", "sheep@farm.example"]`},
		{"RFC 5228 5.2: allof of true tests", `allof (true, not false, exists "to")`},
		{"RFC 5228 5.3: anyof of false tests", `not anyof (false, not true, exists "x-none")`},
		{"RFC 5228 5.4: envelope", `envelope "from" "coyote@desert.example"`},
		{"RFC 5228 5.5: exists wants all of them", `not exists ["from", "x-none"]`},
		{"RFC 5228 5.9: size", `allof (size :over 800, size :under 2K)`},
		{"RFC 5228 5.9: exactly is neither", "not anyof (size :over " + strconv.Itoa(len(rfcMessage)) + ", size :under " + strconv.Itoa(len(rfcMessage)) + ")"},
		{"RFC 5229 5: string", `string :is "a" "A"`},
		{"RFC 5229 5: count leaves out empty strings", `string :count "eq" ["a", "", "b"] "2"`},
		{"RFC 5231 4: value", `header :value "lt" :comparator "i;ascii-numeric" "x-priority" "10"`},
		{"RFC 5231 4: without the comparator they are texts", `not header :value "lt" "x-priority" "10"`},
		{"RFC 5231 4: value of what is no number", `header :value "gt" :comparator "i;ascii-numeric" "subject" "1000000"`},
		{"RFC 5231 5: count counts fields", `header :count "eq" "received" "2"`},
		{"RFC 5231 5: and addresses", `address :count "eq" ["to", "cc"] "3"`},
		{"RFC 5233 4: user", `address :user "from" "coyote"`},
		{"RFC 5233 4: detail", `address :detail "from" "traps"`},
		{"RFC 5233 4: no separator, no detail", `not address :detail :contains "to" ""`},
		{"RFC 5233: of envelopes too", `envelope :detail "to" "fast"`},
		{"RFC 5260 4: date in the local zone", `date "date" "year" "2025"`},
		{"RFC 5260 4.1: zone", `date :zone "+0100" "date" "year" "2026"`},
		{"RFC 5260 4.1: originalzone", `date :originalzone "date" "zone" "+0000"`},
		{"RFC 5260 4.2: weekday", `date "date" "weekday" "3"`},
		{"RFC 5260 4.2: julian", `date "date" "julian" "61040"`},
		{"RFC 5260 4.2: std11", `date :zone "-0800" "date" "std11" "Wed, 31 Dec 2025 15:29:30 -0800"`},
		{"RFC 5260 4: Received has its date at its end", `date :originalzone :index 1 "received" "hour" "00"`},
		{"RFC 5260 5: currentdate", `currentdate :value "ge" "date" "2026-01-01"`},
		{"RFC 5260 5: and its zone", `currentdate :zone "-1200" "day" "01"`},
		{"RFC 5260 6: index", `header :index 2 :contains "received" "c.example"`},
		{"RFC 5260 6: last", `header :index 1 :last :contains "received" "c.example"`},
		{"RFC 5260 6: there is no such index", `not header :index 3 :contains "received" ""`},
		{"RFC 5173 5.1: raw is not decoded", `body :raw :contains "f=FCr"`},
		{"RFC 5173 5.1: raw has no header", `not body :raw :contains "List-Id"`},
		{"RFC 5173 5.2: content is decoded", `body :content "text/plain" :contains "für"`},
		{"RFC 5173 5.2: of any type", `body :content "application" :contains "42 dollars"`},
		{"RFC 5173 5.2: a multipart is its prologue", `body :content "multipart" :contains "readers of MIME"`},
		{"RFC 5173 5.3: text", `body :text :contains "Kojoten"`},
		{"RFC 5173 5.3: is of text parts", `not body :text :contains "dollars"`},
		{"RFC 5183 4.1: unknown items do not match", `not environment :contains "x-unknown" ""`},
		{"RFC 5232 4: hasflag of no flags", `not hasflag :contains ""`},
		{"RFC 5463 4: ihave", `allof (ihave "fileinto", not ihave "frobnicate")`},
		{"RFC 5490 3.1: the inbox exists", `mailboxexists "INBOX"`},
		{"RFC 4790 9.1.1: numbers", `header :comparator "i;ascii-numeric" "x-score" "17"`},
	} {
		if !holds(t, c.test, rfcMessage, env) {
			t.Errorf("%s: %s", c.rule, c.test)
		}
	}
}

// What the standards say of actions.
func TestStandardsOfActions(t *testing.T) {
	for _, c := range []struct{ rule, script, want string }{
		{"RFC 5228 2.10.2: the implicit keep", ``, `keep (implicit)`},
		{"RFC 5228 2.10.2: is cancelled by fileinto", `fileinto "a";`, `store in mailbox "a"`},
		{"RFC 5228 2.10.3: one copy in a mailbox", `fileinto "a"; fileinto "a"; keep; fileinto "INBOX";`, `store in mailbox "a"; keep`},
		{"RFC 5228 3.1: one branch", `if true { keep; } elsif true { discard; } else { fileinto "a"; }`, `keep`},
		{"RFC 5228 3.3: stop", `fileinto "a"; stop; fileinto "b";`, `store in mailbox "a"`},
		{"RFC 5228 4.4: discard cancels only the implicit keep", `fileinto "a"; discard;`, `store in mailbox "a"`},
		{"RFC 3894 3: copy", `redirect :copy "a@b.example"; fileinto "c";`, `redirect to <a@b.example>; store in mailbox "c"`},
		{"RFC 5229 3: variables without a value are empty", `fileinto "a${nothing}b";`, `store in mailbox "ab"`},
		{"RFC 5229 3: names have no case", `set "X" "1"; fileinto "${x}";`, `store in mailbox "1"`},
		{"RFC 5229 3.2: ${0} is all of it", `if header :matches "list-id" "*<*>*" { fileinto "${0}"; }`, `store in mailbox "ACME Users <users.acme.example>"`},
		{"RFC 5229 3.2: as little as possible", `if header :matches "subject" "[*] *" { fileinto "${1}|${2}"; }`, `store in mailbox "acme-users|[fwd] order: 3 anvils"`},
		{"RFC 5229 3.2: only a match sets them", `if string :matches "a" "*" {} if string :matches "b" "a?" {} fileinto "${1}";`, `store in mailbox "a"`},
		{"RFC 5229 4.1: modifiers by precedence", `set :length :upperfirst :lower "a" "ABCD"; fileinto "${a}";`, `store in mailbox "4"`},
		{"RFC 5229 4.1.4: quotewildcard", `set :quotewildcard "a" "[a*]"; if string :matches "[a*]" "${a}" { discard; }`, `discard`},
		{"RFC 5232 3: setflag replaces", `setflag "a b"; setflag "c"; keep;`, `keep, flags c`},
		{"RFC 5232 3: addflag adds each once", `addflag ["a", "b a"]; addflag "B"; keep;`, `keep, flags a b`},
		{"RFC 5232 3: removeflag", `setflag "a b c"; removeflag ["c", "A"]; keep;`, `keep, flags b`},
		{"RFC 5232 5: flags of one action", `setflag "a"; fileinto :flags "b" "x"; keep;`, `store in mailbox "x", flags b; keep, flags a`},
		{"RFC 5429 2.2: reject cancels the implicit keep", `reject "no";`, `reject: "no"`},
		{"RFC 5429 2.1: ereject too", `ereject "no";`, `reject: "no"`},
		{"RFC 5293 4: addheader puts it in front", `addheader "X-A" "b"; if header :index 1 "x-a" "b" { discard; }`, `discard`},
		{"RFC 5293 5: deleteheader", `deleteheader :contains "received" "c.example"; if header :count "eq" "received" "2" { discard; }`, `discard`}, // but not Received: section 6
		{"RFC 5293 5: by its value", `deleteheader :contains "x-score" "17"; if not exists "x-score" { discard; }`, `discard`},
		{"RFC 5490 3.2: create", `fileinto :create "New";`, `store in mailbox "New", made if missing`},
		{"RFC 8579 4: specialuse", `fileinto :specialuse "\\Archive" "Old";`, `store in mailbox "Old" or that for \Archive`},
		{"RFC 6609 3.3: return ends the script", `fileinto "a"; return; fileinto "b";`, `store in mailbox "a"`},
		{"RFC 5230 4: vacation keeps, and does not answer lists", `vacation :addresses "acme@shop.example" "away";`, `keep (implicit)`},
		{"RFC 5463: an if that ihave decides", `if ihave "frobnicate" { frobnicate; } else { discard; }`, `discard`},
	} {
		res := runOn(t, requireAll+c.script, rfcMessage, Env{From: "coyote@desert.example", To: "runner@desert.example"})
		if got := describe(res); got != c.want {
			t.Errorf("%s: %s\ngot  %s\nwant %s", c.rule, c.script, got, c.want)
		}
	}
}

// A string that grows too long stops a script wherever it stands.
func TestTooLongStringsStopEveryCommand(t *testing.T) {
	long := `"` + strings.Repeat("${a}", 300) + `"`
	set := requireAll + `set "a" "` + strings.Repeat("a", 4000) + `";`
	env := Env{
		SpecialUse:    func(context.Context, string) (string, error) { return "a", nil },
		MailboxExists: func(context.Context, string) (bool, error) { return true, nil },
	}
	for _, use := range []string{
		`fileinto X;`, `fileinto :specialuse X "a";`, `fileinto :flags X "a";`, `keep :flags X;`, `redirect X;`, `reject X;`, `ereject X;`, `error X;`,
		`set "b" X;`, `setflag X;`, `addflag "v" X;`, `removeflag X;`, `addheader X "a";`, `addheader "a" X;`, `deleteheader X;`, `deleteheader "subject" X;`,
		`vacation X;`, `vacation :subject X "a";`, `vacation :from X "a";`, `vacation :handle X "a";`, `vacation :addresses X "a";`,
		`if header X "a" {}`, `if header "subject" X {}`, `if header :count "eq" "subject" X {}`, `if header :matches "subject" X {}`, `if header :regex "subject" X {}`,
		`if address X "a" {}`, `if address "from" X {}`, `if envelope X "a" {}`, `if envelope "from" X {}`, `if exists X {}`, `if not exists X {}`,
		`if allof(true, exists X) {}`, `if anyof(false, exists X) {}`, `if string X "a" {}`, `if string "a" X {}`, `if hasflag X {}`, `if hasflag "v" X {}`,
		`if body X {}`, `if body :content X "a" {}`, `if body :raw X {}`, `if date X "year" "1" {}`, `if date "date" X "1" {}`, `if date "date" "year" X {}`, `if date :zone X "date" "year" "1" {}`,
		`if currentdate X "1" {}`, `if currentdate :zone X "year" "1" {}`, `if currentdate "year" X {}`, `if environment X "a" {}`, `if environment "name" X {}`,
		`if mailboxexists X {}`, `if specialuse_exists X {}`, `if specialuse_exists X "\\Junk" {}`, `if duplicate :handle X {}`, `if duplicate :header X {}`, `if duplicate :uniqueid X {}`,
		`if spamtest X {}`, `if virustest X {}`,
	} {
		s := compile(t, set+strings.ReplaceAll(use, "X", long))
		res, err := s.Run(t.Context(), messageOf(plain), env)
		if err == nil || !strings.Contains(err.Error(), "longer than 1048576 bytes") || describe(res) != "keep (implicit)" {
			t.Errorf("%s: %v, %s", use, err, describe(res))
		}
	}
}

// A script that has done too much is stopped wherever it is.
func TestWorkEndsEverywhere(t *testing.T) {
	script := requireAll + `set "a" "x"; if allof(header :matches "subject" "*a?*z*", body :contains "fox", address :all "to" "x", hasflag "a", mailboxexists "INBOX",
not string :regex "${a}" "y+", exists "to", envelope "from" "x", date "date" "year" "2025", environment "host" "x", duplicate, spamtest "1") { addheader "X" "y"; } addflag "x y z"; keep;`
	for work := 1; work < 5000; work = work*5/4 + 1 {
		s, err := Compile(t.Context(), "", []byte(script), Options{Limits: Limits{Work: work}})
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Run(t.Context(), messageOf(plain), Env{From: "a@b.c"})
		if len(res.Actions) == 0 || err != nil && !strings.Contains(err.Error(), "too much work") {
			t.Errorf("%d: %v, %v", work, err, res.Actions)
		}
	}
}
