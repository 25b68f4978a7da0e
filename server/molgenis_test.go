package server

import (
	"encoding/base32"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"fileshare/api"
	"fileshare/store"
)

// molgenisID is an id of ours in the spelling of MOLGENIS.
func molgenisID(t *testing.T, id string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

type molgenisMeta struct {
	ID          string `json:"id"`
	FileName    string `json:"filename"`
	ContentType string `json:"contentType"`
	Size        int64  `json:"size"`
}

// TestMolgenisNames sends names the way browsers and terminals do.
func TestMolgenisNames(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Molgenis: true})
	for sent, want := range map[string][2]string{
		"caf\xe9.txt":            {"café.txt", `attachment; filename="caf_.txt"; filename*=UTF-8''caf%C3%A9.txt`},
		"café.txt":               {"café.txt", `attachment; filename="caf_.txt"; filename*=UTF-8''caf%C3%A9.txt`},
		`C:\fakepath\a "b".txt`:  {`C:\fakepath\a "b".txt`, `attachment; filename="a _b_.txt"; filename*=UTF-8''a%20%22b%22.txt`},
		"../../etc/passwd":       {"../../etc/passwd", `attachment; filename="passwd"`},
		strings.Repeat("x", 300): {strings.Repeat("x", 300), `attachment; filename="` + strings.Repeat("x", 255) + `"`},
	} {
		var m molgenisMeta
		h.do("POST", "/api/files", "alice", strings.NewReader("x"), "X-Molgenis-Filename", sent, "Content-Type", "").want(t, 201).into(t, &m)
		if m.FileName != want[0] || m.ContentType != "application/octet-stream" {
			t.Errorf("%q: %+v", sent, m)
		}
		if got := h.do("GET", "/api/files/"+m.ID+"?alt=media", "alice", nil).want(t, 200).Header.Get("Content-Disposition"); got != want[1] {
			t.Errorf("%q: %s, want %s", sent, got, want[1])
		}
	}
}

// TestMolgenisOthers looks at files of the other APIs through this one, and the
// other way round.
func TestMolgenisOthers(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{Molgenis: true})
	get := func(id string) answer { return h.do("GET", "/api/files/"+molgenisID(t, id), "alice", nil) }
	var m molgenisMeta
	var f api.File

	up := h.upload("hello", "")
	get(up.ID).want(t, 200).into(t, &m)
	if m.FileName != "test.txt" || m.ContentType != "text/plain" || m.Size != 5 {
		t.Errorf("%+v", m)
	}
	h.do("PATCH", "/uploads/"+up.ID, "alice", strings.NewReader(`{"name":"other.txt"}`), "Content-Type", "application/json").want(t, 200)
	get(up.ID).want(t, 200).into(t, &m)
	if m.FileName != "other.txt" {
		t.Errorf("renamed: %+v", m)
	}

	// A file in a session: unknown as long as it has no content.
	var s api.Session
	h.do("POST", "/sessions", "alice", nil).want(t, 201).into(t, &s)
	h.do("POST", "/sessions/"+s.ID+"/files", "alice", nil).want(t, 201).into(t, &f)
	get(f.ID).want(t, 404)
	h.do("PUT", "/sessions/"+s.ID+"/files/"+f.ID, "alice", strings.NewReader("in a session"), "Content-Type", "text/plain").want(t, 200)
	get(f.ID).want(t, 200)
	if got := h.do("GET", "/api/files/"+molgenisID(t, f.ID)+"?alt=media", "alice", nil).want(t, 200); string(got.body) != "in a session" {
		t.Errorf("%s", got.body)
	}

	// What is used up or expired is unknown.
	used := h.upload("once", "?max_downloads=1")
	h.do("GET", "/uploads/"+used.ID, "", nil).want(t, 200)
	eventually(t, "used up", func() bool {
		return get(used.ID).StatusCode == 404 || h.do("GET", "/uploads/"+used.ID, "", nil).StatusCode == 410
	})
	h.do("GET", "/api/files/"+molgenisID(t, used.ID)+"?alt=media", "alice", nil).want(t, 404)
	short := h.upload("short", "?ttl=1")
	time.Sleep(time.Until(short.ExpiresAt.Time) + 5*time.Millisecond)
	get(short.ID).want(t, 404)
	h.do("DELETE", "/api/files/"+molgenisID(t, short.ID), "alice", nil).want(t, 404)

	// And back: stored here, seen and removed there.
	h.do("POST", "/api/files", "alice", strings.NewReader("x"), "Content-Type", "text/csv;charset=UTF-8", "X-Molgenis-Filename", "a/b.csv").want(t, 201).into(t, &m)
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(m.ID))
	if err != nil {
		t.Fatal(err)
	}
	id := hex.EncodeToString(b)
	id = id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
	h.do("GET", "/uploads/"+id+"/info", "alice", nil).want(t, 200).into(t, &f)
	if f.Name != "b.csv" || f.OriginalName != "a/b.csv" || f.MimeType != "text/csv; charset=UTF-8" || f.Owner != "alice" || f.TTL != 3600 {
		t.Errorf("%+v", f)
	}
	h.do("DELETE", "/uploads/"+id, "alice", nil).want(t, 204)
	h.do("GET", "/api/files/"+m.ID, "alice", nil).want(t, 404)
}

// TestMolgenisQuiet makes sure that what is refused is not stored, and that no
// token is written to the log.
func TestMolgenisQuiet(t *testing.T) {
	h := newHouse(t, store.Options{FileSize: 100}, Options{Molgenis: true})
	var l struct{ Token string }
	h.do("POST", "/api/v1/login", "", strings.NewReader(`{"username":"alice","password":"pw"}`)).want(t, 200).into(t, &l)
	for _, tt := range []struct {
		status int
		body   string
		kv     []string
	}{
		{413, strings.Repeat("x", 101), []string{"Content-Type", "text/plain"}},
		{415, "x", []string{"Content-Type", "Multipart/Form-Data; boundary=x"}},
		{400, "x", []string{"Content-Type", "text/plain", "X-Fileshare-TTL", "0"}},
		{422, "x", []string{"Content-Type", "text/plain", "Repr-Digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"}},
	} {
		a := h.do("POST", "/api/files?molgenis-token="+l.Token, "", strings.NewReader(tt.body), tt.kv...).want(t, tt.status)
		var p struct{ Detail string }
		if a.into(t, &p); p.Detail == "" {
			t.Errorf("no detail: %s", a.body)
		}
	}
	var list api.List[api.File]
	if h.do("GET", "/uploads", "alice", nil).want(t, 200).into(t, &list); len(list.Items) != 0 {
		t.Errorf("stored: %+v", list.Items)
	}
	if strings.Contains(h.log.String(), l.Token) || !strings.Contains(h.log.String(), "user=alice") {
		t.Errorf("a token in the log, or no user:\n%s", h.log)
	}
}
