package extrahorizon_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fileshare/server"
	"fileshare/store"
	"fileshare/store/bolt"
	"fileshare/store/dir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "correct horse"

// house is a daemon but for its command line, with the accounts alice (who may
// list files), bob and the administrator root.
type house struct {
	t     *testing.T
	store *store.Store
	url   string
	log   *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func users() []server.User {
	return []server.User{
		{Name: "alice", Password: password, Email: "alice@example.com", Permissions: []string{"VIEW_FILES"}, APIKey: "the key of alice"},
		{Name: "bob", Password: password},
		{Name: "root", Password: password, Admin: true},
	}
}

func newHouse(t *testing.T, so store.Options, o server.ExtraHorizon, accounts ...server.User) *house {
	t.Helper()
	path := t.TempDir()
	records, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := dir.Open(filepath.Join(path, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	so.Exclusive = true
	h := &house{t: t, log: new(lockedBuffer)}
	if h.store, err = store.New(t.Context(), records, blobs, so); err != nil {
		t.Fatal(err)
	}
	if accounts == nil {
		accounts = users()
	}
	known, err := server.NewAccounts(server.AccountsOptions{Users: accounts, Failures: 3})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(server.New(h.store, server.Options{Auth: known, ExtraHorizon: &o, Prefixes: []string{"/rtc/fileshare"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Log: slog.New(slog.NewTextHandler(h.log, nil))}))
	h.url = srv.URL
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		srv.Close()
		for _, end := range []func() error{h.store.Close, blobs.Close, records.Close} {
			if err := end(); err != nil {
				t.Error(err)
			}
		}
	})
	return h
}

// answer is what came back.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

func (h *house) do(method, path, body string, header ...string) answer {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{h.t, resp.StatusCode, resp.Header, b}
}

// want checks the status and, where it is not 0, the code.
func (a answer) want(status, code int) answer {
	a.t.Helper()
	var told struct {
		Code  int `json:"code"`
		Inner struct {
			Code int `json:"code"`
		} `json:"exh_error"`
	}
	_ = json.Unmarshal(a.body, &told)
	if a.status != status || told.Code+told.Inner.Code != code {
		a.t.Errorf("answered %d %s, want %d and code %d", a.status, a.body, status, code)
	}
	return a
}

func (a answer) text(name string) string {
	a.t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}
	s, _ := v[name].(string)
	return s
}

func (h *house) login(name string) string {
	h.t.Helper()
	body := fmt.Sprintf(`{"client_id":"app","grant_type":"password","username":%q,"password":%q}`, name, password)
	return h.do("POST", "/auth/v2/oauth2/tokens", body).want(200, 0).text("access_token")
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// upload uploads a file and returns its token.
func (h *house) upload(name string, header ...string) string {
	h.t.Helper()
	a := h.tryUpload(name, "x", header...).want(200, 0)
	var f struct {
		Tokens []struct{ Token string }
	}
	if err := json.Unmarshal(a.body, &f); err != nil || len(f.Tokens) != 1 {
		h.t.Fatalf("%v: %s", err, a.body)
	}
	return f.Tokens[0].Token
}

func (h *house) tryUpload(name, content string, header ...string) answer {
	h.t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, _ := w.CreateFormFile("file", name)
	_, _ = io.WriteString(part, content)
	_ = w.Close()
	return h.do("POST", "/files/v1/", form.String(), append([]string{"Content-Type", w.FormDataContentType()}, header...)...)
}

// TestExpired: a login that is over is told from one that never was, and the
// SDK goes on with a new one.
func TestExpired(t *testing.T) {
	h := newHouse(t, store.Options{}, server.ExtraHorizon{})
	login, err := h.store.Login(t.Context(), store.LoginSpec{Realm: "extrahorizon", Account: "alice", TTL: time.Millisecond, Refresh: time.Hour, Grace: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond)
	h.do("GET", "/users/v1/me", "", bearer(login.Token)...).want(401, 118)
	h.tryUpload("x", "x", bearer(login.Token)...).want(401, 118)
	h.do("GET", "/users/v1/me", "", bearer(login.RefreshToken)...).want(401, 117)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_, port, _ := strings.Cut(strings.TrimPrefix(h.url, "http://"), ":")
	cmd := exec.CommandContext(ctx, "node", "../../testdata/js/extrahorizon.mjs", "http://localhost:"+port, "expired")
	cmd.Env = append(os.Environ(), "EXPIRED="+login.Token, "ITS_REFRESH="+login.RefreshToken)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	again, err := h.store.Login(t.Context(), store.LoginSpec{Realm: "extrahorizon", Account: "alice", TTL: time.Hour, Refresh: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond)
	h.do("POST", "/auth/v2/oauth2/tokens", `{"client_id":"app","grant_type":"refresh_token","refresh_token":"`+again.RefreshToken+`"}`).want(400, 120)
}

// TestRemovedAccount: the login of an account that is no more is none, nor is
// one that another API has issued.
func TestRemovedAccount(t *testing.T) {
	h := newHouse(t, store.Options{}, server.ExtraHorizon{})
	for _, spec := range []store.LoginSpec{{Realm: "extrahorizon", Account: "carol"}, {Realm: "other", Account: "alice"}} {
		spec.TTL, spec.Refresh = time.Hour, time.Hour
		login, err := h.store.Login(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		h.do("GET", "/users/v1/me", "", bearer(login.Token)...).want(401, 117)
		h.do("POST", "/auth/v2/oauth2/tokens", `{"client_id":"app","grant_type":"refresh_token","refresh_token":"`+login.RefreshToken+`"}`).want(400, 119)
	}
	h.do("GET", "/users/v1/me", "", bearer("the key of alice")...).want(200, 0)
	h.do("GET", "/users/v1/me", "", bearer("the key of bob")...).want(401, 117)
}

// TestThrottled: guessing is ended, and said so as the SDK understands it.
func TestThrottled(t *testing.T) {
	h := newHouse(t, store.Options{}, server.ExtraHorizon{Clients: []server.ExtraHorizonClient{{ID: "app", ConsumerKey: "k", ConsumerSecret: "s"}}})
	guess := func() answer {
		return h.do("POST", "/auth/v2/oauth2/tokens", `{"client_id":"app","grant_type":"password","username":"bob","password":"guess"}`)
	}
	for range 3 {
		guess().want(400, 106)
	}
	a := guess().want(400, 213)
	if a.text("error") != "invalid_grant" || a.header.Get("Retry-After") == "" {
		t.Errorf("%v %s", a.header, a.body)
	}
	a = h.do("POST", "/auth/v2/oauth1/tokens", `{"email":"bob","password":"guess"}`, "Authorization", sign("POST", h.url+"/auth/v2/oauth1/tokens", "", "k", "s", "", "", time.Now(), "n")).want(401, 213)
	if a.header.Get("Retry-After") == "" {
		t.Errorf("%v", a.header)
	}
	h.login("alice@example.com") // others are not kept out
}

// TestBounds: a question that would look at too many files is refused, one
// that an index serves is not.
func TestBounds(t *testing.T) {
	h := newHouse(t, store.Options{}, server.ExtraHorizon{Looks: 10})
	token := h.login("alice")
	var created string
	for i := range 12 {
		a := h.do("PUT", "/uploads/f"+strconv.Itoa(i)+"?tags=t"+strconv.Itoa(i%4), "x", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("alice:"+password)))
		if a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		created = a.text("created_at")
		time.Sleep(2 * time.Millisecond)
	}
	find := func(query string) answer { return h.do("GET", "/files/v1/?"+query, "", bearer(token)...) }
	find("").want(400, 19)
	find("eq(name,f1)").want(400, 19)
	find("eq(tags,t1)").want(200, 0)
	find("eq(tags,t1)&eq(tokens.accessLevel,full)").want(400, 19) // three looks at tokens
	find("eq(creationTimestamp,"+created+")&eq(tokens.accessLevel,full)").want(200, 0)
	find("ge(creationTimestamp,"+url.PathEscape(created)+")").want(200, 0)
	find("eq(creatorId,nobody)").want(200, 0)
	root := h.login("root")
	h.do("GET", "/files/v1/?eq(creatorId,nobody)", "", bearer(root)...).want(400, 19)
	h.do("GET", "/files/v1/?ge(creationTimestamp,"+created+")", "", bearer(root)...).want(200, 0)
}

// TestPrivate: where links need an account a login that is good is one.
func TestPrivate(t *testing.T) {
	h := newHouse(t, store.Options{PrivateDownloads: true, UserQuota: 2}, server.ExtraHorizon{})
	login := bearer(h.login("bob"))
	token := h.upload("x.txt", login...)
	h.do("GET", "/files/v1/"+token+"/file", "").want(401, 104)
	h.do("GET", "/files/v1/"+token+"/file", "", bearer("stale")...).want(401, 104)
	h.do("GET", "/files/v1/"+token+"/file", "", login...).want(200, 0)
	h.do("GET", "/files/v1/"+token+"/details", "").want(200, 0)
	h.upload("y.txt", login...)
	h.tryUpload("z.txt", "more than the quota", login...).want(400, 2610)
}

// TestUnknownParts: what a form has besides is passed over, whatever its size.
func TestUnknownParts(t *testing.T) {
	h := newHouse(t, store.Options{}, server.ExtraHorizon{})
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	other, _ := w.CreateFormFile("thumbnail", "t.png")
	_, _ = other.Write(make([]byte, 1<<20))
	file, _ := w.CreateFormFile("file", "x.txt")
	_, _ = io.WriteString(file, "x")
	_ = w.WriteField("comment", strings.Repeat("long ", 50_000))
	_ = w.WriteField("tags[]", "last")
	_ = w.Close()
	a := h.do("POST", "/files/v1/", form.String(), append(bearer(h.login("bob")), "Content-Type", w.FormDataContentType())...).want(200, 0)
	if !bytes.Contains(a.body, []byte(`"size":1,"tags":["last"]`)) {
		t.Errorf("%s", a.body)
	}
}

// TestAnonymous: with anonymous uploads nobody is the creator.
func TestAnonymous(t *testing.T) {
	h := newHouse(t, store.Options{AnonymousUploads: true}, server.ExtraHorizon{})
	token := h.upload("x.txt")
	if a := h.do("GET", "/files/v1/"+token+"/details", "").want(200, 0); bytes.Contains(a.body, []byte("creatorId")) {
		t.Errorf("%s", a.body)
	}
	h.do("DELETE", "/files/v1/"+token, "").want(200, 0)
	a := h.do("GET", "/files/v1/", "", bearer(h.login("alice"))...).want(200, 0)
	if !bytes.Contains(a.body, []byte(`"total":0`)) {
		t.Errorf("%s", a.body)
	}
}

// sign is an implementation of RFC 5849 of the test's own.
func sign(method, base, query, key, secret, token, tokenSecret string, at time.Time, nonce string) string {
	esc := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	params := []string{"oauth_consumer_key=" + esc(key), "oauth_nonce=" + esc(nonce), "oauth_signature_method=HMAC-SHA1",
		"oauth_timestamp=" + strconv.FormatInt(at.Unix(), 10), "oauth_version=1.0"}
	if token != "" {
		params = append(params, "oauth_token="+esc(token))
	}
	header := slices.Clone(params)
	if query != "" {
		for item := range strings.SplitSeq(query, "&") {
			name, _ := url.QueryUnescape(item)
			params = append(params, esc(name)+"=")
		}
	}
	slices.Sort(params)
	m := hmac.New(sha1.New, []byte(esc(secret)+"&"+esc(tokenSecret)))
	_, _ = io.WriteString(m, method+"&"+esc(base)+"&"+esc(strings.Join(params, "&")))
	header = append(header, "oauth_signature="+esc(base64.StdEncoding.EncodeToString(m.Sum(nil))))
	for i, p := range header {
		name, value, _ := strings.Cut(p, "=")
		header[i] = name + `="` + value + `"`
	}
	return "OAuth " + strings.Join(header, ", ")
}

// TestOAuth1: what is signed, as seen from before and behind proxies, once.
func TestOAuth1(t *testing.T) {
	h := newHouse(t, store.Options{}, server.ExtraHorizon{Clients: []server.ExtraHorizonClient{
		{ConsumerKey: "k", ConsumerSecret: "s"}, {ConsumerKey: "k2", ConsumerSecret: "s2"}, {ID: "app"}}})
	const login = "/auth/v2/oauth1/tokens"
	now := time.Now()
	a := h.do("POST", login, `{"email":"alice@example.com","password":"`+password+`"}`, "Authorization", sign("POST", h.url+login, "", "k", "s", "", "", now, "1")).want(200, 0)
	token, secret := a.text("token"), a.text("tokenSecret")
	h.do("POST", login, `{"email":"alice","password":"x"}`, "Authorization", sign("POST", h.url+login, "", "k", "s", "", "", now, "2")).want(401, 106)
	h.do("POST", login, `{"email":"alice"}`, "Authorization", sign("POST", h.url+login, "", "k", "s", "", "", now, "3")).want(400, 14)
	h.do("POST", login, `[]`, "Authorization", sign("POST", h.url+login, "", "k", "s", "", "", now, "4")).want(400, 22)
	h.do("POST", login, `{}`).want(401, 109)
	h.do("POST", login, `{}`, "Authorization", "OAuth x").want(401, 109)

	const query = "eq(tags,a%2520b)&sort(+name)&limit(50)"
	for name, c := range map[string]struct {
		base, path string
		header     []string
	}{
		"directly":         {h.url + "/files/v1/", "/files/v1/", nil},
		"below the prefix": {h.url + "/rtc/fileshare/files/v1/", "/rtc/fileshare/files/v1/", nil},
		"TLS before us":    {"https://files.example.com/files/v1/", "/files/v1/", []string{"Host", "files.example.com"}},
		"another host":     {"https://api.example.com/files/v1/", "/files/v1/", []string{"X-Forwarded-Host", "api.example.com", "X-Forwarded-Proto", "https"}},
	} {
		good := sign("GET", c.base, query, "k", "s", token, secret, now, name)
		header := append(c.header, "Authorization", good)
		if a := h.do("GET", c.path+"?"+query, "", header...); a.status != 200 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		h.do("GET", c.path+"?"+query, "", header...).want(401, 110)
	}
	for name, c := range map[string]struct {
		header string
		code   int
	}{
		"another query":     {sign("GET", h.url+"/files/v1/", "limit(1)", "k", "s", token, secret, now, "q"), 109},
		"another secret":    {sign("GET", h.url+"/files/v1/", query, "k", "s", token, "x", now, "q"), 109},
		"another client":    {sign("GET", h.url+"/files/v1/", query, "k2", "s2", token, secret, now, "q"), 108},
		"unknown client":    {sign("GET", h.url+"/files/v1/", query, "k3", "s", token, secret, now, "q"), 107},
		"no token":          {sign("GET", h.url+"/files/v1/", query, "k", "s", "", "", now, "q"), 108},
		"an access token":   {sign("GET", h.url+"/files/v1/", query, "k", "s", h.login("alice"), secret, now, "q"), 108},
		"too old":           {sign("GET", h.url+"/files/v1/", query, "k", "s", token, secret, now.Add(-time.Hour), "q"), 110},
		"from the future":   {sign("GET", h.url+"/files/v1/", query, "k", "s", token, secret, now.Add(time.Hour), "q"), 110},
		"a token as Bearer": {"Bearer " + token, 117},
	} {
		if a := h.do("GET", "/files/v1/?"+query, "", "Authorization", c.header); a.status != 401 || !bytes.Contains(a.body, fmt.Appendf(nil, `"code":%d,`, c.code)) {
			t.Errorf("%s: %d %s, want code %d", name, a.status, a.body, c.code)
		}
	}
	for _, secret := range []string{token, secret} {
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the log has a secret:\n%s", h.log)
		}
	}
}

// TestRefreshOfAnotherClient: a refresh token is of use only to its client.
func TestRefreshOfAnotherClient(t *testing.T) {
	h := newHouse(t, store.Options{}, server.ExtraHorizon{Clients: []server.ExtraHorizonClient{{ID: "app"}, {ID: "other"}}})
	body := fmt.Sprintf(`{"client_id":"app","grant_type":"password","username":"alice","password":%q}`, password)
	token := h.do("POST", "/auth/v2/oauth2/tokens", body).want(200, 0).text("refresh_token")
	h.do("POST", "/auth/v2/oauth2/tokens", `{"client_id":"other","grant_type":"refresh_token","refresh_token":"`+token+`"}`).want(400, 119)
	a := h.do("POST", "/auth/v2/oauth2/tokens", `{"client_id":"app","grant_type":"refresh_token","refresh_token":"`+token+`"}`).want(200, 0)
	h.do("GET", "/users/v1/me", "", bearer(a.text("access_token"))...).want(200, 0)
}

// TestChallenge: a code that was asked for with a challenge needs its proof
// (RFC 7636, appendix B).
func TestChallenge(t *testing.T) {
	h := newHouse(t, store.Options{}, server.ExtraHorizon{})
	login := bearer(h.login("alice"))
	code := func(more string) string {
		return h.do("POST", "/auth/v2/oauth2/authorizations", `{"responseType":"code","clientId":"app"`+more+`}`, login...).want(200, 0).text("authorizationCode")
	}
	redeem := func(code, verifier string) answer {
		return h.do("POST", "/auth/v2/oauth2/tokens", `{"client_id":"app","grant_type":"authorization_code","code":"`+code+`"`+verifier+`}`)
	}
	const challenge, proof = `,"codeChallenge":"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM","codeChallengeMethod":"S256"`, `,"code_verifier":"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"`
	redeem(code(challenge), proof).want(200, 0)
	redeem(code(challenge), "").want(400, 115)
	redeem(code(challenge), `,"code_verifier":"x"`).want(400, 115)
	redeem(code(`,"codeChallenge":"plain"`), `,"code_verifier":"plain"`).want(200, 0)
	redeem(code(""), "").want(200, 0)
	for body, want := range map[string]int{``: 13, `{}`: 14, `{"responseType":"code"}`: 14, `{"responseType":7,"clientId":"app"}`: 15,
		`{"responseType":"code","clientId":"app","codeChallengeMethod":"S256"}`: 15, `{"responseType":"code","clientId":"app","codeChallenge":"x","codeChallengeMethod":"MD5"}`: 15} {
		h.do("POST", "/auth/v2/oauth2/authorizations", body, login...).want(400, want)
	}
	h.do("POST", "/auth/v2/oauth2/authorizations", `{"responseType":"code","clientId":"app"}`).want(401, 104)
}

// TestLog: no token of a file and no login is in the log.
func TestLog(t *testing.T) {
	h := newHouse(t, store.Options{}, server.ExtraHorizon{})
	access := h.login("alice")
	token := h.upload("x.txt", bearer(access)...)
	for _, path := range []string{"", "/file", "/details", "/tokens", "/tokens/" + token} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			if method != "DELETE" || path != "" {
				h.do(method, "/files/v1/"+token+path, "")
			}
		}
	}
	h.do("DELETE", "/files/v1/"+token, "").want(200, 0)
	log := h.log.String()
	if !strings.Contains(log, "/files/v1/"+token[:8]+"…/details") {
		t.Errorf("the log does not say what was asked:\n%s", log)
	}
	if found := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-|[0-9a-f]{24}`).FindString(log); found != "" || strings.Contains(log, password) {
		t.Errorf("the log has a secret (%s):\n%s", found, log)
	}
}
