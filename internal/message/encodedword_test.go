package message

import (
	"strings"
	"testing"
	"unicode/utf8"
)

var encodedWordTests = []struct{ value, want string }{
	{"", ""},
	{"plain", "plain"},
	{"=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"},
	{"=?UTF-8?b?R3LDvMOfZQ==?=", "Grüße"},
	{"=?utf-8?B?R3LDvMOfZQ?=", "Grüße"},
	{"=?iso-8859-1?q?a_b=5F=FC?=", "a b_ü"},
	{"=?ISO-8859-1*de?Q?=FC?=", "ü"},
	{"=?koi8-r?B?8NLJ18XU?=", "Привет"},
	{"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"},
	{"=?gb2312?B?xOO6ww==?=", "你好"},
	{"=?big5?B?p0Gmbg==?=", "你好"},
	{"=?euc-kr?B?vsiz5w==?=", "안녕"},
	{"=?ks_c_5601-1987?B?vsiz5w==?=", "안녕"},
	{"=?utf-7?Q?Gr+APw-e?=", "Grüe"},
	{"=?windows-1252?Q?=80?=", "€"},
	{"=?utf-16be?B?AGEAYg==?=", "ab"},
	// White space between encoded-words goes (RFC 2047 section 6.2 and 8).
	{"=?ISO-8859-1?Q?a?=", "a"},
	{"=?ISO-8859-1?Q?a?= b", "a b"},
	{"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
	{"=?ISO-8859-1?Q?a?=  \t =?ISO-8859-1?Q?b?=", "ab"},
	{"=?ISO-8859-1?Q?a_b?=", "a b"},
	{"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"},
	{"x =?utf-8?Q?y?= z =?utf-8?Q?w?=", "x y z w"},
	{"(=?utf-8?Q?y?=)", "(y)"},
	{"=?utf-8?Q?a?==?utf-8?Q?b?=", "ab"},
	// A character split between words, which RFC 2047 forbids and senders do.
	{"=?utf-8?Q?=C3?= =?utf-8?Q?=BC?=", "ü"},
	{"=?utf-8?B?w7w=?= =?UTF-8?B?w5/D?= =?utf-8?B?vA==?=", "üßü"},
	// Broken ones.
	{"=?utf-8?Q?a b?=", "=?utf-8?Q?a b?="},
	{"=?utf-8?X?a?=", "=?utf-8?X?a?="},
	{"=?utf-8?Q?a", "=?utf-8?Q?a"},
	{"=??Q?a?=", "=??Q?a?="},
	{"=?", "=?"},
	{"=?=?utf-8?Q?a?=", "=?a"},
	{"=?utf-8?Q??=", ""},
	{"=?utf-8?Q?=4?=", "=4"},
	{"=?utf-8?Q?=?=", "="},
	{"=?utf-8?Q?a=ZZb?=", "a=ZZb"},
	{"=?utf-8?B?Y*Q==?=", ""},
	{"=?no-such-charset?Q?caf=C3=A9?=", "café"},
	{"=?no-such-charset?Q?caf=E9?=", "café"},
	{"=?us-ascii?Q?caf=E9?=", "café"},
	// Raw 8-bit text.
	{"Grüße", "Grüße"},
	{"caf\xe9", "café"},
	{"über caf\xe9 übergroß", "über caf\ufffd übergroß"},
	{"caf\xe9 =?utf-8?Q?=C3=BC?=", "café ü"},
}

func TestDecodeText(t *testing.T) {
	for _, tt := range encodedWordTests {
		if got := DecodeText(tt.value); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.value, got, tt.want)
		}
	}
}

func FuzzDecodeText(f *testing.F) {
	for _, tt := range encodedWordTests {
		f.Add(tt.value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := DecodeText(value)
		if !utf8.ValidString(got) {
			t.Fatalf("%q gives %q", value, got)
		}
		if !strings.Contains(value, "=?") && utf8.ValidString(value) && got != value {
			t.Fatalf("%q gives %q", value, got)
		}
	})
}

func BenchmarkDecodeText(b *testing.B) {
	for name, value := range map[string]string{
		"plain": "Re: a usual subject of a usual message",
		"Q":     "=?utf-8?Q?Gr=C3=BC=C3=9Fe_aus?= =?utf-8?Q?_M=C3=BCnchen?=",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				DecodeText(value)
			}
		})
	}
}
