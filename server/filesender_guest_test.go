package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

type fsGuest struct {
	ID              int64
	Email           string
	UserEmail       string `json:"user_email"`
	Token           string
	Count           int64 `json:"transfer_count"`
	Status          string
	Subject         *string
	Options         map[string]any
	TransferOptions map[string]bool `json:"transfer_options"`
	Expires         struct{ Raw int64 }
	URL             string `json:"upload_url"`
	Errors          []any
}

// visitor is a guest that has opened the upload page as the asynchronous client
// does.
type visitor struct {
	h        *house
	rest     string
	voucher  string
	security string
	csrf     string
}

func (h *house) visit(t testing.TB, site, voucher string) *visitor {
	t.Helper()
	a := h.do("GET", site+"/?s=upload&vid="+voucher, "", nil).want(t, 200)
	doc, err := html.Parse(bytes.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{h: h, rest: site + "/rest.php", voucher: voucher}
	for n := range doc.Descendants() {
		if n.Data != "body" {
			continue
		}
		for _, attr := range n.Attr {
			if attr.Key == "data-security-token" {
				v.security = attr.Val
			}
		}
	}
	for _, c := range a.Cookies() {
		if c.Name == "csrfptoken" {
			v.csrf = c.Value
			if c.Secure {
				t.Error("the cookie would not be sent over plain http")
			}
		}
	}
	if v.security == "" || v.csrf == "" {
		t.Fatalf("tokens %q %q in %s", v.security, v.csrf, a.body)
	}
	return v
}

func (v *visitor) call(method, path string, args map[string]string, body any) answer {
	v.h.t.Helper()
	data, ok := body.([]byte)
	if !ok && body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			v.h.t.Fatal(err)
		}
	}
	q := url.Values{"vid": {v.voucher}}
	for k, x := range args {
		q.Set(k, x)
	}
	r, err := http.NewRequestWithContext(v.h.t.Context(), method, v.h.url+v.rest+path+"?"+q.Encode(), bytes.NewReader(data))
	if err != nil {
		v.h.t.Fatal(err)
	}
	r.Header.Set("X-Filesender-Security-Token", v.security)
	r.Header.Set("csrfptoken", v.csrf)
	r.Header.Set("Cookie", "csrfptoken="+v.csrf)
	return v.h.roundTrip(r)
}

// begin begins a transfer of one file.
func (v *visitor) begin(t *testing.T, data string, more map[string]any) (tr fsTransfer) {
	t.Helper()
	body := map[string]any{"files": []map[string]any{{"name": "a.txt", "size": len(data)}}, "recipients": []string{}}
	for k, x := range more {
		body[k] = x
	}
	v.call("POST", "/transfer", nil, body).want(t, 201).into(t, &tr)
	return tr
}

// send sends the file and completes it.
func (v *visitor) send(t *testing.T, tr *fsTransfer, data string) {
	t.Helper()
	args := map[string]string{"key": tr.Files[0].UID, "roundtriptoken": tr.Round}
	file := "/file/" + fsID(tr.Files[0].ID)
	for from := 0; from < len(data); from += 100 {
		v.call("PUT", file+"/chunk/"+strconv.Itoa(from), args, []byte(data[from:min(from+100, len(data))])).want(t, 200)
	}
	v.call("PUT", file, args, map[string]any{"complete": true}).want(t, 200)
}

func (v *visitor) complete(tr *fsTransfer) answer {
	return v.call("PUT", "/transfer/"+fsID(tr.ID), map[string]string{"roundtriptoken": tr.Round}, map[string]any{"complete": true})
}

func (h *house) invite(t *testing.T, site string, body map[string]any) (g fsGuest) {
	t.Helper()
	a := h.fs(signAsync, "POST", site+"/rest.php/guest", "alice", nil, body).want(t, 201)
	a.into(t, &g)
	if a.Header.Get("Location") != h.url+site+"/rest.php/guest/"+fsID(g.ID) || g.URL != h.url+site+"/?s=upload&vid="+g.Token || g.Errors == nil || len(g.Token) != 36 {
		t.Errorf("%+v at %s", g, a.Header.Get("Location"))
	}
	return g
}

// A guest uploads, as the asynchronous client does it, and the inviter follows.
func TestFileSenderGuest(t *testing.T) {
	h := fsHouse(t)
	data := string(noise(250))
	for _, site := range []string{"", "/rtc/fileshare/filesender"} {
		// As the asynchronous command line asks.
		g := h.invite(t, site, map[string]any{"recipient": "carol@example.net", "from": "alice", "subject": "Your <data>", "expires": time.Now().Add(1000 * time.Hour).Unix(),
			"options": map[string]any{"guest": map[string]any{"valid_only_one_time": false, "can_only_send_to_me": false, "nonsense": true}, "transfer": map[string]any{"add_me_to_recipients": true, "email_download_complete": true}}})
		if g.Options["can_only_send_to_me"] != false || g.TransferOptions["add_me_to_recipients"] != true || g.Options["nonsense"] != nil || g.Email != "carol@example.net" || g.Status != "available" {
			t.Errorf("%+v", g)
		}
		if left := time.Until(time.Unix(g.Expires.Raw, 0)); left > 20*24*time.Hour || left < 19*24*time.Hour {
			t.Errorf("it lives %v", left)
		}
		v := h.visit(t, site, g.Token)
		tr := v.begin(t, data, map[string]any{"recipients": []string{"bob@example.net"}, "from": "mallory@example.net", "options": map[string]any{"get_a_link": true}})
		if len(tr.Recipients) != 2 || tr.Options["get_a_link"] || !tr.Options["email_download_complete"] || tr.Email != "carol@example.net" || tr.User != "alice" {
			t.Errorf("%+v", tr)
		}
		file := "/file/" + fsID(tr.Files[0].ID)
		for _, round := range []map[string]string{{"key": tr.Files[0].UID}, {"key": tr.Files[0].UID, "roundtriptoken": "wrong"}} {
			fsMessage(t, v.call("PUT", file+"/chunk/0", round, []byte("x")), 403, "rest_roundtrip_token_invalid")
			fsMessage(t, v.call("PUT", file, round, map[string]any{"complete": true}), 403, "rest_roundtrip_token_invalid")
		}
		fsMessage(t, v.complete(&tr), 409, "transfer_files_incomplete")
		v.send(t, &tr, data)
		for range 2 {
			var done fsTransfer
			v.complete(&tr).want(t, 200).into(t, &done)
			if done.Status != "available" || len(done.Recipients) != 2 || done.Recipients[0].Token == "" {
				t.Errorf("%+v", done)
			}
		}
		fsMessage(t, v.call("PUT", file+"/chunk/0", map[string]string{"roundtriptoken": tr.Round}, []byte("x")), 400, "cannot_add_data_to_complete_transfer")
		// The recipients have it …
		for _, to := range tr.Recipients {
			rows := scrape(t, h.do("GET", site+"/?s=download&token="+to.Token, "", nil).want(t, 200).body)
			if len(rows) != 1 {
				t.Fatalf("%d rows", len(rows))
			}
			if a := h.do("GET", site+"/download.php?token="+to.Token+"&files_ids="+rows[0]["data-id"], "", nil).want(t, 200); string(a.body) != data {
				t.Errorf("%d bytes", len(a.body))
			}
		}
		// … and the inviter sees it.
		rest := site + "/rest.php"
		var got fsGuest
		h.fs(signNew, "GET", rest+"/guest/"+fsID(g.ID), "alice", nil, nil).want(t, 200).into(t, &got)
		if got.Count != 1 || got.Token != g.Token || got.UserEmail != "alice@example.com" {
			t.Errorf("%+v", got)
		}
		var transfers []fsTransfer
		h.fs(signNew, "GET", rest+"/guest/"+fsID(g.ID)+"/transfers", "alice", nil, nil).want(t, 200).into(t, &transfers)
		if len(transfers) != 1 || transfers[0].ID != tr.ID || transfers[0].Email != "carol@example.net" || transfers[0].User != "alice" {
			t.Errorf("%+v", transfers)
		}
		h.fs(signNew, "GET", rest+"/transfer", "alice", nil, nil).want(t, 200).into(t, &transfers)
		if len(transfers) != 1 || transfers[0].ID != tr.ID {
			t.Errorf("%+v", transfers)
		}
		for _, path := range []string{"/guest", "/guest/@me"} {
			var all []fsGuest
			h.fs(signNew, "GET", rest+path, "alice", nil, nil).want(t, 200).into(t, &all)
			if len(all) != 1 || all[0].ID != g.ID {
				t.Errorf("%+v", all)
			}
		}
		h.fs(signNew, "PUT", rest+"/guest/"+fsID(g.ID), "alice", nil, map[string]any{"remind": true}).want(t, 501) // there is no mail here
		h.fs(signNew, "DELETE", rest+"/guest/"+fsID(g.ID), "alice", nil, nil).want(t, 200)
		h.fs(signNew, "GET", rest+"/guest/"+fsID(g.ID), "alice", nil, nil).want(t, 200).into(t, &got)
		if got.Status != "closed" {
			t.Errorf("%+v", got)
		}
		var all []fsGuest
		h.fs(signNew, "GET", rest+"/guest", "alice", nil, nil).want(t, 200).into(t, &all)
		if len(all) != 0 {
			t.Errorf("%+v", all)
		}
		fsMessage(t, v.call("POST", "/transfer", nil, map[string]any{"files": []map[string]any{{"name": "a", "size": 1}}, "recipients": []string{"bob@example.net"}}), 410, "guest_expired")
		h.fs(signNew, "DELETE", rest+"/transfer/"+fsID(tr.ID), "alice", nil, nil).want(t, 200)
	}
}

func TestFileSenderGuestOptions(t *testing.T) {
	h := fsHouse(t)
	one := map[string]any{"files": []map[string]any{{"name": "a", "size": 1}}, "recipients": []string{"bob@example.net"}}

	// Good once: of two transfers that are under way, one is completed.
	g := h.invite(t, "", map[string]any{"recipient": "carol@example.net", "options": map[string]any{"valid_only_one_time": 1, "can_only_send_to_me": "1"}})
	if g.Options["valid_only_one_time"] != true || g.Options["can_only_send_to_me"] != true {
		t.Errorf("%+v", g)
	}
	v := h.visit(t, "", g.Token)
	fsMessage(t, v.call("POST", "/transfer", nil, one), 400, "transfer_too_many_recipients")
	first, second := v.begin(t, "x", nil), v.begin(t, "y", nil)
	if len(first.Recipients) != 1 || *first.Recipients[0].Email != "alice@example.com" {
		t.Errorf("%+v", first.Recipients)
	}
	v.send(t, &first, "x")
	v.send(t, &second, "y")
	v.complete(&first).want(t, 200)
	v.complete(&first).want(t, 200) // the answer may have been lost
	fsMessage(t, v.complete(&second), 410, "guest_expired")
	fsMessage(t, v.call("POST", "/transfer", nil, map[string]any{"files": one["files"]}), 410, "guest_expired")
	fsMessage(t, v.call("DELETE", "/transfer/"+fsID(first.ID), nil, nil), 410, "guest_expired")
	a := h.do("GET", "/?s=upload&vid="+g.Token, "", nil).want(t, 410)
	if bytes.Contains(a.body, []byte("data-security-token")) || len(a.Cookies()) > 0 {
		t.Errorf("%s", a.body)
	}
	h.do("GET", "/?s=download&token="+first.Recipients[0].Token, "", nil).want(t, 200)
	h.do("GET", "/?s=download&token="+second.Recipients[0].Token, "", nil).want(t, 404)

	// With recipients of its own, and as long as the guest.
	g = h.invite(t, "", map[string]any{"recipient": "carol@example.net", "expires": time.Now().Add(time.Hour).Unix(), "options": map[string]any{"guest_upload_default_expire_is_guest_expire": true}})
	v = h.visit(t, "", g.Token)
	fsMessage(t, v.call("POST", "/transfer", nil, map[string]any{"files": one["files"]}), 400, "transfer_no_recipients")
	tr := v.begin(t, "x", map[string]any{"recipients": []string{"bob@example.net"}})
	if d := tr.Expires.Raw - g.Expires.Raw; d < 0 || d > 2 {
		t.Errorf("the transfer ends %d s after the guest", d)
	}
	if a := v.call("DELETE", "/transfer/"+fsID(tr.ID), nil, nil).want(t, 200); strings.TrimSpace(string(a.body)) != "true" {
		t.Errorf("%s", a.body)
	}
	// As long as the site has it, whatever the guest says.
	g = h.invite(t, "", map[string]any{"recipient": "carol@example.net", "options": map[string]any{"guest": map[string]any{"guest_upload_expire_read_only": true}}})
	tr = h.visit(t, "", g.Token).begin(t, "x", map[string]any{"recipients": []string{"bob@example.net"}, "expires": time.Now().Add(time.Hour).Unix()})
	if d := time.Until(time.Unix(tr.Expires.Raw, 0)).Round(time.Hour); d != 240*time.Hour {
		t.Errorf("the transfer ends in %v", d)
	}
	// As the official clients invite.
	g = h.invite(t, "", map[string]any{"recipient": "carol@example.net", "from": "alice", "subject": nil, "message": nil, "expires": time.Now().Add(240 * time.Hour).Unix(), "options": map[string]any{"get_a_link": 0}})
	if g.Options["get_a_link"] != nil || len(g.TransferOptions) != 0 {
		t.Errorf("%+v", g)
	}
}

func TestFileSenderGuestRefusals(t *testing.T) {
	h := fsHouse(t)
	g := h.invite(t, "", map[string]any{"recipient": "carol@example.net", "options": map[string]any{}})
	other := h.invite(t, "", map[string]any{"recipient": "dave@example.net"})
	v, w := h.visit(t, "", g.Token), h.visit(t, "", other.Token)
	if v.security == w.security || v.csrf == w.csrf {
		t.Error("two vouchers have the same tokens")
	}
	one := map[string]any{"files": []map[string]any{{"name": "a", "size": 1}}, "recipients": []string{"bob@example.net"}}
	wrong := *v
	wrong.security = w.security
	fsMessage(t, wrong.call("POST", "/transfer", nil, one), 400, "rest_security_token_did_not_match")
	wrong = *v
	wrong.csrf = ""
	fsMessage(t, wrong.call("POST", "/transfer", nil, one), 400, "rest_xsrf_token_did_not_match")
	wrong = *v
	wrong.voucher = strings.Replace(g.Token, g.Token[:8], "00000000", 1)
	fsMessage(t, wrong.call("POST", "/transfer", nil, one), 404, "guest_not_found")
	wrong.voucher = "nonsense"
	fsMessage(t, wrong.call("POST", "/transfer", nil, one), 404, "guest_not_found")
	for _, bad := range []string{"", "nonsense"} {
		if a := h.do("GET", "/?s=upload&vid="+bad, "", nil).want(t, 404); bytes.Contains(a.body, []byte("data-security-token")) {
			t.Errorf("%s", a.body)
		}
	}
	h.do("GET", "/?s=upload", "", nil).want(t, 404)

	// A guest reaches its own transfers while they are made, and nothing else.
	tr := v.begin(t, "x", map[string]any{"recipients": []string{"bob@example.net"}})
	theirs := w.begin(t, "x", map[string]any{"recipients": []string{"bob@example.net"}})
	var hers fsTransfer
	h.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, one).want(t, 201).into(t, &hers)
	for _, x := range []*fsTransfer{&theirs, &hers} {
		args := map[string]string{"key": x.Files[0].UID, "roundtriptoken": x.Round}
		file, at := "/file/"+fsID(x.Files[0].ID), "/transfer/"+fsID(x.ID)
		for what, a := range map[string]answer{
			"chunk":    v.call("PUT", file+"/chunk/0", args, []byte("x")),
			"complete": v.call("PUT", file, args, map[string]any{"complete": true}),
			"end":      v.call("PUT", at, args, map[string]any{"complete": true}),
			"delete":   v.call("DELETE", at, args, nil),
		} {
			if a.StatusCode != 403 {
				t.Errorf("%s: %d %s", what, a.StatusCode, a.body)
			}
		}
	}
	args := map[string]string{"roundtriptoken": tr.Round}
	at, file := "/transfer/"+fsID(tr.ID), "/file/"+fsID(tr.Files[0].ID)
	for _, c := range []struct {
		method, path string
		body         any
	}{{"GET", "/transfer", nil}, {"GET", "/transfer/@me", nil}, {"GET", at, nil}, {"GET", at + "/options", nil}, {"POST", at + "/recipient", map[string]any{"recipient": "x@example.net"}},
		{"PUT", at, map[string]any{"closed": true}}, {"PUT", at, map[string]any{"extend_expiry_date": true}}, {"GET", file, nil}, {"DELETE", file, nil},
		{"GET", "/recipient/1", nil}, {"DELETE", "/recipient/1", nil}, {"GET", "/guest", nil}, {"GET", "/guest/" + fsID(g.ID), nil}, {"GET", "/guest/" + fsID(g.ID) + "/transfers", nil},
		{"DELETE", "/guest/" + fsID(g.ID), nil}, {"PUT", "/guest/" + fsID(g.ID), map[string]any{"remind": true}}, {"POST", "/guest", map[string]any{"recipient": "x@example.net"}}} {
		fsMessage(t, v.call(c.method, c.path, args, c.body), 403, "rest_ownership_required")
	}
	// Nor do users reach the guests of others, or make bad ones.
	fsMessage(t, h.fs(signNew, "GET", "/rest.php/guest/"+fsID(g.ID), "bob", nil, nil), 403, "rest_ownership_required")
	fsMessage(t, h.fs(signNew, "DELETE", "/rest.php/guest/"+fsID(g.ID), "bob", nil, nil), 403, "rest_ownership_required")
	fsMessage(t, h.fs(signNew, "GET", "/rest.php/guest/99999", "alice", nil, nil), 404, "guest_not_found")
	fsMessage(t, h.fs(signNew, "PUT", "/rest.php/guest/"+fsID(g.ID), "alice", nil, map[string]any{}), 400, "rest_missing_parameter")
	for _, bad := range []map[string]any{{}, {"recipient": "nobody"}, {"recipient": "a@b", "options": 1}, {"recipient": "a@b", "message": strings.Repeat("x", 5000)}} {
		fsMessage(t, h.fs(signNew, "POST", "/rest.php/guest", "alice", nil, bad), 400, "rest_bad_parameter")
	}
	fsMessage(t, h.do("POST", "/rest.php/guest", "", strings.NewReader(`{"recipient":"a@b"}`)), 403, "rest_authentication_required")
	// A refused chunk is read to its end.
	r, err := http.NewRequestWithContext(t.Context(), "PUT", h.url+"/rest.php"+file+"/chunk/0?vid="+g.Token, io.LimitReader(zeros{}, 100))
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = 100
	fsMessage(t, h.roundTrip(r), 400, "rest_security_token_did_not_match")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
