package passwdfile

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const testPassword = "pÄss w0rd"

// output runs a tool that is not ours; it skips when there is none.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("missing: %s", name)
	}
	var out, diag bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdout, cmd.Stderr = &out, &diag
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, &diag)
	}
	return strings.TrimRight(out.String(), "\r\n")
}

// wantMatch checks that a field is for password and for nothing else.
func wantMatch(t *testing.T, field, password string) {
	t.Helper()
	h, err := parseHash(field)
	if err != nil {
		t.Errorf("%s: %v", field, err)
		return
	}
	if !h.matches(password) {
		t.Errorf("%s does not match", field)
	}
	for _, other := range []string{"", password + "x", strings.ToUpper(password), "\x00" + password} {
		if h.matches(other) {
			t.Errorf("%s matches %q", field, other)
		}
	}
}

func TestHashesOfDovecot(t *testing.T) {
	for _, scheme := range []string{
		"SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "ARGON2ID", "ARGON2I", "PBKDF2", "CRYPT",
		"SSHA", "SSHA256", "SSHA512", "SHA", "SHA1", "SHA256", "SHA512", "SMD5", "LDAP-MD5", "PLAIN-MD5",
		"SSHA256.hex", "SSHA512.b64", "SSHA.HEX", "SHA256.HEX", "PLAIN", "CLEARTEXT",
	} {
		t.Run(scheme, func(t *testing.T) {
			wantMatch(t, output(t, "doveadm", "pw", "-s", scheme, "-p", testPassword), testPassword)
		})
	}
}

func TestHashesOfDovecotWithRounds(t *testing.T) {
	for scheme, rounds := range map[string]string{"SHA512-CRYPT": "1500", "SHA256-CRYPT": "1500", "BLF-CRYPT": "6", "PBKDF2": "100"} {
		wantMatch(t, output(t, "doveadm", "pw", "-s", scheme, "-r", rounds, "-p", testPassword), testPassword)
	}
}

func TestHashesOfTheSystem(t *testing.T) {
	for _, args := range [][]string{{"-6"}, {"-5"}, {"-6", "-salt", "rounds=1000$ab"}, {"-6", "-salt", "sixteencharssalt"}} {
		wantMatch(t, output(t, "openssl", append(append([]string{"passwd"}, args...), testPassword)...), testPassword)
	}
	for _, method := range []string{"sha512crypt", "sha256crypt", "bcrypt", "bcrypt-a"} {
		wantMatch(t, output(t, "mkpasswd", "-m", method, testPassword), testPassword)
	}
	for _, method := range []string{"yescrypt", "md5crypt"} {
		hash := output(t, "mkpasswd", "-m", method, testPassword)
		if !haveSystemCrypt {
			if _, err := parseHash(hash); err == nil || !strings.Contains(err.Error(), "without cgo") {
				t.Errorf("%s: %v", hash, err)
			}
			continue
		}
		wantMatch(t, hash, testPassword)
	}
}

func TestOurHashesAreReadByDovecot(t *testing.T) {
	for _, scheme := range Schemes() {
		field, err := Hash(scheme, testPassword)
		if err != nil {
			t.Fatal(err)
		}
		wantMatch(t, field, testPassword)
		if got := output(t, "doveadm", "pw", "-t", field, "-p", testPassword); !strings.HasSuffix(got, "(verified)") {
			t.Errorf("%s: %s", field, got)
		}
		if again, _ := Hash(scheme, testPassword); again == field && scheme != "PLAIN" {
			t.Errorf("%s has no fresh salt", scheme)
		}
	}
}

func TestHash(t *testing.T) {
	for _, scheme := range []string{"", "blf-crypt"} {
		field, err := Hash(scheme, "x")
		if err != nil || !strings.HasPrefix(field, "{BLF-CRYPT}$2a$10$") {
			t.Errorf("%q: %s, %v", scheme, field, err)
		}
	}
	field, err := HashFast("x")
	if err != nil || !strings.HasPrefix(field, "{BLF-CRYPT}$2a$05$") {
		t.Errorf("HashFast: %s, %v", field, err)
	}
	wantMatch(t, field, "x")
	for scheme, password := range map[string]string{"ROT13": "x", "MD5": "x", "PLAIN": "a:b"} {
		if _, err := Hash(scheme, password); err == nil {
			t.Errorf("%s: no error", scheme)
		}
	}
	if _, err := Hash("BLF-CRYPT", strings.Repeat("x", 73)); err == nil {
		t.Error("bcrypt took a password that it would cut")
	}
}

// bcrypt of other programs ignores what lies beyond 72 bytes.
func TestLongPasswordsOfBcrypt(t *testing.T) {
	long := strings.Repeat("x", 80)
	field := output(t, "doveadm", "pw", "-s", "BLF-CRYPT", "-p", long)
	if h, err := parseHash(field); err != nil || !h.matches(long) {
		t.Errorf("%s does not match its password: %v", field, err)
	}
}

func TestParseHashRefuses(t *testing.T) {
	good := "{SHA512-CRYPT}" + sha512crypt.hash("x", "salt", 0)
	for name, field := range map[string]string{
		"no brace":               "{SHA512-CRYPT",
		"no hash":                "{SHA512-CRYPT}",
		"unknown scheme":         "{ROT13}x",
		"bare MD5 means crypt":   "{MD5}x",
		"plain without a scheme": "secret",
		"DES":                    "ab01CDefghijk",
		"scheme and hash differ": "{BLF-CRYPT}" + strings.TrimPrefix(good, "{SHA512-CRYPT}"),
		"cut":                    good[:len(good)-1],
		"too many rounds":        "{SHA512-CRYPT}$6$rounds=999999999$salt$" + good[strings.LastIndex(good, "$")+1:],
		"rounds are no number":   "{SHA512-CRYPT}$6$rounds=x$salt$" + good[strings.LastIndex(good, "$")+1:],
		"bcrypt cut":             "{BLF-CRYPT}$2y$05$2NOvWrpTQ/bR7v7oaAVaPOAL3QQ1XnjPf6PCC0LcBzlSsRMXDV4I",
		"bcrypt cost":            "{BLF-CRYPT}$2y$31$2NOvWrpTQ/bR7v7oaAVaPOAL3QQ1XnjPf6PCC0LcBzlSsRMXDV4Im",
		"argon2 memory":          "{ARGON2ID}$argon2id$v=19$m=99999999,t=3,p=1$CJ0/13oX8R3TsIKZCG1vxA$mZQPJ3RjhccRpJJ4p9IF3JuhQVnu9fbeGpC5HGbKWQ0",
		"argon2 version":         "{ARGON2ID}$argon2id$v=16$m=65536,t=3,p=1$CJ0/13oX8R3TsIKZCG1vxA$mZQPJ3RjhccRpJJ4p9IF3JuhQVnu9fbeGpC5HGbKWQ0",
		"argon2 zero":            "{ARGON2ID}$argon2id$v=19$m=65536,t=0,p=1$CJ0/13oX8R3TsIKZCG1vxA$mZQPJ3RjhccRpJJ4p9IF3JuhQVnu9fbeGpC5HGbKWQ0",
		"argon2 trailing words":  "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1,x=1$CJ0/13oX8R3TsIKZCG1vxA$mZQPJ3RjhccRpJJ4p9IF3JuhQVnu9fbeGpC5HGbKWQ0",
		"SSHA without salt":      "{SSHA}DsMTX3/oiylYHtspLxxaIG+Gq28=",
		"SHA of another size":    "{SHA256}DsMTX3/oiylYHtspLxxaIG+Gq28=",
		"encoding":               "{SHA.ROT}DsMTX3/oiylYHtspLxxaIG+Gq28=",
		"base64":                 "{SHA}!!!!",
		"PBKDF2":                 "{PBKDF2}$1$salt$0$3baae82f965d06866d1f6863fbcd79c6b9639498",
		"yescrypt cut":           "$y$j9T$abc",
	} {
		if h, err := parseHash(field); err == nil {
			t.Errorf("%s: %q became %v", name, field, h)
		}
	}
}

func TestWeakSchemesAreTold(t *testing.T) {
	for field, weak := range map[string]bool{
		"{PLAIN}x": true, "{SHA}DsMTX3/oiylYHtspLxxaIG+Gq28=": true, "{SSHA256}r9lSuKgMuXnOKlhnPJM/6HBgqFLtpxxyO7Igvm16C/HHnx8G": true,
		"{SHA512-CRYPT}" + sha512crypt.hash("x", "s", 0): false,
	} {
		h, err := parseHash(field)
		if err != nil || (h.weakness() != "") != weak {
			t.Errorf("%s: %v, %v", field, h, err)
		}
	}
}

func TestDummyHashMatchesNothing(t *testing.T) {
	if slices.ContainsFunc([]string{"", "x", "password"}, dummyHash().matches) {
		t.Error("the dummy matches")
	}
}

// FuzzParseHash wants either a hash or an error.
func FuzzParseHash(f *testing.F) {
	for _, s := range []string{"{PLAIN}x", "$6$rounds=1000$a$b", "$2y$05$x", "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "{PBKDF2}$1$a$1$00", "{SSHA.HEX}00", "$y$j9T$a$b", "{", "{}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		h, err := parseHash(field)
		if (h == nil) == (err == nil) {
			t.Fatalf("%q: %v, %v", field, h, err)
		}
	})
}

func BenchmarkMatches(b *testing.B) {
	for _, scheme := range []string{"SHA512-CRYPT", "BLF-CRYPT", "ARGON2ID", "fast"} {
		field, err := Hash(scheme, testPassword)
		if scheme == "fast" {
			field, err = HashFast(testPassword)
		}
		if err != nil {
			b.Fatal(err)
		}
		h, err := parseHash(field)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(scheme, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.matches(testPassword)
			}
		})
	}
}
