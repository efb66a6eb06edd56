package message

import (
	"fmt"
	"strings"
	"testing"
)

// show writes addresses as name|route|mailbox|host, groups as {name and }.
func show(list []Address) string {
	var out []string
	for _, a := range list {
		switch a.Kind {
		case GroupStart:
			out = append(out, "{"+a.Name)
		case GroupEnd:
			out = append(out, "}")
		default:
			out = append(out, fmt.Sprintf("%s|%s|%s|%s", a.Name, a.Route, a.Mailbox, a.Host))
		}
	}
	return strings.Join(out, " , ")
}

var addressTests = []struct{ value, want string }{
	{"", ""},
	{" , ,, ", ""},
	{"(just a comment)", ""},
	{"foo", "||foo|"},
	{"foo@bar", "||foo|bar"},
	{"<foo@bar>", "||foo|bar"},
	{"< foo @ bar >", "||foo|bar"},
	{"Foo <foo@bar>", "Foo||foo|bar"},
	{`"Foo, Bar" <foo@bar>`, "Foo, Bar||foo|bar"},
	{`"a\"b\\c" <x@y>`, `a"b\c||x|y`},
	{`Foo "Q" Bar <foo@bar>`, "Foo Q Bar||foo|bar"},
	{"Foo   Bar\t<foo@bar>", "Foo Bar||foo|bar"},
	{"John Q. Public <j@q>", "John Q. Public||j|q"},
	{"O'Brien <o@b>", "O'Brien||o|b"},
	{"a@b, c@d,e@f", "||a|b , ||c|d , ||e|f"},
	{"a@b; c@d", "||a|b , ||c|d"},
	{"a@b (Comment)", "Comment||a|b"},
	{"a@b (nested (deep) \\) x)", "nested (deep) ) x||a|b"},
	{"(before) a@b", "||a|b"},
	{"<a@b> (behind)", "behind||a|b"},
	{"Name (x) <a@b> (y)", "Name||a|b"},
	{"foo @ bar . com", "||foo|bar.com"},
	{"a . b @ c . d", "||a.b|c.d"},
	{"a.b@c.d", "||a.b|c.d"},
	{"a..b@c", "||a..b|c"},
	{".a@c", "||.a|c"},
	{"a.@c", "||a.|c"},
	{`"a b"@c`, "||a b|c"},
	{`"a".b@c`, "||a.b|c"},
	{"foo@[127.0.0.1]", "||foo|[127.0.0.1]"},
	{"foo@[IPv6:::1]", "||foo|[IPv6:::1]"},
	{"<@r1,@r2:foo@bar>", "|@r1,@r2|foo|bar"},
	{"Foo <@r1 , @r2 : foo@bar>", "Foo|@r1,@r2|foo|bar"},
	{"Foo <@bar>", "Foo|||bar"},
	{"Grp: a@b, C <c@d>;", "{Grp , ||a|b , C||c|d , }"},
	{"Grp:;", "{Grp , }"},
	{"undisclosed-recipients: ;", "{undisclosed-recipients , }"},
	{"My Friends: a@b", "{My Friends , ||a|b , }"},
	{"G1: a@b;, G2: c@d;", "{G1 , ||a|b , } , {G2 , ||c|d , }"},
	{"G1: a@b; c@d", "{G1 , ||a|b , } , ||c|d"},
	{"x@y, G: a@b;, z@w", "||x|y , {G , ||a|b , } , ||z|w"},
	{"x:y:z@w;", "{x , ||z|w , }"},
	{"mailto:foo@bar", "{mailto , ||foo|bar , }"},
	{"<>", "|||"},
	{"Foo <>", "Foo|||"},
	{"Foo <foo>", "Foo||foo|"},
	{"Foo <foo@>", "Foo||foo|"},
	{"Foo <foo@bar", "Foo||foo|bar"},
	{"<foo@bar, baz@quux>", "||foo|bar , ||baz|quux"},
	{"foo@bar>", "||foo|bar"},
	{"Foo <<foo@bar>>", "Foo||foo|bar"},
	{`"Foo <foo@bar>`, "Foo||foo|bar"},
	{"<a@b> trailing words", "||a|b"},
	{"<a@b> c@d, e@f", "||a|b , ||c|d , ||e|f"},
	{"<a@b> <c@d>", "||a|b , ||c|d"},
	{"John Smith js@example.org", "John Smith||js|example.org"},
	{"John Smith", "John Smith|||"},
	{`"John Smith"`, "John Smith|||"},
	{"a@b@c", "||a@b|c"},
	{"@b", "|||b"},
	{"a@", "||a|"},
	{"@", "|||"},
	{`"" <a@b>`, "||a|b"},
	{"j.q@x <j@q>", "j.q@x||j|q"},
	{"[List] Name <j@q>", "[List] Name||j|q"},
	{"[ <j@q>", "[||j|q"},
	{"=?utf-8?Q?a,_b_<x>?= <x@y>", "=?utf-8?Q?a,_b_<x>?=||x|y"},
	{"=?utf-8?Q?a?= =?utf-8?Q?b?= <x@y>", "=?utf-8?Q?a?= =?utf-8?Q?b?=||x|y"},
	{`foo\,bar@baz`, "||foo,bar|baz"},
	{"ü@ä.example", "||ü|ä.example"},
	{"a <b@c>, ;d@e", "a||b|c , ||d|e"},
	{"a@b,\r\n\tc@d", "||a|b , ||c|d"},
	{`\`, `||\|`},
	{`"`, ""},
	{"(", ""},
	{"[", "||[|"},
	{"<", "|||"},
	{"a:", "{a , }"},
	{":", "{ , }"},
}

func TestParseAddressList(t *testing.T) {
	for _, tt := range addressTests {
		if got := show(ParseAddressList(tt.value)); got != tt.want {
			t.Errorf("%q:\ngot  %s\nwant %s", tt.value, got, tt.want)
		}
	}
}

func TestAddressString(t *testing.T) {
	for _, tt := range []struct {
		a    Address
		want string
	}{
		{Address{Mailbox: "a", Host: "b"}, "a@b"},
		{Address{Mailbox: "a"}, "a"},
		{Address{Mailbox: `a "b"`, Host: "c"}, `"a \"b\""@c`},
		{Address{Kind: GroupStart, Name: "G"}, "G:"},
		{Address{Kind: GroupEnd}, ";"},
	} {
		if got := tt.a.String(); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.a, got, tt.want)
		}
	}
}

func FuzzParseAddressList(f *testing.F) {
	for _, tt := range addressTests {
		f.Add(tt.value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		inGroup := false
		first := FirstAddress(value)
		for _, a := range ParseAddressList(value) {
			if a.Kind == Individual && first != (Address{}) {
				if a != first {
					t.Fatalf("first is %+v, want %+v, in %q", first, a, value)
				}
				first = Address{}
			}
			if (a.Kind == GroupStart) == inGroup && a.Kind != Individual {
				t.Fatalf("group in a group or end of none in %q", show(ParseAddressList(value)))
			}
			if a.Kind != Individual {
				inGroup = a.Kind == GroupStart
			}
			if len(a.Name)+len(a.Mailbox)+len(a.Host)+len(a.Route) > 2*len(value) {
				t.Fatalf("%+v of %q", a, value)
			}
		}
		if inGroup {
			t.Fatal("a group does not end")
		}
		if first != (Address{}) {
			t.Fatalf("%+v is not in %q", first, value)
		}
	})
}

func BenchmarkParseAddressList(b *testing.B) {
	value := strings.Repeat(`"Example, Ann" <ann@example.org>, bob@example.net, Carol <carol@example.com>, `, 10)
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		ParseAddressList(value)
	}
}
