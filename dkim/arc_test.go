package dkim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/dns"
)

// received is a message as an intermediary has it: with its results on top.
const received = "Authentication-Results: mx.svc.plus;\r\n\tspf=pass smtp.mailfrom=author.example;\r\n\tdmarc=pass (p=reject) header.from=author.example\r\n" +
	"Received: from x by y\r\n" + simpleMail

// seal adds a set of svc.plus.
func seal(t testing.TB, s *Signer, msg string) string {
	t.Helper()
	set, err := s.Seal(t.Context(), "svc.plus", "mx.svc.plus", content(msg), testZone())
	if err != nil {
		t.Fatal(err)
	}
	return string(set) + msg
}

// sealEd adds a set under the Ed25519 key, as some others do.
func sealEd(t testing.TB, msg string) string {
	t.Helper()
	set, err := testSigner(t).seal(t.Context(), Identity{"svc.plus", "ed", testKeys[Ed25519]}, "mx.svc.plus", content(msg), testZone())
	if err != nil {
		t.Fatal(err)
	}
	return string(set) + msg
}

func TestChainsThatWeSealVerify(t *testing.T) {
	for name, mail := range oddMails {
		if name == "space before colon" {
			mail = simpleMail
		}
		msg := mail
		for i := range 3 {
			msg = fmt.Sprintf("Authentication-Results: mx.svc.plus; arc=pass; x-hop=%d\r\n", i) + msg
			if i == 1 {
				msg = sealEd(t, msg)
			} else {
				msg = seal(t, testSigner(t), msg)
			}
			a := VerifyARC(t.Context(), content(msg), testZone())
			if a.Value != Pass || a.Err != nil || len(a.Sealers) != i+1 {
				t.Fatalf("%s, %d sets: %+v", name, i+1, a)
			}
			if last := a.Sealers[i]; last.Domain != "svc.plus" || last.Results != fmt.Sprintf(" mx.svc.plus; arc=pass; x-hop=%d\r\n", i) {
				t.Errorf("%s: %+v", name, last)
			}
		}
		if n := strings.Count(msg, "a=rsa-sha256; c=relaxed"); n < 2 {
			t.Errorf("%s: %d RSA signatures:\n%s", name, n, msg)
		}
	}
}

func TestResultsAreThoseOfOurField(t *testing.T) {
	for head, want := range map[string]string{
		"Received: by mx.svc.plus\r\nAuthentication-Results: mx.svc.plus; dmarc=pass\r\n": "i=1; mx.svc.plus; none\r\n",
		"": "i=1; mx.svc.plus; none\r\n",
		"Authentication-Results: mx.svc.plus\r\n":  "i=1; mx.svc.plus; none\r\n",
		"Authentication-Results: mx.svc.plus;\r\n": "i=1; mx.svc.plus; none\r\n",
		"Authentication-Results: other.example; dmarc=pass\r\nAUTHENTICATION-results : MX.svc.plus ; spf=fail\r\n": "i=1; mx.svc.plus; spf=fail\r\n",
		"Authentication-Results: mx.svc.plus;\r\n\tspf=pass;\r\n\tdkim=none\r\n":                                   "i=1; mx.svc.plus; spf=pass;\r\n\tdkim=none\r\n",
	} {
		if msg := seal(t, testSigner(t), head+simpleMail); !strings.Contains(msg, "\r\nARC-Authentication-Results: "+want) {
			t.Errorf("%q:\n%s", head, msg)
		}
	}
}

// TestChangedChainsFail changes one thing of a chain of two in each case.
func TestChangedChainsFail(t *testing.T) {
	s := testSigner(t)
	good := seal(t, s, "X-List: added\r\n"+seal(t, s, received))
	if a := VerifyARC(t.Context(), content(good), testZone()); a.Value != Pass {
		t.Fatal(a)
	}
	fields := func(msg string) (list []string) {
		head, _, _ := strings.Cut(msg, "\r\n\r\n")
		for line := range strings.SplitSeq(head, "\r\n") {
			if len(list) > 0 && strings.HasPrefix(line, "\t") {
				list[len(list)-1] += "\r\n" + line
			} else {
				list = append(list, line)
			}
		}
		return list
	}
	set := fields(good) // AS2 AMS2 AAR2 X-List AS1 AMS1 AAR1
	without := func(i int) string { return strings.Replace(good, set[i]+"\r\n", "", 1) }
	replaced := func(i int, old, with string) string {
		if !strings.Contains(set[i], old) {
			t.Fatalf("no %q in %s", old, set[i])
		}
		return strings.Replace(good, set[i], strings.Replace(set[i], old, with, 1), 1)
	}
	first, second := seal(t, s, received), good
	cases := map[string]string{
		"body":                       strings.Replace(good, "how are", "who are", 1),
		"subject":                    strings.Replace(good, "Hello", "Hallo", 1),
		"second subject":             "Subject: x\r\n" + good,
		"newest results":             replaced(2, "dmarc=pass", "dmarc=fail"),
		"oldest results":             replaced(6, "dmarc=pass", "dmarc=fail"),
		"a field of the set twice":   set[2] + "\r\n" + good,
		"newest seal gone":           without(0),
		"newest message gone":        without(1),
		"newest results gone":        without(2),
		"oldest seal gone":           without(4),
		"oldest message gone":        without(5),
		"oldest results gone":        without(6),
		"oldest set gone":            strings.Replace(strings.Replace(without(4), set[5]+"\r\n", "", 1), set[6]+"\r\n", "", 1),
		"cv of the second":           replaced(0, "cv=pass", "cv=none"),
		"cv of the first":            replaced(4, "cv=none", "cv=pass"),
		"cv in capitals":             replaced(0, "cv=pass", "cv=Pass"),
		"cv gone":                    replaced(0, " cv=pass;", ""),
		"failed before":              replaced(0, "cv=pass", "cv=fail"),
		"seal of another domain":     replaced(0, "d=svc.plus", "d=evil.example"),
		"another algorithm":          replaced(0, "a=rsa-sha256", "a=rsa-sha1"),
		"algorithm of another key":   replaced(0, "a=rsa-sha256", "a=ed25519-sha256"),
		"h= in a seal":               replaced(0, "cv=pass;", "cv=pass; h=from;"),
		"l= in the message":          replaced(1, "c=relaxed/relaxed;", "c=relaxed/relaxed; l=1;"),
		"expired":                    replaced(1, "c=relaxed/relaxed;", "c=relaxed/relaxed; x=1;"),
		"another canonical form":     replaced(1, "c=relaxed/relaxed;", "c=relaxed/none;"),
		"seal signed by the message": strings.Replace(good, set[1], strings.Replace(set[1], "h=From", "h=ARC-Seal:From", 1), 1),
		"from not signed":            replaced(1, "From:From:", ""),
		"no instance":                replaced(0, "i=2;", ""),
		"instance 0":                 replaced(0, "i=2", "i=0"),
		"instance 51":                replaced(0, "i=2", "i=51"),
		"instance with zeros":        replaced(0, "i=2", "i=002"),
		"results without instance":   replaced(2, "i=2;", ""),
		"tag twice":                  replaced(0, "cv=pass;", "cv=pass; cv=pass;"),
		"empty tag":                  replaced(0, "cv=pass;", "cv=pass;;"),
		"odd tag":                    replaced(0, "cv=pass;", "cv=pass; _=1;"),
		"bad base64":                 replaced(0, "b=\r\n\t", "b=\r\n\t*"),
		"name that is none":          replaced(0, "s=rsa", "s=r..sa"),
		"odd time":                   replaced(0, "t=", "t=x"),
	}
	for name, msg := range cases {
		if msg == good {
			t.Errorf("%s: nothing was changed", name)
		}
		if a := VerifyARC(t.Context(), content(msg), testZone()); a.Value != Fail || a.Err == nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
	for name, msg := range map[string]string{
		"fields in another order":  strings.Replace(good, set[0]+"\r\n"+set[1], set[1]+"\r\n"+set[0], 1),
		"more trace fields on top": "Received: from a by b\r\nReturn-Path: <x>\r\n" + good,
		"one set":                  first,
		"two sets":                 second,
	} {
		if a := VerifyARC(t.Context(), content(msg), testZone()); a.Value != Pass {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if a := VerifyARC(t.Context(), content(simpleMail), testZone()); a.Value != None || a.Err != nil || len(a.Sealers) != 0 {
		t.Errorf("no chain: %+v", a)
	}
}

func TestKeysOfAChain(t *testing.T) {
	msg := seal(t, testSigner(t), received)
	name := "rsa._domainkey.svc.plus"
	record := Record(testKeys[RSA])
	down := func(context.Context, string) ([]string, error) {
		return nil, &dns.Error{Name: name, Type: "TXT", Err: dns.ErrTemporary}
	}
	two := func(context.Context, string) ([]string, error) { return []string{record, record}, nil }
	small := "v=DKIM1; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAMzgXWZHgeSMVFXPBPFcXKMSgjJV6GjCDHqC6g8tvcG3rwb0hNRAVvKjtNDCaxKBqPyzJ9xkQpfA2rnqOIfJ2DECAwEAAQ=="
	for _, c := range []struct {
		name string
		zone LookupTXT
		want Value
	}{
		{"there", testZone(), Pass},
		{"not to be had", down, TempError},
		{"none", testZone(name, ""), Fail},
		{"two", two, Fail},
		{"revoked", testZone(name, "v=DKIM1; p="), Fail},
		{"another", testZone(name, Record(mustKey(RSA))), Fail},
		{"of the other algorithm", testZone(name, Record(testKeys[Ed25519])), Fail},
		{"not for mail", testZone(name, record+"; s=tlsrpt"), Fail},
		{"for SHA-1 only", testZone(name, record+"; h=sha1"), Fail},
		{"another version", testZone(name, strings.Replace(record, "DKIM1", "DKIM2", 1)), Fail},
		{"too small", testZone(name, small), Fail},
		{"no base64", testZone(name, "v=DKIM1; p=*"), Fail},
		{"a short Ed25519 key", testZone(name, "v=DKIM1; k=ed25519; p=AAAA"), Fail},
		{"an unknown algorithm", testZone(name, strings.Replace(record, "k=rsa", "k=dsa", 1)), Fail},
		{"without k=", testZone(name, strings.Replace(record, "k=rsa; ", "", 1)), Pass},
	} {
		if a := VerifyARC(t.Context(), content(msg), c.zone); a.Value != c.want {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := VerifyARC(ctx, content(msg), testZone()); a.Value != TempError {
		t.Errorf("when time is over: %+v", a)
	}
}

func TestChainsEnd(t *testing.T) {
	s := testSigner(t)
	msg := received
	for range maxSets {
		msg = sealEd(t, msg)
	}
	if a := VerifyARC(t.Context(), content(msg), testZone()); a.Value != Pass || len(a.Sealers) != maxSets {
		t.Fatalf("%d sets: %s, %v", len(a.Sealers), a.Value, a.Err)
	}
	refused := func(what, msg string, want error) {
		t.Helper()
		if set, err := s.Seal(t.Context(), "svc.plus", "mx.svc.plus", content(msg), testZone()); !errors.Is(err, want) {
			t.Errorf("%s: %q, %v", what, set, err)
		}
	}
	refused("full", msg, ErrChainEnded)
	broken := strings.Replace(seal(t, s, received), "how are", "who are", 1)
	failed := seal(t, s, broken)
	if !strings.Contains(failed, "cv=fail;") {
		t.Errorf("a broken chain is sealed as\n%s", failed)
	}
	if a := VerifyARC(t.Context(), content(failed), testZone()); a.Value != Fail {
		t.Errorf("%+v", a)
	}
	refused("failed before", failed, ErrChainEnded)
	refused("no chain at all", "ARC-Seal: i=1\r\n"+simpleMail, ErrChainEnded)
	refused("no header", "no field\r\n\r\n", ErrHeader)
	if _, err := s.Seal(t.Context(), "other.example", "x", content(received), testZone()); !errors.Is(err, ErrNoKey) {
		t.Error(err)
	}
	onlyEd, err := NewSigner([]Identity{{"svc.plus", "ed", testKeys[Ed25519]}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := onlyEd.Seal(t.Context(), "svc.plus", "x", content(received), testZone()); !errors.Is(err, ErrNoKey) {
		t.Error(err)
	}
	down := func(context.Context, string) ([]string, error) { return nil, &dns.Error{Err: dns.ErrTemporary} }
	if _, err := s.Seal(t.Context(), "svc.plus", "x", content(seal(t, s, received)), down); !errors.Is(err, ErrChainUnknown) {
		t.Error(err)
	}
}

// TestHostileChains: whatever comes is looked at within the limits of a header.
func TestHostileChains(t *testing.T) {
	asked := 0
	zone := func(context.Context, string) ([]string, error) { asked++; return nil, dns.ErrNotFound }
	set := func(i int) string {
		return fmt.Sprintf("ARC-Seal: i=%d; a=rsa-sha256; cv=pass; d=d%[1]d.example; s=s; b=AAAA\r\nARC-Message-Signature: i=%[1]d; a=rsa-sha256; d=d%[1]d.example; s=s; h=from; bh=AAAA; b=AAAA\r\nARC-Authentication-Results: i=%[1]d; x; none\r\n", i)
	}
	var all strings.Builder
	for i := range 600 {
		all.WriteString(set(i + 1))
	}
	long := "ARC-Seal: i=1; " + strings.Repeat("x;", 30000) + "\r\n"
	names := strings.Replace(set(1), "h=from", "h=from"+strings.Repeat(":x", 5000), 1)
	for name, msg := range map[string]string{"600 sets": all.String(), "long": long, "many names": strings.Replace(names, "cv=pass", "cv=none", 1), "empty": "ARC-Seal:\r\n", "NUL": "ARC-Seal: i=1\x00; \r\n", "too big": strings.Repeat(set(1), 5000)} {
		if a := VerifyARC(t.Context(), content(msg+simpleMail), zone); a.Value != Fail {
			t.Errorf("%s: %s, %v", name, a.Value, a.Err)
		}
	}
	if asked > 1 {
		t.Errorf("%d questions for chains that cannot be good", asked)
	}
}

func TestSimpleBodies(t *testing.T) {
	for body, want := range map[string]string{
		"": "\r\n", "\r\n": "\r\n", "\r\n\r\n\r\n": "\r\n", "x": "x\r\n", "x\r\n": "x\r\n", "x\r\n\r\n": "x\r\n", "\r\n\r\nx \r\n \r\n\r\n": "\r\n\r\nx \r\n \r\n",
		"a\rb\r\r\nc\nd\r": "a\rb\r\r\nc\nd\r\r\n",
	} {
		for cut := range len(body) + 1 {
			var got recorder
			b := &simpleBody{h: &got}
			b.Write([]byte(body[:cut]))
			b.Write([]byte(body[cut:]))
			b.sum()
			if got.String() != want {
				t.Errorf("%q cut at %d: %q", body, cut, got.String())
			}
		}
	}
}

const arcWithDkimpy = `
import sys, dkim
zone = dict(line.split(" ", 1) for line in open(sys.argv[1]).read().splitlines())
def txt(name, timeout=5):
    if isinstance(name, bytes): name = name.decode()
    name = name.rstrip(".")
    return zone[name].encode() if name in zone else None
if sys.argv[2] == "verify":
    for path in sys.argv[3:]:
        cv, results, comment = dkim.arc_verify(open(path, "rb").read(), dnsfunc=txt)
        print((cv or b"ended").decode(), len(results), comment)
else:
    msg = open(sys.argv[4], "rb").read()
    key = open(sys.argv[3], "rb").read()
    sets = dkim.arc_sign(msg, b"rsa", b"svc.plus", key, b"mx.svc.plus", linesep=b"\r\n")
    sys.stdout.buffer.write(b"".join(s if s.endswith(b"\n") else s + b"\r\n" for s in sets) + msg)
`

// pythonARC finds an interpreter with dkimpy and what its signing needs.
func pythonARC(t *testing.T) string {
	t.Helper()
	py := python(t)
	if exec.Command(py, "-c", "import authres").Run() != nil {
		t.Skip("missing: authres (Debian package python3-authres)")
	}
	return py
}

// TestDkimpyTakesOurChains, one by one, and ours of several sets, and those that
// it and we have made in turn.
func TestDkimpyTakesOurChains(t *testing.T) {
	py := pythonARC(t)
	zone := write(t, "dns", "rsa._domainkey.svc.plus "+Record(testKeys[RSA])+"\ned._domainkey.svc.plus "+Record(testKeys[Ed25519])+"\n")
	pem, err := testKeys[RSA].MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	key := write(t, "key", string(pem))
	s, err := NewSigner([]Identity{{"svc.plus", "rsa", testKeys[RSA]}})
	if err != nil {
		t.Fatal(err)
	}
	args, want := []string{"-c", arcWithDkimpy, zone, "verify"}, ""
	add := func(msg string, verdict string) {
		args = append(args, write(t, fmt.Sprint(len(args)), msg))
		want += verdict + "\n"
	}
	for name, msg := range oddMails {
		if name == "space before colon" || name == "no line end in header" || name == "no empty line" {
			continue // it reads these otherwise
		}
		add(seal(t, s, "Authentication-Results: mx.svc.plus; spf=pass smtp.mailfrom=a.example\r\n"+msg), "pass 1 success")
	}
	msg := received
	for i := range 4 {
		msg = seal(t, s, msg)
		add(msg, fmt.Sprintf("pass %d success", i+1))
	}
	add(strings.Replace(msg, "how are", "who are", 1), "fail 4 Most recent ARC-Message-Signature did not validate")
	add(strings.Replace(msg, "dmarc=pass", "dmarc=none", 1), "fail 4 ARC-Seal[4] did not validate")
	add(seal(t, s, strings.Replace(seal(t, s, received), "how are", "who are", 1)), "ended 2 ARC-Seal[2] reported failure, the chain is terminated")
	if got := peer(t, "", py, args...); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	theirs := peer(t, "", py, "-c", arcWithDkimpy, zone, "sign", key, write(t, "msg", received))
	for i, msg := range []string{theirs, seal(t, s, theirs)} {
		a := VerifyARC(t.Context(), content(msg), testZone())
		if a.Value != Pass || len(a.Sealers) != i+1 || !strings.Contains(a.Sealers[0].Results, "dmarc=pass") {
			t.Errorf("theirs and %d of ours: %+v\n%s", i, a, msg)
		}
	}
	both := seal(t, s, theirs)
	both = strings.Replace("Authentication-Results: mx.svc.plus; arc=pass\r\n"+both, "Authentication-Results: mx.svc.plus;\r\n\tspf", "X-Old: mx.svc.plus;\r\n\tspf", 1)
	third := peer(t, "", py, "-c", arcWithDkimpy, zone, "sign", key, write(t, "msg3", both))
	if a := VerifyARC(t.Context(), content(third), testZone()); a.Value != Pass || len(a.Sealers) != 3 {
		t.Errorf("theirs, ours, theirs: %+v\n%s", a, third)
	}
}

// TestARCSuite runs the validation tests of ValiMail's arc_test_suite
// (tests/arc-draft-validation-tests.yml), which has no licence that would let it
// stand here: ARC_TEST_SUITE names the file. In two cases we differ: a message
// signature must cover From (RFC 6376 section 5.4), and without c= it is
// simple/simple (section 3.5).
func TestARCSuite(t *testing.T) {
	file := os.Getenv("ARC_TEST_SUITE")
	if file == "" {
		t.Skip("missing: ARC_TEST_SUITE, the path of the suite's arc-draft-validation-tests.yml")
	}
	differ := map[string]bool{"ams_fields_h_empty": true, "ams_fields_c_na": true}
	text := peer(t, "", "/usr/bin/python3", "-c", "import sys, yaml, json; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout, default=str)", file)
	var scenarios []struct {
		Tests map[string]struct {
			Message string
			CV      *string
		}
		Zone map[string]string `json:"txt-records"`
	}
	if err := json.Unmarshal([]byte(text), &scenarios); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range scenarios {
		zone := func(_ context.Context, name string) ([]string, error) {
			if r, ok := s.Zone[name]; ok {
				return []string{strings.ReplaceAll(r, "\n", "")}, nil
			}
			return nil, dns.ErrNotFound
		}
		for name, c := range s.Tests {
			n++
			want := None
			if c.CV != nil {
				want = Value(strings.ToLower(*c.CV))
			}
			if want == "" {
				want = Fail
			}
			a := VerifyARC(t.Context(), content(strings.ReplaceAll(c.Message, "\n", "\r\n")), zone)
			if (a.Value != want) != differ[name] {
				t.Errorf("%s: %s (%v), want %s", name, a.Value, a.Err, want)
			}
		}
	}
	t.Logf("%d cases", n)
}

func FuzzVerifyARC(f *testing.F) {
	s := testSigner(f)
	f.Add(sealEd(f, received))
	f.Add(sealEd(f, sealEd(f, received)))
	f.Add("ARC-Seal: i=1; a=ed25519-sha256; cv=none; d=svc.plus; s=ed; b=AAAA\r\nARC-Message-Signature: i=1; a=ed25519-sha256; c=simple; d=svc.plus; s=ed; h=from; bh=AA==; b=AA==\r\nARC-Authentication-Results: i=1; x\r\nFrom: x\r\n\r\n")
	f.Fuzz(func(t *testing.T, msg string) {
		a := VerifyARC(t.Context(), content(msg), testZone())
		if (a.Err == nil) != (a.Value == Pass || a.Value == None) || len(a.Sealers) > maxSets || a.Value == None && len(a.Sealers) > 0 {
			t.Errorf("%+v", a)
		}
		set, err := s.Seal(t.Context(), "svc.plus", "mx.svc.plus", content(msg), testZone())
		if err != nil || a.Value == Fail {
			return
		}
		if again := VerifyARC(t.Context(), content(string(set)+msg), testZone()); again.Value != Pass && !strings.Contains(fmt.Sprint(again.Err), "unusable message header") {
			t.Errorf("sealed, it is %+v\n%q", again, string(set)+msg)
		}
	})
}

// BenchmarkVerifyARC is a chain as long as it may be.
func BenchmarkVerifyARC(b *testing.B) {
	msg := received
	for range maxSets {
		msg = sealEd(b, msg)
	}
	c := content(msg)
	for b.Loop() {
		if a := VerifyARC(b.Context(), c, testZone()); a.Value != Pass {
			b.Fatal(a.Err)
		}
	}
}
