package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
)

// signingKey derives the key of Sign from the secret of the ids, which is
// never used for anything itself but the permutation.
func signingKey(secret []byte) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("fileshare: signed statements"))
	return m.Sum(nil)
}

// Sign returns 32 bytes by which a statement is known again as one of ours, on
// every node and after a restart: for short-lived proofs that are too many to
// keep a record of each. A purpose keeps the statements of one use apart from
// those of all others; it has no NUL. What a statement says (until when it
// holds, for whom) is for who reads it to check, and it gives no permission
// that its reader would not have without it.
func (s *Store) Sign(purpose string, statement []byte) []byte {
	m := hmac.New(sha256.New, s.signing)
	m.Write([]byte(purpose))
	m.Write([]byte{0})
	m.Write(statement)
	return m.Sum(nil)
}

// Signed tells whether Sign made the signature of a statement.
func (s *Store) Signed(purpose string, statement, signature []byte) bool {
	return subtle.ConstantTimeCompare(s.Sign(purpose, statement), signature) == 1
}
