package dkim

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// openssl makes a key as administrators do; it skips without the program.
func openssl(t *testing.T, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("missing: openssl")
	}
	out, err := exec.CommandContext(t.Context(), path, args...).Output()
	if err != nil {
		t.Fatalf("openssl %q: %v", args, err)
	}
	return out
}

func TestKeysOfOpenSSL(t *testing.T) {
	cases := []struct {
		name string
		args []string
		alg  Algorithm
		bits int
	}{
		{"RSA in PKCS 8", []string{"genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048"}, RSA, 2048},
		{"RSA in PKCS 1", []string{"genrsa", "-traditional", "1024"}, RSA, 1024},
		{"Ed25519", []string{"genpkey", "-algorithm", "ed25519"}, Ed25519, 256},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			k, err := ParseKey(openssl(t, c.args...))
			if err != nil {
				t.Fatal(err)
			}
			if k.Algorithm() != c.alg || k.Bits() != c.bits {
				t.Errorf("%s with %d bits", k.Algorithm(), k.Bits())
			}
		})
	}
}

func TestParseKeyRefuses(t *testing.T) {
	short := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: shortRSA(t)})
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct{ name, text, want string }{
		{"nothing", "", "no PEM block"},
		{"a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no PEM block"},
		{"damage", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "PKCS #8"},
		{"damage in PKCS 1", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", "PKCS #1"},
		{"a passphrase", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "passphrase"},
		{"an old passphrase", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n", "passphrase"},
		{"too short", string(short), "512 bits"},
		{"another algorithm", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "RSA or Ed25519"},
	}
	for _, c := range cases {
		if _, err := ParseKey([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// shortRSA is a key of 512 bits, which Go itself makes no more.
func shortRSA(t *testing.T) []byte {
	t.Helper()
	out := openssl(t, "genrsa", "-traditional", "512")
	block, _ := pem.Decode(out)
	if block == nil {
		t.Fatalf("%s", out)
	}
	return block.Bytes
}

func TestKeyFileIsWrittenOnceAndReadAgain(t *testing.T) {
	for alg, k := range testKeys {
		path := filepath.Join(t.TempDir(), "key")
		if err := k.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", fi.Mode(), err)
		}
		got, err := LoadKey(path)
		if err != nil || Record(got) != Record(k) || got.Algorithm() != alg || got.Warnings() != nil {
			t.Errorf("%s: %v %q", alg, err, got.Warnings())
		}
		if err := testKeys[RSA].WriteFile(path); !errors.Is(err, os.ErrExist) {
			t.Errorf("a key was overwritten: %v", err)
		}
	}
	if err := testKeys[RSA].WriteFile("/no/such/dir/key"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
	if _, err := LoadKey("/no/such/key"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
}

func TestKeyWarnings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(small)})
	if err := errors.Join(os.WriteFile(path, text, 0o600), os.Chmod(path, 0o644)); err != nil {
		t.Fatal(err)
	}
	k, err := LoadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if w := k.Warnings(); len(w) != 2 || !strings.Contains(w[0], "1024 bits") || !strings.Contains(w[1], "chmod") {
		t.Errorf("%q", w)
	}
}

func TestGenerateKeyKnowsTwoAlgorithms(t *testing.T) {
	if _, err := GenerateKey("dsa"); err == nil {
		t.Error("no error")
	}
	if testKeys[RSA].Bits() != 2048 {
		t.Errorf("%d bits", testKeys[RSA].Bits())
	}
}

func TestRecordIsWhatOpenSSLSaysIsThePublicKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := testKeys[RSA].WriteFile(path); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(openssl(t, "pkey", "-in", path, "-pubout"))
	if block == nil || !bytes.Equal(block.Bytes, testKeys[RSA].public()) {
		t.Error("the record has another key")
	}
}
