package server

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"fileshare/api"
	"fileshare/store"
)

// Senders may want recipients to show an account, in whatever way it has one.
func TestFileSenderKnownRecipients(t *testing.T) {
	h := fsHouse(t)
	tr := h.fsSent("alice", 2, map[string]any{"options": map[string]any{"must_be_logged_in_to_download": true}})
	token := map[string]string{"token": tr.Recipients[0].Token, "s": "download", "files_ids": fsID(tr.Files[0].ID)}
	query := "?s=download&token=" + tr.Recipients[0].Token + "&files_ids=" + fsID(tr.Files[0].ID)
	for _, path := range []string{"/", "/filesender/", "/download.php"} {
		a := h.do("GET", path+query, "", nil, "Accept", "text/html").want(t, 401)
		if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Basic ") || a.Header.Get("Content-Disposition") != "" || strings.Contains(string(a.body), `class="file"`) {
			t.Errorf("%s: %v %s", path, a.Header, a.body)
		}
		h.do("GET", path+query, "bob", nil).want(t, 200)
		h.fs(signNew, "GET", path, "bob", token, nil).want(t, 200)
		h.fs(signNew, "GET", path, "nobody", token, nil).want(t, 500)
	}
	fsMessage(t, h.do("GET", "/rest.php/transfer/fileidsextended"+query, "", nil), 403, "rest_authentication_required")
	h.fs(signNew, "GET", "/rest.php/transfer/fileidsextended", "bob", token, nil).want(t, 200)
	h.do("POST", "/download.php", "", strings.NewReader(query[1:]), "Content-Type", "application/x-www-form-urlencoded").want(t, 401)
	h.do("POST", "/download.php", "bob", strings.NewReader(query[1:]), "Content-Type", "application/x-www-form-urlencoded").want(t, 200)
}

// With auth.private_downloads every recipient has to, whosever API it is.
func TestPrivateShares(t *testing.T) {
	h := newHouse(t, store.Options{PrivateDownloads: true}, Options{FileSender: &FileSender{ChunkSize: 100, Extensions: 1}})
	tr := h.fsSent("alice", 1, nil)
	token := map[string]string{"token": tr.Recipients[0].Token, "s": "download", "files_ids": fsID(tr.Files[0].ID)}
	query := "?s=download&token=" + token["token"] + "&files_ids=" + token["files_ids"]

	var sess api.Session
	h.do("POST", "/sessions", "alice", nil).want(t, 201).into(t, &sess)
	var f api.File
	h.do("POST", "/sessions/"+sess.ID+"/files", "alice", nil).want(t, 201).into(t, &f)
	h.do("PUT", "/sessions/"+sess.ID+"/files/"+f.ID, "alice", strings.NewReader("x")).want(t, 200)
	var sent api.Recipient
	h.do("POST", "/sessions/"+sess.ID+"/recipients", "alice", nil).want(t, 201).into(t, &sent)
	at := "/shares/" + sent.ID

	for _, path := range []string{"/" + query, "/download.php" + query, at, at + "/archive", at + "/files/" + f.ID} {
		a := h.do("GET", path, "", nil, "Accept", "text/html").want(t, 401)
		if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Basic ") || a.Header.Get("Content-Disposition") != "" {
			t.Errorf("%s: %v %s", path, a.Header, a.body)
		}
		h.do("GET", path, "bob", nil).want(t, 200)
	}
	h.fs(signNew, "GET", "/download.php", "bob", token, nil).want(t, 200)
	h.fs(signNew, "GET", "/download.php", "nobody", token, nil).want(t, 500)
}

// Who sent a transfer needs no recipient's token for it.
func TestFileSenderOwnDownloads(t *testing.T) {
	h := fsHouse(t)
	tr, other := h.fsSent("alice", 2, nil), h.fsSent("alice", 1, nil)
	ids := func(all ...int64) map[string]string {
		var text []string
		for _, id := range all {
			text = append(text, fsID(id))
		}
		return map[string]string{"files_ids": strings.Join(text, ",")}
	}
	get := func(user string, all ...int64) answer {
		return h.fs(signAsync, "GET", "/download.php", user, ids(all...), nil)
	}
	a := get("alice", tr.Files[1].ID).want(t, 200)
	if string(a.body) != "x" || !strings.HasPrefix(a.Header.Get("Content-Disposition"), `attachment; filename="b"`) {
		t.Errorf("%q %v", a.body, a.Header)
	}
	if a = h.fs(signAsync, "HEAD", "/download.php", "alice", ids(tr.Files[1].ID), nil).want(t, 200); a.Header.Get("Content-Length") != "1" {
		t.Errorf("%v", a.Header)
	}
	a = get("alice", tr.Files[0].ID, tr.Files[1].ID).want(t, 200)
	if z, err := zip.NewReader(bytes.NewReader(a.body), int64(len(a.body))); err != nil || len(z.File) != 2 {
		t.Errorf("%v", err)
	}
	for _, p := range tr.Recipients { // nobody was there
		if seen := h.fs(signNew, "GET", "/rest.php/recipient/"+fsID(p.ID), "alice", nil, nil).want(t, 200); !strings.Contains(string(seen.body), `"last_activity":null`) {
			t.Errorf("%s", seen.body)
		}
	}
	fsMessage(t, get("alice", tr.Files[0].ID, other.Files[0].ID), 400, "download_bad_files_ids")
	fsMessage(t, get("bob", tr.Files[0].ID), 403, "rest_ownership_required")
	fsMessage(t, get("nobody", tr.Files[0].ID), 500, "auth_remote_signature_check_failed")
	fsMessage(t, h.do("GET", "/download.php?files_ids="+fsID(tr.Files[0].ID), "alice", nil), 400, "token_is_missing")
	var open fsTransfer
	h.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, map[string]any{"files": []map[string]any{{"name": "a", "size": 1}}, "recipients": []string{"bob@example.net"}}).want(t, 201).into(t, &open)
	fsMessage(t, get("alice", open.Files[0].ID), 404, "transfer_not_availabe")
}
