package passwdfile

import (
	"bytes"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// hash is a stored password.
type hash interface {
	matches(password string) bool
	weakness() string // a sentence for the administrator, or empty
}

// schemes are the names that Hash knows, best first.
var schemes = []string{"ARGON2ID", "BLF-CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "SSHA512", "SSHA256", "PLAIN"}

// Schemes returns the names that Hash knows, best first.
func Schemes() []string { return append([]string(nil), schemes...) }

// Hash returns the password field for password, "{SCHEME}…", with a fresh salt.
// An empty scheme means BLF-CRYPT with cost 10, which Dovecot and every other
// program can read.
func Hash(scheme, password string) (string, error) {
	switch scheme = strings.ToUpper(scheme); scheme {
	case "", "BLF-CRYPT":
		return bcryptHash(password, bcrypt.DefaultCost)
	case "SHA512-CRYPT":
		return "{SHA512-CRYPT}" + sha512crypt.hash(password, cryptSalt(), 0), nil
	case "SHA256-CRYPT":
		return "{SHA256-CRYPT}" + sha256crypt.hash(password, cryptSalt(), 0), nil
	case "ARGON2ID":
		return argonHash(password), nil
	case "SSHA256", "SSHA512":
		salt := random(8)
		d := digests[scheme[1:]]
		return "{" + scheme + "}" + base64.StdEncoding.EncodeToString(append(d.sum([]byte(password), salt), salt...)), nil
	case "PLAIN":
		if strings.ContainsAny(password, ":\r\n") {
			return "", errors.New("PLAIN cannot hold a colon or a line end")
		}
		return "{PLAIN}" + password, nil
	}
	return "", fmt.Errorf("scheme %q is not known; there are %s", scheme, strings.Join(schemes, ", "))
}

// HashFast is Hash for throw-away accounts on one's own machine: BLF-CRYPT with
// cost 5, about 2 ms a check. Not for real passwords.
func HashFast(password string) (string, error) { return bcryptHash(password, 5) }

func bcryptHash(password string, cost int) (string, error) {
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		return "", fmt.Errorf("hashing with BLF-CRYPT: %w", err)
	}
	return "{BLF-CRYPT}" + string(h), nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

// cryptSalt gives 16 characters of crypt's alphabet: 96 bits.
func cryptSalt() string {
	b := random(16)
	for i := range b {
		b[i] = cryptAlphabet[b[i]&63]
	}
	return string(b)
}

// parseHash reads "{SCHEME}data" or, without a scheme, what crypt(3) writes,
// which is Dovecot's default. A scheme may end in .HEX, .B64 or .BASE64.
func parseHash(field string) (hash, error) {
	scheme, data := "CRYPT", field
	if strings.HasPrefix(field, "{") {
		var ok bool
		if scheme, data, ok = strings.Cut(field[1:], "}"); !ok {
			return nil, errors.New("the scheme has no closing brace")
		}
	}
	scheme, encoding, _ := strings.Cut(strings.ToUpper(scheme), ".")
	if data == "" {
		return nil, fmt.Errorf("nothing follows {%s}", scheme)
	}
	switch scheme {
	case "PLAIN", "CLEAR", "CLEARTEXT":
		return plainHash(data), nil
	case "CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "ARGON2ID", "ARGON2I", "MD5-CRYPT":
		return parseCrypt(scheme, data)
	case "PBKDF2":
		return parsePBKDF2(data)
	}
	return parseDigest(scheme, encoding, data)
}

// parseCrypt reads a modular crypt string, which names its method itself.
func parseCrypt(scheme, data string) (hash, error) {
	of := func(want string, h hash, err error) (hash, error) {
		if err == nil && scheme != "CRYPT" && scheme != want {
			err = fmt.Errorf("{%s} is followed by a hash of %s", scheme, want)
		}
		if err != nil {
			return nil, err
		}
		return h, nil
	}
	switch {
	case strings.HasPrefix(data, sha512crypt.id):
		h, err := parseSHACrypt(sha512crypt, data)
		return of("SHA512-CRYPT", h, err)
	case strings.HasPrefix(data, sha256crypt.id):
		h, err := parseSHACrypt(sha256crypt, data)
		return of("SHA256-CRYPT", h, err)
	case strings.HasPrefix(data, "$2"):
		h, err := parseBcrypt(data)
		return of("BLF-CRYPT", h, err)
	case strings.HasPrefix(data, "$argon2id$"):
		h, err := parseArgon(data)
		return of("ARGON2ID", h, err)
	case strings.HasPrefix(data, "$argon2i$"):
		h, err := parseArgon(data)
		return of("ARGON2I", h, err)
	case strings.HasPrefix(data, "$y$") || strings.HasPrefix(data, "$1$"):
		h, err := parseSystem(data)
		return of("MD5-CRYPT", h, err)
	}
	return nil, errors.New("this form of crypt is not known or too weak; make a new hash with \"mkpasswd -m sha512crypt\" or \"doveadm pw\"")
}

// systemHash is a form that only the system's crypt(3) computes: yescrypt, which
// Debian's mkpasswd and shadow use, and MD5-CRYPT of old files.
type systemHash string

func (h systemHash) weakness() string {
	if strings.HasPrefix(string(h), "$1$") {
		return "MD5-CRYPT is quickly guessed from a stolen file; make a new hash with \"doveadm pw\""
	}
	return ""
}

func parseSystem(data string) (hash, error) {
	if !haveSystemCrypt {
		return nil, errors.New("this binary was built without cgo and cannot check yescrypt and MD5-CRYPT; make a new hash with \"mkpasswd -m sha512crypt\"")
	}
	parts := map[bool]int{true: 5, false: 4}[strings.HasPrefix(data, "$y$")]
	if f := strings.Split(data, "$"); len(f) != parts || len(data) > 256 || f[parts-1] == "" || strings.ContainsFunc(data, func(r rune) bool { return r != '$' && !strings.ContainsRune(cryptAlphabet, r) }) {
		return nil, errors.New("the crypt string is damaged")
	}
	return systemHash(data), nil
}

// plainHash is the password itself.
type plainHash string

func (h plainHash) matches(password string) bool { return equal([]byte(h), []byte(password)) }
func (plainHash) weakness() string               { return "PLAIN keeps the password readable; it is for tests" }

// equal compares in constant time, also lengths.
func equal(a, b []byte) bool {
	x, y := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// digest is one hash function of the schemes SHA256, SSHA512 and so on.
type digest struct {
	size int
	sum  func(parts ...[]byte) []byte
}

var digests = map[string]digest{
	"MD5":    {md5.Size, func(p ...[]byte) []byte { s := md5.Sum(bytes.Join(p, nil)); return s[:] }},
	"SHA":    {sha1.Size, func(p ...[]byte) []byte { s := sha1.Sum(bytes.Join(p, nil)); return s[:] }},
	"SHA256": {sha256.Size, func(p ...[]byte) []byte { s := sha256.Sum256(bytes.Join(p, nil)); return s[:] }},
	"SHA512": {sha512.Size, func(p ...[]byte) []byte { s := sha512.Sum512(bytes.Join(p, nil)); return s[:] }},
}

// digestHash is H(password ‖ salt); the salt follows the hash in the file and
// is empty for the schemes without one.
type digestHash struct {
	digest
	want, salt []byte
	weak       string
}

func (h digestHash) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.sum([]byte(password), h.salt), h.want) == 1
}
func (h digestHash) weakness() string { return h.weak }

// parseDigest reads SHA, SHA1, SHA256, SHA512, PLAIN-MD5, LDAP-MD5 and the
// salted SSHA, SSHA256, SSHA512, SMD5.
func parseDigest(scheme, encoding, data string) (hash, error) {
	name, salted := scheme, false
	switch scheme {
	case "SHA1":
		name = "SHA"
	case "LDAP-MD5", "PLAIN-MD5":
		name = "MD5"
	case "SSHA", "SSHA256", "SSHA512", "SMD5":
		name, salted = scheme[1:], true
	}
	d, ok := digests[name]
	if !ok || scheme == "MD5" {
		return nil, fmt.Errorf("scheme %q is not known", scheme)
	}
	raw, err := decode(encoding, data, scheme == "PLAIN-MD5", d.size)
	if err != nil {
		return nil, fmt.Errorf("{%s}: %w", scheme, err)
	}
	if len(raw) < d.size || !salted && len(raw) > d.size || salted && len(raw) == d.size {
		return nil, fmt.Errorf("{%s}: %d bytes are not a hash of this scheme", scheme, len(raw))
	}
	return digestHash{d, raw[:d.size], raw[d.size:], "{" + scheme + "} is quickly guessed from a stolen file; make a new hash with \"doveadm pw\""}, nil
}

// decode reads base64 (Dovecot's default here) or hexadecimal. Without a stated
// encoding a text of exactly the length of a hexadecimal hash is one.
func decode(encoding, data string, preferHex bool, size int) ([]byte, error) {
	switch encoding {
	case "HEX":
		return hex.DecodeString(data)
	case "", "B64", "BASE64":
	default:
		return nil, fmt.Errorf("encoding %q is not known", encoding)
	}
	if encoding == "" && (preferHex || len(data) == 2*size) {
		if b, err := hex.DecodeString(data); err == nil {
			return b, nil
		}
	}
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(data, "="))
}

// bcryptString is a hash of BLF-CRYPT.
type bcryptString string

// maxBcryptCost is a check of about three seconds.
const maxBcryptCost = 16

func parseBcrypt(data string) (hash, error) {
	cost, err := bcrypt.Cost([]byte(data))
	if err != nil {
		return nil, fmt.Errorf("BLF-CRYPT: %w", err)
	}
	if cost > maxBcryptCost {
		return nil, fmt.Errorf("BLF-CRYPT: cost %d is more than %d", cost, maxBcryptCost)
	}
	if len(data) != 60 {
		return nil, fmt.Errorf("BLF-CRYPT: %d characters instead of 60", len(data))
	}
	return bcryptString(data), nil
}

func (h bcryptString) matches(password string) bool {
	if len(password) > 72 { // what crypt_blowfish does: the rest does not count
		password = password[:72]
	}
	return bcrypt.CompareHashAndPassword([]byte(h), []byte(password)) == nil
}
func (bcryptString) weakness() string { return "" }

// argonHash uses RFC 9106's second recommendation with less memory, since it
// is needed once per login at the same time: 3 passes over 32 MiB.
func argonHash(password string) string {
	const time, memory, threads = 3, 32 * 1024, 1
	salt := random(16)
	key := argon2.IDKey([]byte(password), salt, time, memory, threads, 32)
	return fmt.Sprintf("{ARGON2ID}$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memory, time, threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// argon is a hash of Argon2i or Argon2id (RFC 9106).
type argon struct {
	key          func(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte
	time, memory uint32
	threads      uint8
	salt, want   []byte
}

// Bounds that keep a typing error from taking the machine.
const (
	maxArgonMemory = 1 << 20 // KiB
	maxArgonTime   = 64
)

func parseArgon(data string) (hash, error) {
	f := strings.Split(data, "$")
	if len(f) != 6 {
		return nil, errors.New("argon2: the hash needs five parts")
	}
	a := argon{key: argon2.IDKey}
	if f[1] == "argon2i" {
		a.key = argon2.Key
	}
	if f[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, fmt.Errorf("argon2: version %q is not known", f[2])
	}
	var m, t, p uint32
	if _, err := fmt.Sscanf(f[3], "m=%d,t=%d,p=%d", &m, &t, &p); err != nil || f[3] != fmt.Sprintf("m=%d,t=%d,p=%d", m, t, p) {
		return nil, fmt.Errorf("argon2: the parameters %q cannot be read", f[3])
	}
	if m < 8 || m > maxArgonMemory || t < 1 || t > maxArgonTime || p < 1 || p > 255 {
		return nil, fmt.Errorf("argon2: the parameters %q are out of bounds", f[3])
	}
	a.memory, a.time, a.threads = m, t, uint8(p)
	var err1, err2 error
	a.salt, err1 = base64.RawStdEncoding.DecodeString(f[4])
	a.want, err2 = base64.RawStdEncoding.DecodeString(f[5])
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("argon2: %w", err)
	}
	if len(a.salt) < 8 || len(a.want) < 16 || len(a.want) > 128 {
		return nil, errors.New("argon2: salt or hash has an odd length")
	}
	return a, nil
}

func (a argon) matches(password string) bool {
	return subtle.ConstantTimeCompare(a.key([]byte(password), a.salt, a.time, a.memory, a.threads, uint32(len(a.want))), a.want) == 1
}
func (argon) weakness() string { return "" }

// pbkdf2Hash is Dovecot's PBKDF2: $1$salt$rounds$hex, HMAC-SHA1, 20 bytes.
type pbkdf2Hash struct {
	salt   string
	rounds int
	want   []byte
}

func parsePBKDF2(data string) (hash, error) {
	f := strings.Split(data, "$")
	if len(f) != 5 || f[0] != "" || f[1] != "1" {
		return nil, errors.New("PBKDF2: want $1$salt$rounds$hash")
	}
	rounds, err := strconv.Atoi(f[3])
	if err != nil || rounds < 1 || rounds > 10_000_000 {
		return nil, fmt.Errorf("PBKDF2: %q rounds", f[3])
	}
	want, err := hex.DecodeString(f[4])
	if err != nil || len(want) != sha1.Size {
		return nil, errors.New("PBKDF2: the hash is not 40 hexadecimal digits")
	}
	return pbkdf2Hash{f[2], rounds, want}, nil
}

func (h pbkdf2Hash) matches(password string) bool {
	key, err := pbkdf2.Key(sha1.New, password, []byte(h.salt), h.rounds, len(h.want))
	return err == nil && subtle.ConstantTimeCompare(key, h.want) == 1
}
func (pbkdf2Hash) weakness() string { return "" }

// dummyHash takes the time of a usual check and matches nothing that a client
// could send.
func dummyHash() hash {
	h, err := parseHash("{SHA512-CRYPT}" + sha512crypt.hash(string(random(32)), cryptSalt(), 0))
	if err != nil {
		panic(err) // our own text
	}
	return h
}
