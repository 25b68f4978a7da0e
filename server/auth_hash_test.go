package server

import (
	"encoding/base64"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
)

// cheap makes a fast hash of a password, for tests that are about other things.
func cheap(t testing.TB, password string) string {
	t.Helper()
	key := argon2.IDKey([]byte(password), []byte("saltsalt"), 1, 8, 1, 16)
	return "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$" + base64.RawStdEncoding.EncodeToString(key)
}

func TestHashesOfOtherPrograms(t *testing.T) {
	const password = "pässwort: x"
	for name, test := range map[string]struct{ password, encoded string }{
		"openssl passwd -apr1":           {password, "$apr1$12345678$aPw54dMa0S.W/BSNrYbAE0"},
		"openssl passwd -5":              {password, "$5$saltsalt$v/DvRj5jEHgiFKotef/SBur9x.7tAftwTBpUelZgSJ3"},
		"openssl passwd -6":              {password, "$6$saltsalt$irTwLM40Att0LiUKew1gGVznZJRH4ZXMpi3E.tJ6lKgjNQlGq9GS96aV7kiywH8zw6hTtswKf.MylPeD/ttrb0"},
		"openssl passwd -6, rounds":      {password, "$6$rounds=10000$saltsalt$ePVxZol86qzjKLUVjc0X.9EwrusBIavnwdqZpuW1lrUjHfGeDf20vQhFSWmhulVXe4GbI/ZBW.d5XDOpgDPs4."},
		"crypt(3), bcrypt":               {password, "$2y$05$abcdefghijklmnopqrstuu5feqY7rNEzdjuN9S0rXsgl2uB4CIhAW"},
		"argon2's own test":              {"password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		"plain text that looks like one": {"$money$", "$money$"},
	} {
		h, err := parsePassword(test.encoded)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !h.matches(test.password) {
			t.Errorf("%s: the right password is refused", name)
		}
		for _, wrong := range []string{"", test.password + "x", strings.ToUpper(test.password)} {
			if h.matches(wrong) && wrong != test.password {
				t.Errorf("%s: %q is accepted", name, wrong)
			}
		}
	}
}

func TestHashPassword(t *testing.T) {
	encoded, err := HashPassword("pässwort: x")
	if err != nil {
		t.Fatal(err)
	}
	h, err := parseHash(encoded)
	if err != nil || !h.matches("pässwort: x") || h.matches("passwort: x") {
		t.Errorf("%q: error %v, or it does not know its password", encoded, err)
	}
	if again, _ := HashPassword("pässwort: x"); again == encoded {
		t.Error("two hashes of one password are the same: no salt")
	}
	for _, bad := range []string{"", "a\nb", strings.Repeat("x", 1025)} {
		if _, err := HashPassword(bad); err == nil {
			t.Errorf("HashPassword(%.20q) is accepted", bad)
		}
	}
}

func TestBadHashes(t *testing.T) {
	key := base64.RawStdEncoding.EncodeToString(make([]byte, 32))
	long := strings.Repeat("x", 86)
	for _, bad := range []string{
		"", "{SHA}x", "$1$salt$0123456789012345678901", "$y$j9T$x$y", "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$" + key,
		"$argon2id$v=16$m=8,t=1,p=1$c2FsdHNhbHQ$" + key,
		"$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$" + key, // 4 GiB
		"$argon2id$v=19$m=4294967304,t=1,p=1$c2FsdHNhbHQ$" + key,
		"$argon2id$v=19$m=8,t=0,p=1$c2FsdHNhbHQ$" + key, // would panic
		"$argon2id$v=19$m=8,t=1,p=0$c2FsdHNhbHQ$" + key, // would panic
		"$argon2id$v=19$m=8,t=1000,p=1$c2FsdHNhbHQ$" + key,
		"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$", "$argon2id$v=19$m=8,t=1,p=1$$" + key, "$argon2id$v=19$t=1,m=8,p=1$c2FsdHNhbHQ$" + key,
		"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$" + key + "$more", "$argon2id$",
		"$2y$31$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg", "$2y$10$short", "$2y$",
		"$6$rounds=999999999$salt$" + long, "$6$rounds=10$salt$" + long, "$6$rounds=05000$salt$" + long, "$6$rounds=x$salt$" + long,
		"$6$salt$short", "$6$$" + long, "$6$seventeenletters0$" + long, "$6$", "$5$salt$" + long, "$apr1$salt$", "$apr1$", "$apr1$toolongasalt$0123456789012345678901",
	} {
		if h, err := parseHash(bad); err == nil && h.matches != nil {
			t.Errorf("%q is accepted", bad)
		} else if plain, err := CheckPassword(bad); err == nil {
			t.Errorf("%q is taken for plain text (%t)", bad, plain)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	for _, s := range []string{"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "$6$rounds=1000$salt$" + strings.Repeat("x", 86),
		"$5$salt$" + strings.Repeat("x", 43), "$apr1$salt$0123456789012345678901", "$2y$04$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg", "plain"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHash(s)
		if err != nil && s != "" && len(s) > 6 && strings.Contains(err.Error(), s) {
			t.Errorf("the error repeats the hash: %v", err)
		}
		if err == nil && h.matches != nil && cheapEnough(s) {
			h.matches("no panic, please")
		}
	})
}

// cheapEnough leaves out what would keep the fuzzer busy with hashing.
func cheapEnough(s string) bool {
	return strings.HasPrefix(s, "$apr1$") || strings.HasPrefix(s, "$2y$04$") || strings.HasPrefix(s, "$argon2id$v=19$m=8,t=1,p=1$") ||
		strings.HasPrefix(s, "$6$rounds=1000$") || strings.HasPrefix(s, "$5$") && !strings.HasPrefix(s, "$5$rounds")
}
