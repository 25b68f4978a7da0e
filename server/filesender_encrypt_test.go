package server

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// fsCipher encrypts and decrypts as the official clients do, key version 3.
type fsCipher struct {
	aead  cipher.AEAD
	iv    []byte // 12 bytes
	extra string
}

func newFSCipher(t *testing.T, password, salt string, iv []byte, extra string) fsCipher {
	t.Helper()
	key, err := pbkdf2.Key(sha256.New, password, []byte(salt), 150_000, 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithNonceSize(block, 16)
	if err != nil {
		t.Fatal(err)
	}
	return fsCipher{aead, iv, extra}
}

func (c fsCipher) seal(n int, chunk []byte) []byte {
	iv := binary.LittleEndian.AppendUint32(bytes.Clone(c.iv), uint32(n))
	return c.aead.Seal(bytes.Clone(iv), iv, chunk, []byte(c.extra))
}

func (c fsCipher) open(t *testing.T, sealed []byte) []byte {
	t.Helper()
	plain, err := c.aead.Open(nil, sealed[:16], sealed[16:], []byte(c.extra))
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// An encrypted transfer, up and down as the official clients do it.
func TestFileSenderEncrypted(t *testing.T) {
	h := fsHouse(t)
	config := string(h.do("GET", "/filesender-config.js.php", "", nil).want(t, 200).body)
	for _, line := range []string{"crypto_iv_len: '16'", "crypto_crypt_name: 'AES-GCM'", "crypto_hash_name: 'SHA-256'", "encryption_password_hash_iterations_new_files: '150000'",
		"encryption_password_must_have_numbers: false", "encryption_encode_encrypted_chunks_in_base64_during_upload: false"} {
		if !strings.Contains(config, line) {
			t.Errorf("no %s", line)
		}
	}
	content := noise(250) // three chunks
	iv := noise(12)
	extra := `{"aeadversion":1,"chunkcount":3,"chunksize":100,"iv":"x","aeadterminator":1}`
	ask := map[string]any{"recipients": []string{"bob@example.net"}, "encryption": true, "encryption_key_version": "3", "encryption_password_encoding": "none",
		"encryption_password_version": "1", "encryption_password_hash_iterations": 150000,
		"files": []map[string]any{{"name": "secret.bin", "size": len(content), "iv": base64.StdEncoding.EncodeToString(iv), "aead": base64.StdEncoding.EncodeToString([]byte(extra))}}}
	var tr fsTransfer
	var salt struct{ Salt string }
	a := h.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, ask).want(t, 201)
	a.into(t, &tr)
	a.into(t, &salt)
	f := tr.Files[0]
	if f.Size != int64(len(content)) || len(salt.Salt) != 32 {
		t.Fatalf("%+v, %q", f, salt.Salt)
	}
	c := newFSCipher(t, "correct horse", salt.Salt, iv, extra)
	put := func(offset int, chunk []byte, status int) {
		t.Helper()
		h.fs(signNew, "PUT", fmt.Sprintf("/rest.php/file/%d/chunk/%d", f.ID, offset), "alice", map[string]string{"key": f.UID}, chunk).want(t, status)
	}
	put(0, content[:100], 400)                 // not encrypted
	put(50, c.seal(0, content[:100]), 400)     // no chunk begins there
	put(200, c.seal(2, content[:100]), 400)    // the last one is shorter
	put(300, c.seal(3, content[:50]), 400)     // behind the end
	put(100, c.seal(1, content[100:201]), 400) // longer than a chunk
	for n, from := range map[int]int{2: 200, 0: 0, 1: 100} {
		for range 2 { // clients repeat what they are not sure of
			put(from, c.seal(n, content[from:min(from+100, len(content))]), 200)
		}
	}
	h.fs(signNew, "PUT", "/rest.php/file/"+fsID(f.ID), "alice", map[string]string{"key": f.UID}, map[string]any{"complete": true}).want(t, 200)
	h.fs(signNew, "PUT", "/rest.php/transfer/"+fsID(tr.ID), "alice", nil, map[string]any{"complete": true}).want(t, 200).into(t, &tr)

	token := tr.Recipients[0].Token
	var more []struct {
		Size          int64
		Encrypted     bool
		EncryptedSize int64  `json:"encrypted_size"`
		Key           int    `json:"key-version"`
		Salt          string `json:"key-salt"`
		Iterations    int    `json:"password-hash-iterations"`
		IV            string `json:"fileiv"`
		AEAD          string `json:"fileaead"`
	}
	h.do("GET", "/rest.php/transfer/fileidsextended?token="+token, "", nil).want(t, 200).into(t, &more)
	if m := more[0]; m.Size != 250 || !m.Encrypted || m.EncryptedSize != 250+3*32 || m.Key != 3 || m.Salt != salt.Salt || m.Iterations != 150000 ||
		m.IV != base64.StdEncoding.EncodeToString(iv) || m.AEAD != base64.StdEncoding.EncodeToString([]byte(extra)) {
		t.Errorf("%+v", m)
	}
	row := scrape(t, h.do("GET", "?s=download&token="+token, "", nil).want(t, 200).body)[0]
	if row["data-encrypted"] != "1" || row["data-size"] != "250" || row["data-encrypted-size"] != "346" || row["data-key-version"] != "3" || row["data-fileaead"] != more[0].AEAD {
		t.Errorf("%v", row)
	}
	at := "/download.php?token=" + token + "&files_ids=" + row["data-id"]
	var got []byte
	for n := range 3 { // the beginning in plain bytes, the length in those that are stored
		last := min(n*100+132-1, 250+32-1)
		sealed := h.do("GET", at, "", nil, "Range", fmt.Sprintf("bytes=%d-%d", n*100, last)).want(t, 206).body
		got = append(got, c.open(t, sealed)...)
	}
	if !bytes.Equal(got, content) {
		t.Errorf("decrypted %d bytes that are not the %d sent", len(got), len(content))
	}
	whole := h.do("GET", at, "", nil).want(t, 200)
	if len(whole.body) != 346 || whole.Header.Get("Content-Length") != strconv.Itoa(346) || !bytes.Equal(c.open(t, whole.body[132:264]), content[100:200]) {
		t.Errorf("%d bytes: %v", len(whole.body), whole.Header)
	}
	// Who goes on with the whole counts what is stored.
	if rest := h.do("GET", at, "", nil, "Range", "bytes=100-").want(t, 206); !bytes.Equal(rest.body, whole.body[100:]) {
		t.Errorf("%d bytes", len(rest.body))
	}
}

func TestFileSenderEncryptedRefusals(t *testing.T) {
	h := fsHouse(t)
	for name, bad := range map[string]any{"encryption_key_version": -1, "encryption_password_encoding": "rot13", "encryption_client_entropy": strings.Repeat("x", 1000),
		"encryption_password_hash_iterations": "many", "files": []map[string]any{{"name": "a", "size": 1, "aead": "***"}}} {
		ask := map[string]any{"recipients": []string{"bob@example.net"}, "encryption": true, "files": []map[string]any{{"name": "a", "size": 1}}}
		ask[name] = bad
		if a := h.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, ask).want(t, 400); !strings.Contains(string(a.body), "rest_bad_parameter") {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}
