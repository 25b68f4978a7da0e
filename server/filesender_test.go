package server

import (
	"archive/zip"
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"fileshare/store"
)

// How the clients of FileSender sign, by the way in which they send arguments.
const (
	signAsync = iota // percent-encoded, a space as +, the signature last
	signOld          // the official client of 2.x: as they are, a plus stays one
	signNew          // that of 3.x: percent-encoded
)

// fsRequest is a signed request.
func fsRequest(t testing.TB, how int, method, address, user string, args map[string]string, body []byte) *http.Request {
	t.Helper()
	all := map[string]string{"remote_user": user, "timestamp": strconv.FormatInt(time.Now().Unix(), 10)}
	for k, v := range args {
		all[k] = v
	}
	var names []string
	for k := range all {
		names = append(names, k)
	}
	slices.Sort(names)
	var text, wire []string
	for _, k := range names {
		text = append(text, k+"="+all[k])
		switch how {
		case signAsync:
			wire = append(wire, k+"="+url.QueryEscape(all[k]))
		case signOld:
			wire = append(wire, k+"="+strings.NewReplacer(" ", "%20", "'", "%27").Replace(all[k]))
		default:
			wire = append(wire, k+"="+url.PathEscape(all[k]))
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	signed := strings.ToLower(method) + "&" + u.Host + u.Path + "?" + strings.Join(text, "&")
	if len(body) > 0 || how == signAsync {
		signed += "&" + string(body)
	}
	mac := hmac.New(sha1.New, []byte(user+"'s key"))
	io.WriteString(mac, signed)
	signature := fmt.Sprintf("signature=%x", mac.Sum(nil))
	if how == signAsync {
		wire = append(wire, signature)
	} else {
		wire = append(wire, signature)
		slices.Sort(wire)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, address+"?"+strings.Join(wire, "&"), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fs sends a signed request.
func (h *house) fs(how int, method, path, user string, args map[string]string, body any) answer {
	h.t.Helper()
	data, ok := body.([]byte)
	if !ok && body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			h.t.Fatal(err)
		}
	}
	if !strings.HasPrefix(path, "http://") {
		path = h.url + path
	}
	r := fsRequest(h.t, how, method, path, user, args, data)
	r.Header.Set("Content-Type", "application/json")
	return h.roundTrip(r)
}

func (h *house) roundTrip(r *http.Request) answer {
	h.t.Helper()
	resp, err := h.hc.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{resp, b}
}

type fsTransfer struct {
	ID        int64
	User      string `json:"user_id"`
	Email     string `json:"user_email"`
	Round     string `json:"roundtriptoken"`
	Status    string
	Expires   struct{ Raw int64 }
	Extension int64 `json:"expiry_date_extension"`
	Options   map[string]bool
	Files     []struct {
		ID   int64
		UID  string
		PUID string
		Name string
		Size int64
		CID  string
	}
	Recipients []struct {
		ID    int64
		Token string
		Email *string
		URL   string `json:"download_url"`
	}
}

func fsHouse(t *testing.T) *house {
	return newHouse(t, store.Options{}, Options{FileSender: &FileSender{ChunkSize: 100, Extensions: 1}, Prefixes: []string{"/rtc/fileshare"}})
}

func fsID(n int64) string { return strconv.FormatInt(n, 10) }

// Whole workflows, with each way to sign, at the root, below the site's path and
// below a prefix.
func TestFileSender(t *testing.T) {
	h := fsHouse(t)
	contents := map[string][]byte{"tree/a &<b>.txt": noise(250), "empty": {}, "größe = \"x\".bin": noise(100)}
	for how, site := range []string{"", "/filesender", "/rtc/fileshare/filesender"} {
		rest := site + "/rest.php"
		var info struct {
			Chunk int64 `json:"upload_chunk_size"`
			URL   string
		}
		h.do("GET", rest+"/info", "", nil).want(t, 200).into(t, &info)
		if info.Chunk != 100 || info.URL != h.url+site+"/" {
			t.Errorf("%+v", info)
		}
		config := string(h.do("GET", site+"//filesender-config.js.php", "", nil).want(t, 200).body)
		if !strings.Contains(config, "site_url: '"+h.url+site+"/',") {
			t.Errorf("the address of the site in %s", config)
		}
		for _, name := range []string{"terasender_worker_count: 4", "terasender_enabled: true", "max_transfer_files: 100", "max_transfer_days_valid: 20", "terasender_worker_start_must_complete_within_ms: 180000", "terasender_worker_max_chunk_retries: 20"} {
			if !strings.Contains(config, name) {
				t.Errorf("no %s in %s", name, config)
			}
		}
		var ask []map[string]any
		for name, b := range contents {
			ask = append(ask, map[string]any{"name": name, "size": len(b), "cid": "c-" + name})
		}
		var tr fsTransfer
		a := h.fs(how, "POST", rest+"/transfer", "alice", map[string]string{"x": "a b+c"}, map[string]any{"files": ask, "recipients": []string{"bob@example.net", "BOB@example.net", "carol@example.net"},
			"options": map[string]any{"get_a_link": 0, "email_download_complete": true}, "from": nil, "subject": "Su<b>ject", "message": "hello", "expires": time.Now().Add(1000 * time.Hour).Unix()}).want(t, 201)
		a.into(t, &tr)
		if len(tr.Files) != 3 || len(tr.Recipients) != 2 || tr.Round == "" || a.Header.Get("Location") != h.url+rest+"/transfer/"+fsID(tr.ID) || tr.Status != "started" || tr.Options["get_a_link"] || !tr.Options["email_download_complete"] {
			t.Fatalf("%+v %s", tr, a.Header.Get("Location"))
		}
		if left := time.Until(time.Unix(tr.Expires.Raw, 0)); left > 20*24*time.Hour {
			t.Errorf("it lives %v", left)
		}
		args := map[string]string{"roundtriptoken": tr.Round}
		page := "?s=download&token=" + tr.Recipients[0].Token
		h.do("GET", site+page, "", nil).want(t, 404)
		h.fs(how, "PUT", rest+"/transfer/"+fsID(tr.ID), "alice", args, map[string]any{"complete": true}).want(t, 409)
		var wg sync.WaitGroup
		for _, f := range tr.Files {
			b := contents[f.Name]
			if b == nil || f.UID != f.PUID || f.UID == "" || f.Size != int64(len(b)) || f.CID != "c-"+f.Name {
				t.Fatalf("%+v", f)
			}
			at := rest + "/file/" + fsID(f.ID)
			key := map[string]string{"key": f.UID, "roundtriptoken": tr.Round}
			for from := 0; from < len(b); from += 100 {
				for range 1 + from/100%2 { // some twice
					wg.Go(func() {
						h.fs(how, "PUT", at+"/chunk/"+strconv.Itoa(from), "alice", key, b[from:min(from+100, len(b))]).want(t, 200)
					})
				}
			}
			wg.Wait()
			for range 2 {
				if a := h.fs(how, "PUT", at, "alice", key, map[string]any{"complete": true}).want(t, 200); strings.TrimSpace(string(a.body)) != "true" {
					t.Errorf("%s", a.body)
				}
			}
		}
		for range 2 {
			h.fs(how, "PUT", rest+"/transfer/"+fsID(tr.ID), "alice", map[string]string{"key": tr.Files[0].PUID, "roundtriptoken": "of a later upload"}, map[string]any{"complete": true}).want(t, 200).into(t, &tr)
			if tr.Status != "available" || tr.Round != "" || len(tr.Recipients) != 2 {
				t.Errorf("%+v", tr)
			}
		}
		h.fs(how, "GET", rest+"/transfer", "alice", nil, nil).want(t, 200)
		h.fs(how, "GET", rest+"/transfer/"+fsID(tr.ID)+"/options", "alice", nil, nil).want(t, 200)
		h.fsDownload(t, site, &tr, contents)
		h.fs(how, "PUT", rest+"/file/"+fsID(tr.Files[0].ID)+"/chunk/0", "alice", nil, []byte("x")).want(t, 400)
		h.fs(how, "POST", rest+"/transfer/"+fsID(tr.ID)+"/recipient", "alice", nil, map[string]any{"recipient": "dave@example.net"}).want(t, 201)
		h.fs(how, "PUT", rest+"/transfer/"+fsID(tr.ID), "alice", nil, map[string]any{"extend_expiry_date": true}).want(t, 200)
		if a := h.fs(how, "DELETE", rest+"/transfer/"+fsID(tr.ID), "alice", nil, nil).want(t, 200); strings.TrimSpace(string(a.body)) != "true" {
			t.Errorf("%s", a.body)
		}
		a = h.do("GET", site+page, "", nil).want(t, 404)
		if strings.Contains(string(a.body), `class="file"`) {
			t.Errorf("%s", a.body)
		}
		if a := h.do("GET", site+"/download.php?token="+tr.Recipients[0].Token+"&files_ids="+fsID(tr.Files[0].ID), "", nil).want(t, 404); a.Header.Get("Content-Disposition") != "" {
			t.Errorf("%v", a.Header)
		}
	}
}

// fsDownload downloads as the clients do.
func (h *house) fsDownload(t *testing.T, site string, tr *fsTransfer, contents map[string][]byte) {
	t.Helper()
	token := tr.Recipients[0].Token
	if tr.Recipients[0].URL != h.url+site+"/?s=download&token="+token {
		t.Errorf("%s", tr.Recipients[0].URL)
	}
	rows := scrape(t, h.do("GET", site+"?s=download&token="+token, "", nil).want(t, 200).body)
	if len(rows) != 3 {
		t.Fatalf("%d rows", len(rows))
	}
	ids := []string{}
	for _, row := range rows {
		for _, name := range []string{"data-id", "data-name", "data-size", "data-mime", "data-transferid", "data-encrypted", "data-encrypted-size", "data-key-version", "data-key-salt",
			"data-password-version", "data-password-encoding", "data-password-hash-iterations", "data-client-entropy", "data-fileiv", "data-fileaead"} {
			if _, ok := row[name]; !ok {
				t.Errorf("no %s in %v", name, row)
			}
		}
		want := contents[row["data-name"]]
		at := site + "/download.php?token=" + token + "&files_ids=" + row["data-id"]
		a := h.do("GET", at, "", nil, "Accept-Encoding", "gzip, deflate").want(t, 200)
		if !bytes.Equal(a.body, want) || row["data-size"] != strconv.Itoa(len(want)) || a.Header.Get("Content-Encoding") != "" || !strings.HasPrefix(a.Header.Get("Content-Disposition"), `attachment; filename="`) {
			t.Errorf("%s: %d bytes, %v", row["data-name"], len(a.body), a.Header)
		}
		if len(want) > 10 {
			a = h.do("GET", at, "", nil, "Range", "bytes=5-9").want(t, 206)
			if !bytes.Equal(a.body, want[5:10]) {
				t.Errorf("%q", a.body)
			}
		}
		ids = append(ids, row["data-id"])
	}
	a := h.do("GET", site+"/download.php?token="+token+"&files_ids="+strings.Join(ids, ","), "", nil).want(t, 200)
	z, err := zip.NewReader(bytes.NewReader(a.body), int64(len(a.body)))
	if err != nil || len(z.File) != 3 || !strings.Contains(a.Header.Get("Cache-Control"), "no-transform") {
		t.Fatalf("%v, %v", err, a.Header)
	}
	var more []struct {
		ID        int64
		Name      string
		Size      int64
		Encrypted bool
		Key       int `json:"key-version"`
	}
	h.do("GET", site+"/rest.php/transfer/fileidsextended?token="+token, "", nil).want(t, 200).into(t, &more)
	if len(more) != 3 || more[0].Encrypted || more[0].Key != 1 {
		t.Errorf("%+v", more)
	}
	for _, bad := range []string{"token=" + token + "&files_ids=999999", "token=" + token, "files_ids=1", "token=x&files_ids=" + ids[0], "token=" + token + "&files_ids=" + ids[0] + "&archive_format=rar"} {
		if a := h.do("GET", site+"/download.php?"+bad, "", nil); a.StatusCode < 400 || a.Header.Get("Content-Disposition") != "" {
			t.Errorf("%s: %d %v", bad, a.StatusCode, a.Header)
		}
	}
}

// scrape returns the attributes of every element that has the class "file".
func scrape(t *testing.T, page []byte) (rows []map[string]string) {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		attrs := map[string]string{}
		for _, a := range n.Attr {
			attrs[a.Key] = a.Val
		}
		if slices.Contains(strings.Fields(attrs["class"]), "file") {
			rows = append(rows, attrs)
		}
	}
	return rows
}

// fsMessage checks an error by the name that FileSender has for it.
func fsMessage(t *testing.T, a answer, status int, want string) {
	t.Helper()
	var e struct {
		Message string
		UID     string
		Details *json.RawMessage
	}
	a.want(t, status).into(t, &e)
	if e.Message != want || e.UID == "" || !strings.Contains(string(a.body), `"details"`) {
		t.Errorf("%s, want %s", a.body, want)
	}
}

func TestFileSenderRefusals(t *testing.T) {
	h := fsHouse(t)
	var tr fsTransfer
	ok := map[string]any{"files": []map[string]any{{"name": "a", "size": "200"}}, "recipients": []string{"bob@example.net"}}
	h.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, ok).want(t, 201).into(t, &tr)
	chunk := "/rest.php/file/" + fsID(tr.Files[0].ID) + "/chunk/0"
	message := func(a answer, status int, want string) {
		t.Helper()
		fsMessage(t, a, status, want)
	}
	with := func(change func(m map[string]any)) map[string]any {
		m := map[string]any{"files": ok["files"], "recipients": ok["recipients"]}
		change(m)
		return m
	}
	post := func(m map[string]any) answer { return h.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, m) }
	message(post(with(func(m map[string]any) { delete(m, "files") })), 400, "transfer_no_files")
	message(post(with(func(m map[string]any) { delete(m, "recipients") })), 400, "transfer_no_recipients")
	message(post(with(func(m map[string]any) { m["recipients"] = []string{"nobody"} })), 400, "rest_bad_parameter")
	for _, name := range []string{"", "/etc/passwd", "a/../b", "./a", "a//b", `a\b`, "a\x00", "a\n", "..", strings.Repeat("x", 2000)} {
		message(post(with(func(m map[string]any) { m["files"] = []map[string]any{{"name": name, "size": 1}} })), 400, "transfer_file_name_invalid")
	}
	message(h.do("POST", "/rest.php/transfer", "alice", strings.NewReader("{}")), 403, "rest_authentication_required")
	message(h.fs(signNew, "POST", "/rest.php/transfer", "nobody", nil, ok), 500, "auth_remote_signature_check_failed")
	message(h.fs(signNew, "POST", "/rest.php/transfer", "alice", map[string]string{"timestamp": strconv.FormatInt(time.Now().Unix()-60, 10)}, ok), 500, "auth_remote_too_late")
	h.fs(signNew, "POST", "/rest.php/transfer", "alice", map[string]string{"timestamp": strconv.FormatInt(time.Now().Unix()+600, 10)}, ok).want(t, 201)
	key := map[string]string{"key": tr.Files[0].UID}
	r := fsRequest(t, signNew, "PUT", h.url+chunk, "alice", key, []byte("signed"))
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader("forged")), 6
	message(h.roundTrip(r), 500, "auth_remote_signature_check_failed")
	message(h.fs(signNew, "PUT", chunk, "bob", key, []byte("x")), 403, "rest_ownership_required")
	message(h.fs(signNew, "PUT", chunk, "alice", map[string]string{"key": "wrong"}, []byte("x")), 403, "rest_ownership_required")
	message(h.fs(signNew, "PUT", chunk, "alice", map[string]string{"roundtriptoken": "wrong"}, []byte("x")), 403, "rest_roundtrip_token_invalid")
	message(h.fs(signNew, "PUT", chunk, "alice", key, make([]byte, 101)), 400, "file_chunk_out_of_bounds")
	message(h.fs(signNew, "PUT", strings.Replace(chunk, "/chunk/0", "/chunk/150", 1), "alice", key, make([]byte, 60)), 400, "file_chunk_out_of_bounds")
	message(h.fs(signNew, "PUT", strings.TrimSuffix(chunk, "/chunk/0"), "alice", key, map[string]any{"complete": true}), 409, "file_integrity_check_failed")
	message(h.fs(signNew, "GET", "/rest.php/transfer/"+fsID(tr.ID), "bob", nil, nil), 403, "rest_ownership_required")
	message(h.fs(signNew, "GET", "/rest.php/transfer/99999", "alice", nil, nil), 404, "transfer_not_found")
	for _, site := range []string{"", "/filesender"} {
		message(h.fs(signNew, "GET", site+"/rest.php", "alice", nil, nil), 400, "rest_endpoint_missing")
		message(h.fs(signNew, "POST", site+"/rest.php/", "alice", nil, nil), 400, "rest_endpoint_missing")
		message(h.fs(signNew, "GET", site+"/rest.php/nothing", "alice", nil, nil), 501, "rest_endpoint_not_implemented")
		message(h.fs(signNew, "PUT", site+"/rest.php/transfer/x", "alice", nil, nil), 400, "rest_bad_parameter")
	}
	message(h.fs(signNew, "GET", "/rest.php/transfer", "alice", map[string]string{"remote_application": "app"}, nil), 500, "auth_remote_unknown_application")
	message(h.do("GET", "/rest.php/transfer/fileids?token=x", "", nil), 400, "token_has_bad_format")
	message(h.do("GET", "/rest.php/transfer/fileids", "", nil), 400, "token_is_missing")
	message(h.do("GET", "/rest.php/transfer/fileids?token=6f9619ff-8b86-4011-b42d-00c04fc964ff", "", nil), 404, "transfer_not_found")
	message(h.fs(signNew, "PATCH", "/rest.php/transfer", "alice", nil, nil), 405, "rest_method_not_allowed")
	// A chunk that is the digit zero is one, and the same again is fine.
	for range 2 {
		h.fs(signAsync, "PUT", chunk, "alice", key, []byte("0")).want(t, 200)
	}
	// More than it is taken; what is there already may not become something else.
	message(h.fs(signAsync, "PUT", chunk, "alice", key, []byte("10")), 400, "rest_sanity_check_failed")
	for range 2 {
		h.fs(signAsync, "PUT", chunk, "alice", key, []byte("01")).want(t, 200)
	}
	message(h.fs(signAsync, "PUT", chunk, "alice", key, []byte("02")), 400, "rest_sanity_check_failed")
}
