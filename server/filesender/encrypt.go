package filesender

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"fileshare/store"
)

// Transfers that are encrypted end to end (contract §12). Nothing is encrypted
// or decrypted here: clients encrypt each chunk by itself, and what is stored is
// longer than what they count by. Sizes and offsets of calls are those of the
// plain bytes; those of the engine are of what is stored.

// crypt is how the files of a transfer are encrypted, as its sender said.
type crypt struct {
	KeyVersion      int    `json:"key_version"`
	PasswordVersion int    `json:"password_version"`
	Encoding        string `json:"encoding"`
	Iterations      int    `json:"iterations"`
	Entropy         string `json:"entropy,omitempty"`
	Chunk           int64  `json:"chunk"` // plain bytes in each chunk but the last
}

// overhead is by how much a chunk grows: 16 bytes of IV before it, 16 of tag
// behind it.
const overhead = 32

// Bounds of what is kept with a transfer and its files without being understood.
const (
	mostEntropy = 512
	mostAEAD    = 2 << 10
	mostIV      = 64
)

// stored is how long a file is when its chunks are encrypted, if they are.
func (c *crypt) stored(plain int64) int64 {
	if c == nil {
		return plain
	}
	return plain + (plain+c.Chunk-1)/c.Chunk*overhead
}

// plain is the inverse of stored.
func (c *crypt) plain(stored int64) int64 {
	if c == nil {
		return stored
	}
	return stored - (stored+c.Chunk+overhead-1)/(c.Chunk+overhead)*overhead
}

// chunk is where a chunk lies that begins at a plain offset, and how many plain
// bytes of a file it has; ok is false where none begins.
func (c *crypt) chunk(offset, plain int64) (at, n int64, ok bool) {
	if offset%c.Chunk != 0 || offset < 0 || offset >= plain {
		return 0, 0, false
	}
	return offset / c.Chunk * (c.Chunk + overhead), min(c.Chunk, plain-offset), true
}

// cryptOf is the encryption of a transfer; nil: there is none.
func cryptOf(s *store.Session) *crypt {
	text := s.Attrs[attrCrypt]
	if text == "" {
		return nil
	}
	c := new(crypt)
	if err := json.Unmarshal([]byte(text), c); err != nil || c.Chunk <= 0 { // written by us
		return nil
	}
	return c
}

// crypt checks what is said of the encryption of a new transfer.
func (a *api) crypt(in *newTransfer) (*crypt, error) {
	bad := func(what string) error {
		return &faultError{http.StatusBadRequest, "rest_bad_parameter", what}
	}
	c := &crypt{KeyVersion: 1, PasswordVersion: 1, Encoding: "none", Iterations: iterations, Entropy: in.Entropy, Chunk: a.o.ChunkSize}
	for _, x := range []struct {
		name string
		said number
		to   *int
	}{{"encryption_key_version", in.KeyVersion, &c.KeyVersion}, {"encryption_password_version", in.PasswordVersion, &c.PasswordVersion}, {"encryption_password_hash_iterations", in.Iterations, &c.Iterations}} {
		if x.said.v == nil {
			continue
		}
		if *x.said.v < 0 || *x.said.v > 1<<31-1 {
			return nil, bad(x.name)
		}
		*x.to = int(*x.said.v)
	}
	switch in.Encoding {
	case "":
	case "none", "base64", "ascii85":
		c.Encoding = in.Encoding
	default:
		return nil, bad("encryption_password_encoding")
	}
	if len(in.Entropy) > mostEntropy {
		return nil, bad("encryption_client_entropy")
	}
	for _, f := range in.Files {
		for name, text := range map[string]struct {
			said string
			most int
		}{"iv": {f.IV, mostIV}, "aead": {f.AEAD, mostAEAD}} {
			if _, err := base64.StdEncoding.DecodeString(text.said); err != nil || len(text.said) > text.most {
				return nil, bad(name)
			}
		}
	}
	return c, nil
}

// plainSize is the size of a file before it was encrypted.
func plainSize(f *store.File) int64 {
	if text, ok := f.Attrs[attrPlain]; ok {
		n, _ := strconv.ParseInt(text, 10, 64) // written by us
		return n
	}
	return storedSize(f)
}

// storedSize is the size of what is stored of a file, or will be.
func storedSize(f *store.File) int64 {
	if f.State != store.StateUploaded {
		return f.Length
	}
	return f.Size
}

// chunkRange gives a request for a chunk of an encrypted file the range in which
// that is stored. Clients count the beginning in plain bytes and the length in
// stored ones; other ranges are left as they are.
func chunkRange(r *http.Request, c *crypt, f *store.File) *http.Request {
	text, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	first, last, ok2 := strings.Cut(text, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	if !ok || !ok2 || err != nil || err2 != nil {
		return r
	}
	at, n, ok := c.chunk(from, plainSize(f))
	if !ok || to-from+1 < n+overhead { // not a whole chunk: somebody who counts otherwise
		return r
	}
	r = r.Clone(r.Context())
	r.Header.Set("Range", "bytes="+strconv.FormatInt(at, 10)+"-"+strconv.FormatInt(at+n+overhead-1, 10))
	return r
}
