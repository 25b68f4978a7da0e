package server

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"fileshare/store"
)

// fsSent makes an available transfer of files of one byte, called a, b, …
func (h *house) fsSent(user string, files int, body map[string]any) (tr fsTransfer) {
	h.t.Helper()
	var ask []map[string]any
	for i := range files {
		ask = append(ask, map[string]any{"name": string(rune('a' + i)), "size": 1})
	}
	all := map[string]any{"files": ask, "recipients": []string{"bob@example.net", "carol@example.net"}}
	for k, v := range body {
		all[k] = v
	}
	h.fs(signNew, "POST", "/rest.php/transfer", user, nil, all).want(h.t, 201).into(h.t, &tr)
	for _, f := range tr.Files {
		h.fs(signNew, "PUT", "/rest.php/file/"+fsID(f.ID)+"/chunk/0", user, nil, []byte("x")).want(h.t, 200)
		h.fs(signNew, "PUT", "/rest.php/file/"+fsID(f.ID), user, nil, map[string]any{"complete": true}).want(h.t, 200)
	}
	h.fs(signNew, "PUT", "/rest.php/transfer/"+fsID(tr.ID), user, nil, map[string]any{"complete": true}).want(h.t, 200).into(h.t, &tr)
	return tr
}

// A recipient that is removed loses its own link; with the last one, or with the
// last file, the transfer is closed.
func TestFileSenderParts(t *testing.T) {
	h := fsHouse(t)
	tr := h.fsSent("alice", 2, nil)
	at, page := "/rest.php/transfer/"+fsID(tr.ID), func(i int) string { return "/?s=download&token=" + tr.Recipients[i].Token }
	recipient := func(i int) string { return "/rest.php/recipient/" + fsID(tr.Recipients[i].ID) }
	var got struct {
		ID     int64
		Email  string
		Token  string
		Used   *struct{ Raw int64 } `json:"last_activity"`
		Errors []any
	}
	h.do("GET", page(1), "", nil).want(t, 200)
	h.fs(signAsync, "GET", recipient(1), "alice", nil, nil).want(t, 200).into(t, &got)
	if got.ID != tr.Recipients[1].ID || got.Token != tr.Recipients[1].Token || got.Email != "carol@example.net" || got.Used == nil || got.Errors == nil {
		t.Errorf("%+v", got)
	}
	// Who is there already is answered again.
	h.fs(signNew, "POST", at+"/recipient", "alice", nil, map[string]any{"recipient": "CAROL@example.net"}).want(t, 201).into(t, &got)
	if got.ID != tr.Recipients[1].ID {
		t.Errorf("%+v", got)
	}
	fsMessage(t, h.fs(signNew, "GET", "/rest.php/recipient/999999", "alice", nil, nil), 404, "recipient_not_found")
	h.fs(signNew, "PUT", recipient(0), "alice", nil, map[string]any{}).want(t, 200)
	if a := h.fs(signNew, "DELETE", recipient(0), "alice", nil, nil).want(t, 200); strings.TrimSpace(string(a.body)) != "true" {
		t.Errorf("%s", a.body)
	}
	h.do("GET", page(0), "", nil).want(t, 404)
	h.do("GET", page(1), "", nil).want(t, 200)
	h.fs(signNew, "DELETE", "/rest.php/file/"+fsID(tr.Files[0].ID), "alice", nil, nil).want(t, 200)
	if rows := scrape(t, h.do("GET", page(1), "", nil).want(t, 200).body); len(rows) != 1 {
		t.Errorf("%v", rows)
	}
	h.fs(signNew, "DELETE", recipient(1), "alice", nil, nil).want(t, 200)
	fsMessage(t, h.fs(signNew, "GET", at, "alice", nil, nil), 404, "transfer_not_found")

	tr = h.fsSent("alice", 3, nil)
	var wg sync.WaitGroup
	for _, f := range tr.Files { // whoever is late finds the transfer closed
		wg.Go(func() {
			if a := h.fs(signNew, "DELETE", "/rest.php/file/"+fsID(f.ID), "alice", nil, nil); a.StatusCode != 200 {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
		})
	}
	wg.Wait()
	h.do("GET", page(1), "", nil).want(t, 404)
	fsMessage(t, h.fs(signNew, "GET", "/rest.php/transfer/"+fsID(tr.ID), "alice", nil, nil), 404, "transfer_not_found")
}

func TestFileSenderRecipients(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{FileSender: &FileSender{Recipients: 3}})
	post := func(to ...string) answer {
		return h.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, map[string]any{"files": []map[string]any{{"name": "a", "size": 1}}, "recipients": to})
	}
	fsMessage(t, post("a@x.org", "b@x.org", "c@x.org", "d@x.org"), http.StatusBadRequest, "transfer_too_many_recipients")
	var tr fsTransfer
	post("a@x.org", "B@x.org", "b@x.org", "A@x.org").want(t, 201).into(t, &tr)
	if len(tr.Recipients) != 2 {
		t.Fatalf("%+v", tr.Recipients)
	}
	at := "/rest.php/transfer/" + fsID(tr.ID) + "/recipient"
	h.fs(signNew, "POST", at, "alice", nil, map[string]any{"recipient": "c@x.org"}).want(t, 201)
	fsMessage(t, h.fs(signNew, "POST", at, "alice", nil, map[string]any{"recipient": "d@x.org"}), http.StatusBadRequest, "transfer_too_many_recipients")
	fsMessage(t, h.fs(signNew, "POST", at, "alice", nil, map[string]any{"recipient": "d"}), http.StatusBadRequest, "rest_bad_parameter")
}

// A file that was given up is missing, one that was taken out is not.
func TestFileSenderMissing(t *testing.T) {
	h := fsHouse(t)
	var tr fsTransfer
	ask := []map[string]any{{"name": "a", "size": 1}, {"name": "b", "size": 1}, {"name": "c", "size": 1}}
	h.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, map[string]any{"files": ask, "options": []string{"get_a_link"}}).want(t, 201).into(t, &tr)
	if len(tr.Recipients) != 1 || tr.Recipients[0].Email == nil || *tr.Recipients[0].Email != "" {
		t.Errorf("%+v", tr.Recipients)
	}
	byName := map[string]string{}
	for _, f := range tr.Files {
		byName[f.Name] = "/rest.php/file/" + fsID(f.ID)
	}
	at, done := "/rest.php/transfer/"+fsID(tr.ID), map[string]any{"complete": true}
	h.fs(signNew, "PUT", byName["a"]+"/chunk/0", "alice", nil, []byte("x")).want(t, 200)
	h.fs(signNew, "PUT", byName["a"], "alice", nil, done).want(t, 200)
	h.fs(signNew, "DELETE", byName["b"], "alice", nil, nil).want(t, 200)
	fsMessage(t, h.fs(signNew, "PUT", at, "alice", nil, done), 409, "transfer_files_incomplete")
	alice := store.Caller{Name: "alice"}
	id, err := strconv.ParseInt(strings.TrimPrefix(byName["c"], "/rest.php/file/"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := h.store.FileByNumber(t.Context(), alice, "filesender.file", id)
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.store.Progress(t.Context(), alice, ref)
	if err != nil || time.Until(p.Expires) < 6*24*time.Hour {
		t.Errorf("it waits until %v, %v", p, err)
	}
	if err := h.store.DeleteFile(t.Context(), alice, ref); err != nil { // as if its time were over
		t.Fatal(err)
	}
	fsMessage(t, h.fs(signNew, "PUT", at, "alice", nil, done), 409, "transfer_files_incomplete")
	h.fs(signNew, "DELETE", at, "alice", nil, nil).want(t, 200)

	tr = h.fsSent("alice", 2, nil)
	h.fs(signNew, "DELETE", "/rest.php/file/"+fsID(tr.Files[0].ID), "alice", nil, nil).want(t, 200)
	h.fs(signNew, "PUT", "/rest.php/transfer/"+fsID(tr.ID), "alice", nil, done).want(t, 200)
}
