package opentera

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"fileshare/store"
)

// accessTTL is how long an access token is good.
const accessTTL = 30 * time.Minute

// access is what an access token states: who may use which file until when. The
// place of the file is in it, so that the file is found without a search.
type access struct {
	ref       store.Ref
	requester uuid
	until     time.Time // to the second
}

type uuid [16]byte

func (u uuid) String() string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// parseUUID reads a UUID in its usual spelling, upper case too.
func parseUUID(s string) (u uuid, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	n, err := hex.Decode(u[:], []byte(strings.ReplaceAll(s, "-", "")))
	return u, err == nil && n == len(u)
}

const (
	accessVersion = 1
	accessSize    = 1 + 8 + 3*16 // version, seconds since 1970, file, session (zero: none), requester
	signatureSize = 32
)

// statement is what is signed.
func (a access) statement() []byte {
	b := make([]byte, 0, accessSize+signatureSize)
	b = append(b, accessVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(a.until.Unix()))
	file, _ := parseUUID(a.ref.File)
	session, _ := parseUUID(a.ref.Session) // zero where there is none
	b = append(append(b, file[:]...), session[:]...)
	return append(b, a.requester[:]...)
}

// token is the access token; sign is store.Sign for our purpose.
func (a access) token(sign func([]byte) []byte) string {
	b := a.statement()
	return base64.RawURLEncoding.EncodeToString(append(b, sign(b)...))
}

// parseAccess reads an access token; signed is store.Signed for our purpose.
// Whether it is still good, and for whom, is not looked at.
func parseAccess(token string, signed func(statement, signature []byte) bool) (a access, ok bool) {
	if len(token) != base64.RawURLEncoding.EncodedLen(accessSize+signatureSize) {
		return a, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != accessSize+signatureSize || b[0] != accessVersion || !signed(b[:accessSize], b[accessSize:]) {
		return a, false
	}
	a.until = time.Unix(int64(binary.BigEndian.Uint64(b[1:])), 0)
	a.ref.File = uuid(b[9:25]).String()
	if session := uuid(b[25:41]); session != (uuid{}) {
		a.ref.Session = session.String()
	}
	a.requester = uuid(b[41:57])
	return a, true
}

// covers tells whether the token lets a requester use an asset now.
func (a access) covers(asset string, requester uuid, now time.Time) bool {
	return strings.EqualFold(a.ref.File, asset) && a.requester == requester && now.Before(a.until)
}
