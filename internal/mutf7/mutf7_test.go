package mutf7

import (
	"errors"
	"testing"
)

func TestEncodeAndDecodeAgree(t *testing.T) {
	for text, encoded := range map[string]string{
		"":                 "",
		"INBOX":            "INBOX",
		"Füß":              "F&APwA3w-",
		"Ünt&er":           "&ANw-nt&-er",
		"&":                "&-",
		"&&":               "&-&-",
		"~peter/台北/日本語":    "~peter/&U,BTFw-/&ZeVnLIqe-",
		"😀":                "&2D3eAA-",
		"a\tb":             "a&AAk-b",
		"Entwürfe & Rest":  "Entw&APw-rfe &- Rest",
		"&é":               "&-&AOk-",
		"é&":               "&AOk-&-",
		"\uFFFD is a char": "&,,0- is a char",
	} {
		if got := Encode(text); got != encoded {
			t.Errorf("Encode(%q) = %q, want %q", text, got, encoded)
		}
		if got, err := Decode(encoded); got != text || err != nil {
			t.Errorf("Decode(%q) = %q, %v; want %q", encoded, got, err, text)
		}
	}
}

func TestDecodeRefusesWhatEncodeNeverMakes(t *testing.T) {
	for name, s := range map[string]string{
		"unfinished shift":         "a&APw",
		"lone shift":               "a&",
		"printable ASCII shifted":  "&AGE-",
		"ampersand shifted":        "&ACY-",
		"NUL":                      "&AAA-",
		"high surrogate alone":     "&2D0-",
		"low surrogate first":      "&3gDYPQ-",
		"odd number of bytes":      "&AP-",
		"bits left over":           "&APx-",
		"slash of plain base64":    "&U/BTFw-",
		"two shifts in a row":      "&APw-&AN8-",
		"raw 8-bit":                "F\xfc",
		"raw control":              "a\x01&-",
		"line end in shift":        "&AP\r\nw-",
		"raw UTF-8 beside a shift": "ü&-",
	} {
		if got, err := Decode(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Decode(%q) = %q, %v; want ErrInvalid", name, s, got, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"INBOX", "F&APwA3w-", "&2D3eAA-", "&-", "&", "&AGE-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := Decode(s)
		if err != nil {
			return
		}
		if again := Encode(text); again != s {
			t.Errorf("Encode(Decode(%q)) = %q", s, again)
		}
	})
}
