package opentera

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fileshare/store"
)

func TestSafeName(t *testing.T) {
	for name, want := range map[string]string{
		"data.zip":                 "data.zip",
		"my data  set.zip":         "my_data_set.zip",
		"../../etc/passwd":         "passwd",
		`C:\Users\me\mesure 1.csv`: "mesure_1.csv",
		"été à Sherbrooke.txt":     "ete_a_Sherbrooke.txt",
		"日本.txt":                   "txt",
		"日本":                       nameless,
		"":                         nameless,
		"...":                      nameless,
		".htaccess":                "htaccess",
		"a;b&c'd\"e\r\nf.txt":      "abcde_f.txt",
		"_x_":                      "x",
	} {
		if got := safeName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestDates(t *testing.T) {
	want := time.Date(2025, 1, 21, 10, 54, 7, 0, time.UTC)
	for _, s := range []string{
		"2025-01-21T10:54:07", "2025-01-21 10:54:07", "2025-01-21T10:54:07Z", "2025-01-21T10:54:07+00:00", " 2025-01-21T05:54:07-05:00 ",
		"2025-01-21T10:54:07+0000", "2025-01-21T10:54:07.000000", "2025-01-21T10:54:07.000000+00:00", "2025-01-21T10:54:07.000Z",
	} {
		if got, ok := parseDate(s); !ok || !got.Equal(want) {
			t.Errorf("%q: %v, %v", s, got, ok)
		}
	}
	for s, want := range map[string]time.Time{
		"2025-01-21":             time.Date(2025, 1, 21, 0, 0, 0, 0, time.UTC),
		"2025-01-21T10:54":       time.Date(2025, 1, 21, 10, 54, 0, 0, time.UTC),
		"2025-01-21T10:54+01:00": time.Date(2025, 1, 21, 9, 54, 0, 0, time.UTC),
	} {
		if got, ok := parseDate(s); !ok || !got.Equal(want) {
			t.Errorf("%q: %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "now", "21.01.2025", "1737456847", "2025-13-01", "0000-01-01 0:00:00+0001", strings.Repeat("2025-01-21 ", 10)} {
		if got, ok := parseDate(s); ok {
			t.Errorf("%q is %v", s, got)
		}
	}
	if got := formatDate(want.In(time.FixedZone("", 3600))); got != "2025-01-21T10:54:07+00:00" {
		t.Error(got)
	}
}

func TestParseAsset(t *testing.T) {
	plain := newAsset{session: 1, name: "Asset Name"}
	unknown := newAsset{name: "n"}
	for text, want := range map[string]newAsset{
		`{"id_session": 1, "asset_name": "Asset Name"}`:                                     plain,
		`{"id_session": "1", "asset_name": "Asset Name"}`:                                   plain, // as in the documentation's Python
		`{"file_asset": {"asset_name": "Asset Name", "id_session": 1}}`:                     plain, // as in the documentation's JSON
		`{"id_session":1,"asset_name":"Asset Name","id_user":7,"asset_type":null,"x":[{}]}`: plain,
		`{"id_session":"Session number","asset_name":"n"}`:                                  unknown,
		`{"id_session":-1,"asset_name":"n"}`:                                                unknown,
		`{"id_session":1.5,"asset_name":"n"}`:                                               unknown,
		`{"id_session":99999999999999999999,"asset_name":"n"}`:                              unknown,
		`{"id_session":1,"asset_name":"n","asset_type":"application/zip","asset_datetime":"2025-01-21T10:54:07","asset_expiration_datetime":"2025-01-22T00:00:00"}`: {
			session: 1, name: "n", typ: "application/zip", date: "2025-01-21T10:54:07", expires: time.Date(2025, 1, 22, 0, 0, 0, 0, time.UTC)},
	} {
		got, err := parseAsset([]byte(text))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(newAsset{})); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
	for text, want := range map[string]string{
		``: "Invalid JSON", `[]`: "Invalid JSON", `null`: "Invalid JSON", `{`: "Invalid JSON", "{\"a\":\"\xff\"}": "Invalid JSON",
		`{}`: "Missing id_session", `{"file_asset":1}`: "Missing id_session", `{"asset_name":"n"}`: "Missing id_session",
		`{"id_session":1}`: "Missing asset_name", `{"id_session":1,"asset_name":""}`: "Missing asset_name", `{"id_session":1,"asset_name":null}`: "Missing asset_name",
		`{"id_session":1,"asset_name":5}`:                                          "asset_name must be a string",
		`{"id_session":1,"asset_name":"` + strings.Repeat("n", 1025) + `"}`:        "asset_name is too long",
		`{"id_session":1,"asset_name":"n","asset_expiration_datetime":"tomorrow"}`: "asset_expiration_datetime must be a date in ISO 8601",
		`{"id_session":1,"asset_name":"n","asset_datetime":17}`:                    "asset_datetime must be a string",
	} {
		_, err := parseAsset([]byte(text))
		if store.KindOf(err) != store.Invalid || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func testSign(b []byte) []byte {
	m := hmac.New(sha256.New, []byte("key"))
	m.Write(b)
	return m.Sum(nil)
}

func testSigned(statement, signature []byte) bool { return bytes.Equal(testSign(statement), signature) }

func TestAccessToken(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	const file, session = "88e5905d-5d96-4750-ab3d-77a1ed26f569", "1f0e0f0e-5d96-4750-ab3d-77a1ed26f569"
	for _, ref := range []store.Ref{{File: file}, {File: file, Session: session}} {
		a := access{ref: ref, requester: uuid{1, 2, 3}, until: now.Add(accessTTL)}
		token := a.token(testSign)
		got, ok := parseAccess(token, testSigned)
		if !ok || got != a {
			t.Fatalf("%+v, %v, want %+v", got, ok, a)
		}
		if !got.covers(file, a.requester, now) || !got.covers(strings.ToUpper(file), a.requester, a.until.Add(-time.Second)) {
			t.Error("does not cover what it is for")
		}
		if got.covers(session, a.requester, now) || got.covers(file, uuid{1}, now) || got.covers(file, a.requester, a.until) {
			t.Error("covers something else")
		}
		for i := range token {
			forged := []byte(token)
			forged[i] ^= 1
			if _, ok := parseAccess(string(forged), testSigned); ok {
				t.Errorf("forged at %d", i)
			}
		}
	}
	for _, bad := range []string{"", "nonsense", strings.Repeat("A", 119), strings.Repeat("A", 120)} {
		if _, ok := parseAccess(bad, testSigned); ok {
			t.Errorf("%q is one", bad)
		}
	}
}

func FuzzAsset(f *testing.F) {
	f.Add([]byte(`{"id_session": "1", "asset_name": "Asset Name", "asset_datetime": "2025-01-21T10:54:07"}`))
	f.Add([]byte(`{"file_asset": {"asset_name": "Asset Name", "id_session": 1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseAsset(data)
		if err != nil {
			if store.KindOf(err) != store.Invalid {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		if a.session < 0 || a.name == "" || len(a.name) > mostText || len(a.typ) > mostText || len(a.date) > mostDate {
			t.Errorf("%q: %+v", data, a)
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add("été à Sherbrooke.txt")
	f.Add(`..\..\x`)
	f.Fuzz(func(t *testing.T, name string) {
		got := safeName(name)
		if got == "" || strings.Trim(got, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" || got[0] == '.' {
			t.Errorf("%q: %q", name, got)
		}
		if again := safeName(got); again != got {
			t.Errorf("%q: %q, then %q", name, got, again)
		}
		if typeOfName(got) == "" {
			t.Errorf("%q has no type", got)
		}
	})
}

func FuzzDates(f *testing.F) {
	f.Add("2025-01-21T10:54:07.000000+00:00")
	f.Add("2025-01-21")
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseDate(s)
		if !ok {
			return
		}
		if again, ok := parseDate(formatDate(got)); !ok || !again.Equal(got.Truncate(time.Second)) {
			t.Errorf("%q: %v, then %v, %v", s, got, again, ok)
		}
	})
}

func FuzzAccess(f *testing.F) {
	f.Add(access{ref: store.Ref{File: "88e5905d-5d96-4750-ab3d-77a1ed26f569"}, until: time.Unix(1, 0)}.token(testSign))
	f.Fuzz(func(t *testing.T, token string) {
		a, ok := parseAccess(token, func(_, _ []byte) bool { return true })
		if !ok {
			return
		}
		if a.ref.File == "" || !bytes.Equal(a.statement()[:1], []byte{accessVersion}) {
			t.Errorf("%q: %+v", token, a)
		}
	})
}

func TestBodyToken(t *testing.T) {
	const field = "--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nsecret\r\n"
	file := func(size int) string {
		return "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n" + strings.Repeat("x", size) + "\r\n"
	}
	const form, end = "multipart/form-data; boundary=b", "--b--\r\n"
	for _, c := range []struct{ kind, body, want string }{
		{"application/json", `{"token": "secret", "assets": []}`, "secret"},
		{"application/json; charset=utf-8", `{"token": "secret"}`, "secret"},
		{"application/json", `{"token": 5}`, ""},
		{"application/json", `{"token": "secret"`, ""},
		{"application/json", `{"token": "secret", "x": "` + strings.Repeat("x", mostAhead) + `"}`, ""},
		{"application/json", "", ""},
		{"text/plain", `{"token": "secret"}`, ""},
		{form, field + file(1<<20) + end, "secret"},
		{form, file(10) + field + end, "secret"},
		{form, file(1<<20) + field + end, ""},
		{form, strings.Replace(field, `"token"`, `"token"; filename="f"`, 1) + end, ""},
		{form, strings.Replace(field, "secret", strings.Repeat("x", mostText+1), 1) + end, ""},
		{"multipart/form-data", field + end, ""},
		{"", field, ""},
	} {
		r := httptest.NewRequest(http.MethodPost, "/api/assets", iotest.OneByteReader(strings.NewReader(c.body)))
		r.Header.Set("Content-Type", c.kind)
		if got := bodyToken(r); got != c.want {
			t.Errorf("%s, %.60q: %q, want %q", c.kind, c.body, got, c.want)
		}
		if rest, err := io.ReadAll(r.Body); err != nil || string(rest) != c.body {
			t.Errorf("%s, %.60q: %d bytes are left of %d, %v", c.kind, c.body, len(rest), len(c.body), err)
		}
	}
}
