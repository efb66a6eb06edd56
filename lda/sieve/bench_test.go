package sieve

import (
	"fmt"
	"strings"
	"testing"
)

// usual is a script as people have them.
const usual = `require ["fileinto", "imap4flags", "variables", "envelope", "subaddress", "mailbox"];
if anyof (header :contains "X-Spam-Flag" "YES", header :is "X-Spam-Status" "Yes") { fileinto :create "Junk"; stop; }
if address :is "from" ["boss@example.com", "ann@example.com"] { addflag "\\Flagged"; }
if header :contains "Subject" ["invoice", "receipt", "order"] { fileinto "Money"; stop; }
if header :matches "List-Id" "*<*.*>*" { set :lower "list" "${2}"; fileinto :create "Lists/${list}"; stop; }
if envelope :detail "to" "news" { fileinto "News"; }
`

// heavy has a list of a thousand addresses.
func heavy() string {
	words := make([]string, 1000)
	for i := range words {
		words[i] = fmt.Sprintf(`"user%d@example.net"`, i)
	}
	return `require "fileinto"; if address :is "from" [` + strings.Join(words, ", ") + `] { fileinto "Known"; }`
}

func BenchmarkCompile(b *testing.B) {
	for _, c := range []struct{ name, script string }{{"usual", usual}, {"1000 addresses", heavy()}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.script)))
			b.ReportAllocs()
			for b.Loop() {
				compile(b, c.script)
			}
		})
	}
}

func BenchmarkRun(b *testing.B) {
	bodied := plain + strings.Repeat("The quick brown fox jumps over the lazy dog.\r\n", 2000)
	for _, c := range []struct{ name, script, msg string }{
		{"nothing", "", plain},
		{"usual", usual, plain},
		{"1000 addresses", heavy(), plain},
		{"vacation", `require "vacation"; vacation "I am away.";`, plain},
		{"editheader", `require "editheader"; addheader "X-A" "b"; deleteheader "X-Count";`, plain},
		{"body of 90 KB", `require "body"; if body :contains ["needle", "haystack"] { discard; }`, bodied},
		{"regex on 90 KB", `require ["body", "regex"]; if body :regex "needle[0-9]+" { discard; }`, bodied},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := compile(b, c.script)
			env := Env{From: "tim@example.org", To: "bob@example.com"}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Run(b.Context(), messageOf(c.msg), env); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	value := strings.Repeat("lorem ipsum dolor sit amet ", 40)
	for _, c := range []struct{ name, test string }{
		{"contains", `string :contains "V" "amet!"`}, {"matches", `string :matches "V" "*dolor*sit?amet!"`}, {"regex", `string :regex "V" "dolor.*amet!"`},
		{"unicode", `string :comparator "i;unicode-casemap" :contains "V" "amet!"`},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := compile(b, requireAll+"if "+strings.Replace(c.test, `"V"`, `"`+value+`"`, 1)+" {}")
			m := messageOf(plain)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Run(b.Context(), m, Env{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
