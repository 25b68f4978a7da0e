package molgenis

import (
	"encoding/base32"
	"encoding/hex"
	"strings"
)

// idLength is how long an id is: 16 bytes in base32 without padding.
const idLength = 26

func spelling() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

// fromEngine spells an id of the engine, a UUID, the way MOLGENIS spells ids.
func fromEngine(id string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil {
		return ""
	}
	return spelling().EncodeToString(b)
}

// toEngine is the inverse; ok is false for what fromEngine never makes. Every
// id has one spelling.
func toEngine(id string) (_ string, ok bool) {
	if len(id) != idLength {
		return "", false
	}
	b, err := spelling().DecodeString(id)
	if err != nil || len(b) != 16 || spelling().EncodeToString(b) != id { // the last two bits must be zero
		return "", false
	}
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], true
}
