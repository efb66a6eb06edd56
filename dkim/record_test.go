package dkim

import (
	"errors"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
)

func TestZoneLineIsReadByADNSServer(t *testing.T) {
	for alg, k := range testKeys {
		rr, err := mdns.NewRR(strings.ReplaceAll(ZoneLine("svc.plus", "default", k), "\n", " "))
		if err != nil {
			t.Fatal(err)
		}
		z := mdns.NewZoneParser(strings.NewReader("$TTL 60\n"+ZoneLine("svc.plus", "default", k)+"\n"), "", "")
		if fromFile, ok := z.Next(); !ok || fromFile.String() == "" {
			t.Errorf("%s: as a zone file: %v", alg, z.Err())
		}
		txt, ok := rr.(*mdns.TXT)
		if !ok || rr.Header().Name != "default._domainkey.svc.plus." {
			t.Fatalf("%v", rr)
		}
		for _, s := range txt.Txt {
			if len(s) > 255 {
				t.Errorf("a string of %d bytes", len(s))
			}
		}
		if got := strings.Join(txt.Txt, ""); got != Record(k) {
			t.Errorf("%q", got)
		}
		if err := CompareRecord([]string{strings.Join(txt.Txt, "")}, k); err != nil {
			t.Error(err)
		}
	}
}

func TestCompareRecord(t *testing.T) {
	k := testKeys[Ed25519]
	good := Record(k)
	p := good[strings.Index(good, "p=")+2:]
	cases := []struct {
		name string
		txts []string
		want error
	}{
		{"ours", []string{good}, nil},
		{"without v=", []string{"k=ed25519; p=" + p}, nil},
		{"white space", []string{"v=DKIM1 ;\tk = ed25519;p=" + p[:10] + " \t" + p[10:] + " ;"}, nil},
		{"more tags", []string{"v=DKIM1; k=ed25519; h=sha1:sha256; s=email; t=y:s; n=note; x=y; p=" + p}, nil},
		{"services", []string{"k=ed25519; s=*; p=" + p}, nil},
		{"none", nil, ErrNoRecord},
		{"two", []string{good, good}, ErrRecord},
		{"another key", []string{Record(testKeys[RSA])}, ErrOtherKey},
		{"another algorithm", []string{"v=DKIM1; p=" + p}, ErrOtherKey},
		{"revoked", []string{"v=DKIM1; p="}, ErrRevoked},
		{"no key", []string{"v=DKIM1; k=ed25519"}, ErrRecord},
		{"version", []string{"v=DKIM2; k=ed25519; p=" + p}, ErrRecord},
		{"version not first", []string{"k=ed25519; v=DKIM1; p=" + p}, ErrRecord},
		{"sha1 only", []string{"k=ed25519; h=sha1; p=" + p}, ErrRecord},
		{"not for mail", []string{"k=ed25519; s=other; p=" + p}, ErrRecord},
		{"twice", []string{"k=ed25519; k=rsa; p=" + p}, ErrRecord},
		{"cut", []string{good[:len(good)-3]}, ErrRecord},
		{"something else", []string{"google-site-verification"}, ErrRecord},
		{"empty", []string{""}, ErrRecord},
		{"quoted by mistake", []string{`"v=DKIM1; k=ed25519; p=` + p + `"`}, ErrRecord},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := CompareRecord(c.txts, k); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("err = %v", err)
			}
		})
	}
}

// FuzzParseTags wants that no record panics, and that names and values come
// without white space at their ends.
func FuzzParseTags(f *testing.F) {
	for _, s := range []string{Record(testKeys[Ed25519]), "v=DKIM1; p=", "a=b;a=c", ";;;", "=", " a = b ;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := parseTags(s)
		if err != nil {
			return
		}
		for _, tag := range l {
			if strings.Trim(tag.name, spaces) != tag.name || strings.Trim(tag.value, spaces) != tag.value {
				t.Errorf("%q: %q", s, tag)
			}
		}
		_ = CompareRecord([]string{s}, testKeys[Ed25519])
		l.bits()
	})
}
