package message

import "testing"

var subjectTests = []struct {
	subject, base string
	reply         bool
}{
	{"", "", false},
	{"Hello", "Hello", false},
	{"  Hello \t world  ", "Hello world", false},
	{"Re: Hello", "Hello", true},
	{"RE:Hello", "Hello", true},
	{"re : Hello", "Hello", true},
	{"Fw: Hello", "Hello", true},
	{"FWD: Hello", "Hello", true},
	{"Re: Fwd: re: Hello", "Hello", true},
	{"Re[2]: Hello", "Hello", true},
	{"Re [list] : Hello", "Hello", true},
	{"[list] Hello", "Hello", false},
	{"[a] [b] Hello", "Hello", false},
	{"[list] Re: Hello", "Hello", true},
	{"Re: [list] Hello", "Hello", true},
	{"[list]Re: [list] Re[3]: Hello", "Hello", true},
	{"[only]", "[only]", false},
	{"Re: [only]", "[only]", true},
	{"[a] [only]", "[only]", false},
	{"[]", "[]", false},
	{"Hello (fwd)", "Hello", true},
	{"Hello (FWD) (fwd)  ", "Hello", true},
	{"(fwd)", "", true},
	{"[fwd: Hello]", "Hello", true},
	{"[Fwd: Re: Hello (fwd)]", "Hello", true},
	{"[fwd: [fwd: Hello]]", "Hello", true},
	{"Re: [Fwd: Hello]", "Hello", true},
	{"[Fwd: Hello", "[Fwd: Hello", false},
	{"Re:", "", true},
	{"Re", "Re", false},
	{"Reply: Hello", "Reply: Hello", false},
	{"Regarding", "Regarding", false},
	{"fwdx: a", "fwdx: a", false},
	{"[unclosed Hello", "[unclosed Hello", false},
	{"[a[b] Hello", "[a[b] Hello", false},
	{"AW: Hallo", "AW: Hallo", false},
	{"Re: Grüße", "Grüße", true},
}

func TestBaseSubject(t *testing.T) {
	for _, tt := range subjectTests {
		if base, reply := BaseSubject(tt.subject); base != tt.base || reply != tt.reply {
			t.Errorf("%q: %q %v, want %q %v", tt.subject, base, reply, tt.base, tt.reply)
		}
	}
}

func FuzzBaseSubject(f *testing.F) {
	for _, tt := range subjectTests {
		f.Add(tt.subject)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		base, reply := BaseSubject(subject)
		again, more := BaseSubject(base)
		if again != base || more {
			t.Fatalf("%q: base %q (%v) has the base %q", subject, base, reply, again)
		}
	})
}
