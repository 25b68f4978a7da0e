package server

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tg123/go-htpasswd"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// What a hash may cost. They come from files, and a typing error must not
// take the machine's memory or minutes of its time.
const (
	mostBcryptCost   = 15
	mostArgonMemory  = 256 << 10 // KiB
	mostArgonTime    = 20
	mostArgonThreads = 16
	leastShaRounds   = 1000 // below it crypt(3) changes the number silently
	mostShaRounds    = 1_000_000
	mostPassword     = 1024 // bytes; nobody types more, and every byte is hashed a thousand times
)

// The parameters of new hashes: OWASP's recommendation for argon2id with the
// least memory that is common, since uploads run beside it.
const (
	argonMemory = 19 << 10 // KiB
	argonTime   = 2
)

// passwordHash is one stored password. It is immutable.
type passwordHash struct {
	encoded string // identifies the hash; for plain text a digest
	plain   bool
	matches func(password string) bool
}

// HashPassword returns the argon2id hash of a password in PHC form, as
// configuration and htpasswd files take it. It refuses what no client could
// send: empty passwords, more than 1024 bytes, control characters.
func HashPassword(password string) (string, error) {
	switch {
	case password == "":
		return "", errors.New("the password is empty")
	case len(password) > mostPassword:
		return "", fmt.Errorf("the password is longer than %d bytes", mostPassword)
	case hasControl(password):
		return "", errors.New("the password contains control characters")
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, 1, 32)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, argonMemory, argonTime, b64(salt), b64(key)), nil
}

// CheckPassword reports what is wrong with a password as configured: a hash in
// a known form (bcrypt, argon2id, sha-crypt, apr1) or plain text, and which of the
// two it is. Errors do not repeat it.
func CheckPassword(configured string) (plain bool, err error) {
	h, err := parsePassword(configured)
	return h.plain, err
}

// parsePassword takes a hash or, failing that, plain text.
func parsePassword(s string) (passwordHash, error) {
	h, err := parseHash(s)
	if err != nil || h.matches != nil {
		return h, err
	}
	if len(s) > mostPassword || hasControl(s) {
		return h, fmt.Errorf("a plain password of at most %d bytes without control characters is expected", mostPassword)
	}
	// Comparing digests takes the same time for every length and leaves the
	// text itself in the configuration only.
	want := sha256.Sum256([]byte(s))
	return passwordHash{encoded: "sha256:" + string(want[:]), plain: true, matches: func(password string) bool {
		got := sha256.Sum256([]byte(password))
		return subtle.ConstantTimeCompare(got[:], want[:]) == 1
	}}, nil
}

// parseHash understands the allowed forms. Other well-known forms are errors;
// what looks like no hash at all gives a zero passwordHash.
func parseHash(s string) (passwordHash, error) {
	prefix := func(all ...string) bool {
		for _, p := range all {
			if strings.HasPrefix(s, p) {
				return true
			}
		}
		return false
	}
	switch {
	case s == "":
		return passwordHash{}, errors.New("the password is empty")
	case prefix("$argon2id$"):
		return parseArgon(s)
	case prefix("$2a$", "$2b$", "$2y$"):
		return parseBcrypt(s)
	case prefix("$5$", "$6$"):
		return parseShaCrypt(s)
	case prefix("$apr1$"):
		return parseApr1(s)
	case prefix("$1$", "$2$", "$2x$", "$3$", "$7$", "$y$", "$gy$", "$argon2i$", "$argon2d$", "$scrypt$", "$pbkdf2", "{SHA}", "{SSHA", "{PLAIN}"):
		return passwordHash{}, errors.New("this kind of hash is not supported; argon2id, bcrypt, sha-crypt or apr1 is expected")
	}
	return passwordHash{}, nil
}

func parseBcrypt(s string) (passwordHash, error) {
	cost, err := bcrypt.Cost([]byte(s))
	if err != nil || len(s) != 60 {
		return passwordHash{}, errors.New("malformed bcrypt hash")
	}
	if cost > mostBcryptCost {
		return passwordHash{}, fmt.Errorf("bcrypt cost %d is above %d", cost, mostBcryptCost)
	}
	return passwordHash{encoded: s, matches: func(password string) bool {
		return bcrypt.CompareHashAndPassword([]byte(s), []byte(password)) == nil
	}}, nil
}

// parseArgon reads $argon2id$v=19$m=KiB,t=passes,p=lanes$salt$key.
func parseArgon(s string) (passwordHash, error) {
	malformed := errors.New("malformed argon2id hash")
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return passwordHash{}, malformed
	}
	settings := strings.Split(parts[3], ",")
	if len(settings) != 3 {
		return passwordHash{}, malformed
	}
	var numbers [3]uint32
	for i, name := range []string{"m=", "t=", "p="} {
		text, ok := strings.CutPrefix(settings[i], name)
		n, err := strconv.ParseUint(text, 10, 32)
		if !ok || err != nil {
			return passwordHash{}, malformed
		}
		numbers[i] = uint32(n)
	}
	memory, passes, lanes := numbers[0], numbers[1], numbers[2]
	if lanes < 1 || lanes > mostArgonThreads || passes < 1 || passes > mostArgonTime || memory < 8*lanes || memory > mostArgonMemory {
		return passwordHash{}, fmt.Errorf("argon2id parameters out of range: m up to %d, t up to %d, p up to %d are expected",
			mostArgonMemory, mostArgonTime, mostArgonThreads)
	}
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(salt) < 8 || len(salt) > 64 || len(want) < 16 || len(want) > 64 {
		return passwordHash{}, malformed
	}
	return passwordHash{encoded: s, matches: func(password string) bool {
		got := argon2.IDKey([]byte(password), salt, passes, memory, uint8(lanes), uint32(len(want)))
		return subtle.ConstantTimeCompare(got, want) == 1
	}}, nil
}

// parseShaCrypt reads $5$ and $6$ hashes. The library slices what it made by
// the length of what it was given, so everything must be in the one normal form.
func parseShaCrypt(s string) (passwordHash, error) {
	malformed := errors.New("malformed sha-crypt hash")
	parts := strings.Split(s[len("$5$"):], "$")
	if len(parts) == 3 {
		text, ok := strings.CutPrefix(parts[0], "rounds=")
		n, err := strconv.Atoi(text)
		if !ok || err != nil || strconv.Itoa(n) != text {
			return passwordHash{}, malformed
		}
		if n < leastShaRounds || n > mostShaRounds {
			return passwordHash{}, fmt.Errorf("sha-crypt rounds out of range: %d to %d are expected", leastShaRounds, mostShaRounds)
		}
		parts = parts[1:]
	}
	length := 43
	if s[1] == '6' {
		length = 86
	}
	if len(parts) != 2 || len(parts[0]) > 16 || !crypt64(parts[0]) || len(parts[1]) != length || !crypt64(parts[1]) {
		return passwordHash{}, malformed
	}
	return fromLibrary(s, htpasswd.AcceptCryptSha, malformed)
}

func parseApr1(s string) (passwordHash, error) {
	malformed := errors.New("malformed apr1 hash")
	parts := strings.Split(s[len("$apr1$"):], "$")
	if len(parts) != 2 || len(parts[0]) > 8 || !crypt64(parts[0]) || len(parts[1]) != 22 || !crypt64(parts[1]) {
		return passwordHash{}, malformed
	}
	return fromLibrary(s, htpasswd.AcceptMd5, malformed)
}

func fromLibrary(s string, accept htpasswd.PasswdParser, malformed error) (passwordHash, error) {
	h, err := accept(s)
	if err != nil || h == nil { // its errors repeat the hash
		return passwordHash{}, malformed
	}
	return passwordHash{encoded: s, matches: h.MatchesPassword}, nil
}

// crypt64 tells whether s is of crypt(3)'s alphabet, and not empty.
func crypt64(s string) bool {
	return s != "" && strings.Trim(s, "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}
