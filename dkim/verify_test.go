package dkim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
)

// foreign signs with the library, so that tags of all kinds can be had.
func foreign(t testing.TB, msg string, change func(*msgauth.SignOptions)) string {
	t.Helper()
	o := &msgauth.SignOptions{Domain: "svc.plus", Selector: "ed", Signer: testKeys[Ed25519].signer,
		HeaderCanonicalization: msgauth.CanonicalizationRelaxed, BodyCanonicalization: msgauth.CanonicalizationSimple}
	if change != nil {
		change(o)
	}
	var out bytes.Buffer
	if err := msgauth.Sign(&out, strings.NewReader(msg), o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestVerifyValues(t *testing.T) {
	good := foreign(t, simpleMail, nil)
	broken := strings.Replace(good, "how are", "who are", 1)
	record := Record(testKeys[Ed25519])
	name := "ed._domainkey.svc.plus"
	down := func(context.Context, string) ([]string, error) {
		return nil, &dns.Error{Name: name, Type: "TXT", Err: dns.ErrTemporary}
	}
	odd := func(context.Context, string) ([]string, error) { return nil, errors.New("no idea") }
	gone := func(context.Context, string) ([]string, error) {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	two := func(context.Context, string) ([]string, error) { return []string{record, record}, nil }
	cases := []struct {
		name, msg string
		zone      LookupTXT
		want      Value
	}{
		{"good", good, testZone(), Pass},
		{"broken", broken, testZone(), Fail},
		{"key is absent", good, testZone(name, ""), PermError},
		{"key is unknown", strings.Replace(good, "s=ed", "s=no", 1), testZone(), PermError},
		{"name is unknown to the system's resolver", good, gone, PermError},
		{"two keys", good, two, PermError},
		{"key is revoked", good, testZone(name, "v=DKIM1; p="), PermError},
		{"resolver is down", good, down, TempError},
		{"resolver fails oddly", good, odd, TempError},
		{"testing and broken", broken, testZone(name, record+"; t=y"), Neutral},
		{"testing and good", good, testZone(name, record+"; t=y"), Pass},
		{"key for mail only of the domain", good, testZone(name, record+"; t=s"), Pass},
		{"and a subdomain", foreign(t, simpleMail, func(o *msgauth.SignOptions) { o.Identifier = "x@sub.svc.plus" }), testZone(name, record+"; t=s"), PermError},
		{"a subdomain without t=s", foreign(t, simpleMail, func(o *msgauth.SignOptions) { o.Identifier = "x@sub.svc.plus" }), testZone(), Pass},
		{"a part of the body only", strings.Replace(good, "; s=ed", "; l=5; s=ed", 1), testZone(), Policy},
		{"tags that are none", "DKIM-Signature: hello\r\n" + simpleMail, testZone(), PermError},
		{"a tag twice", strings.Replace(good, "; s=ed", "; s=ed; s=ed", 1), testZone(), PermError},
		{"sha1", strings.Replace(good, "ed25519-sha256", "rsa-sha1", 1), testZone(), PermError},
		{"a selector that is no name", strings.Replace(good, "; s=ed", "; s=e/d", 1), testZone(), PermError},
		{"too many signed names", "DKIM-Signature: v=1; h=" + strings.Repeat("a:", 300) + "from\r\n" + simpleMail, testZone(), PermError},
		{"a header beyond measure", "X: " + strings.Repeat("a", maxField) + "\r\n" + good, testZone(), PermError},
		{"a field of too many lines", "X: y" + strings.Repeat("\r\n ", maxLines) + "\r\n" + good, testZone(), PermError},
		{"too many fields", strings.Repeat("X: y\r\n", maxFields) + good, testZone(), PermError},
		{"a header that is none", "hello\r\n" + good, testZone(), PermError},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := Verify(t.Context(), content(c.msg), c.zone)
			if len(got) != 1 || got[0].Value != c.want || (got[0].Err == nil) != (c.want == Pass) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestVerifyTellsAboutTheSignature(t *testing.T) {
	msg := strings.Replace(foreign(t, simpleMail, nil), "d=svc.plus", "d=SVC.plus", 1)
	zone := func(_ context.Context, name string) ([]string, error) {
		return testZone()(t.Context(), strings.ToLower(name))
	}
	got := Verify(t.Context(), content(msg), zone)
	if len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	r := got[0]
	if r.Domain != "svc.plus" || r.Selector != "ed" || r.Algorithm != "ed25519-sha256" || r.Bits != 256 || len(r.Signature) != 8 ||
		r.Time.IsZero() || !r.Expiration.IsZero() || !slices.Equal(r.Signed, []string{"from", "subject", "to"}) {
		t.Errorf("%+v", r)
	}
}

func TestVerifyWithoutSignatureIsNil(t *testing.T) {
	for _, msg := range []string{simpleMail, "", "\r\n", "From: x"} {
		if got := Verify(t.Context(), content(msg), nil); got != nil {
			t.Errorf("%q: %+v", msg, got)
		}
	}
}

func TestVerifyKeepsTheOrderAndLooksAtEight(t *testing.T) {
	msg := sign(t, simpleMail)
	msg = "DKIM-Signature: nonsense\r\n" + msg
	for range 20 {
		msg = strings.Replace(msg, "From: A", "DKIM-Signature: v=1; a=rsa-sha256; d=other.example; s=x; h=from; bh=eA==; b=eA==\r\nFrom: A", 1)
	}
	got := Verify(t.Context(), content(msg), testZone())
	if len(got) != maxSignatures {
		t.Fatalf("%d results", len(got))
	}
	for i, want := range []Value{PermError, Pass, Pass, PermError} {
		if got[i].Value != want {
			t.Errorf("result %d: %+v", i, got[i])
		}
	}
	if got[1].Selector != "rsa" || got[2].Selector != "ed" || got[3].Domain != "other.example" {
		t.Errorf("%+v", got)
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	zone := func(ctx context.Context, name string) ([]string, error) {
		cancel()
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	for _, msg := range []string{sign(t, simpleMail), foreign(t, simpleMail, nil)} {
		for _, r := range Verify(ctx, content(msg), zone) {
			if r.Value != TempError {
				t.Errorf("%+v", r)
			}
		}
	}
}

func TestVerifySaysWhenReadingFails(t *testing.T) {
	// A spool file that is closed in the middle: the body cannot be read.
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, sign(t, simpleMail)+strings.Repeat("x\r\n", 100_000)); err != nil {
		t.Fatal(err)
	}
	c, err := message.FromFile(f)
	if err != nil {
		t.Fatal(err)
	}
	zone := func(ctx context.Context, name string) ([]string, error) { f.Close(); return testZone()(ctx, name) }
	for _, r := range Verify(t.Context(), c, zone) {
		if r.Value != TempError {
			t.Errorf("%+v", r)
		}
	}
	if got := Verify(t.Context(), c, zone); len(got) != 1 || got[0].Value != TempError {
		t.Errorf("%+v", got)
	}
}

func TestRelaxedBody(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "",
		"\r\n":                               "",
		"\r\n\r\n":                           "",
		" \t\r\n":                            "",
		"x":                                  "x\r\n",
		"x\r\n\r\n\r\n":                      "x\r\n",
		" x":                                 " x\r\n",
		"x \t ":                              "x\r\n",
		"a  b\t\tc \r\n\r\n d":               "a b c\r\n\r\n d\r\n",
		"a\rb":                               "a\rb\r\n",
		"a \r b\r\r\n":                       "a \r b\r\r\n",
		"a\nb":                               "a\nb\r\n",
		"\r":                                 "\r\r\n",
		strings.Repeat("\r\n", 9):            "",
		strings.Repeat("\r\n", 20_000) + "x": strings.Repeat("\r\n", 20_000) + "x\r\n",
	} {
		for _, step := range []int{1, 2, 3, 1 << 20} {
			rec := &recorder{}
			b := newRelaxedBody(rec)
			for rest := in; rest != ""; {
				n := min(step, len(rest))
				b.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			b.sum()
			if rec.String() != want {
				t.Errorf("%.40q in steps of %d: %.60q, want %.60q", in, step, rec.String(), want)
			}
		}
	}
}

// recorder is a hash that keeps what it was given.
type recorder struct{ bytes.Buffer }

func (r *recorder) Sum(b []byte) []byte { return b }
func (r *recorder) Reset()              {}
func (r *recorder) Size() int           { return 0 }
func (r *recorder) BlockSize() int      { return 1 }

// FuzzVerify wants that no message panics, and that results have a value and a
// reason.
func FuzzVerify(f *testing.F) {
	f.Add(sign(f, simpleMail))
	f.Add(foreign(f, simpleMail, nil))
	f.Add("DKIM-Signature: v=1\r\n\r\n")
	f.Add("DKIM-Signature: v=1; a=ed25519-sha256; d=svc.plus; s=ed; h=from; bh=; b=; l=1; x=1; t=1; i=@x\r\nFrom: x\r\n\r\n")
	f.Fuzz(func(t *testing.T, msg string) {
		for _, r := range Verify(t.Context(), content(msg), testZone()) {
			if r.Value == "" || (r.Err == nil) != (r.Value == Pass) {
				t.Errorf("%+v", r)
			}
		}
	})
}

// The worst header within the limits; without them it would take minutes.
func BenchmarkVerifyFolded(b *testing.B) {
	long := "Subject: " + strings.Repeat("\r\n "+strings.Repeat("x", 29), maxLines-1) + "\r\n"
	msg := content(strings.Repeat(long, 4) + sign(b, simpleMail))
	for b.Loop() {
		if r := Verify(b.Context(), msg, testZone()); len(r) != 2 || r[0].Value != Pass && r[0].Value != Fail {
			b.Fatalf("%+v", r)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, size := range []int{2 << 10, 10 << 20} {
		msg := content(sign(b, "From: a@svc.plus\r\n\r\n"+strings.Repeat(strings.Repeat("some words ", 6)+"\r\n", size/68)))
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(msg.Size())
			for b.Loop() {
				if r := Verify(b.Context(), msg, testZone()); len(r) != 2 || r[0].Value != Pass {
					b.Fatalf("%+v", r)
				}
			}
		})
	}
}
