package message

import (
	"errors"
	"testing"
)

func TestDecodeCharset(t *testing.T) {
	for _, tt := range []struct{ charset, text, want string }{
		{"", "abc", "abc"},
		{"UTF-8", "grün", "grün"},
		{"us-ascii", "abc", "abc"},
		{"ISO-8859-1", "gr\xfcn", "grün"},
		{"iso-8859-15", "\xa4", "€"},
		{"windows-1251", "\xcf", "П"},
		{"cp1251", "\xcf", "П"},
		{"CP850", "\x81", "ü"},
		{"ibm866", "\x8f", "П"},
		{"shift_jis", "\x93\xfa", "日"},
		{"cp932", "\x93\xfa", "日"},
		{"GBK", "\xc4\xe3", "你"},
		{"cp936", "\xc4\xe3", "你"},
		{"gb18030", "\xc4\xe3", "你"},
		{"euc-kr", "\xbe\xc8", "안"},
		{"utf-16", "\xfe\xff\x00a", "a"},
		{"utf-16", "\x00a", "a"},
		{"utf-16le", "a\x00", "a"},
		{"utf-32be", "\x00\x00\x00a", "a"},
		{"utf-32le", "a\x00\x00\x00", "a"},
		{"utf-7", "1 +- 1 +AOQ-x+ZeVnLIqe.", "1 + 1 äx日本語."},
		{"utf-7", "+2D3eAA- +2D0- \xff", "😀 \ufffd \ufffd"},
		{"utf-7", "a+AGI\xff", "ab\ufffd"},
		{"\"utf-8\"", "ü", "ü"},
	} {
		got, err := DecodeCharset(tt.charset, tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%s %q: %q, %v, want %q", tt.charset, tt.text, got, err, tt.want)
		}
	}
	for _, charset := range []string{"x-no-such", "cp1259", "replacement", "iso-2022-kr-foo", "=?"} {
		if got, err := DecodeCharset(charset, "a"); !errors.Is(err, ErrUnknownCharset) {
			t.Errorf("%s: %q, %v", charset, got, err)
		}
	}
}
