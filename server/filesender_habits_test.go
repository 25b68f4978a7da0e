package server

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"
)

// The way in which an account signed before is tried first, and not instead of
// the others.
func TestFileSenderHabits(t *testing.T) {
	h := fsHouse(t)
	var tr fsTransfer
	h.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, map[string]any{
		"files": []map[string]any{{"name": "a", "size": 600}}, "recipients": []string{"bob@example.net"},
	}).want(t, 201).into(t, &tr)
	file := "/rest.php/file/" + fsID(tr.Files[0].ID)
	args := map[string]string{"x": "1 2"} // which the clients do not send, and so sign, alike
	var all []byte
	for i, how := range []int{signNew, signNew, signAsync, signOld, signAsync, signNew} {
		path, chunk := file+"/chunk/"+strconv.Itoa(len(all)), bytes.Repeat([]byte{byte('a' + i)}, 100)
		forged := fsRequest(t, how, "PUT", h.url+path, "alice", args, chunk)
		forged.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", 100)))
		fsMessage(t, h.roundTrip(forged), 500, "auth_remote_signature_check_failed")
		h.fs(how, "PUT", path, "alice", args, chunk).want(t, 200)
		all = append(all, chunk...)
	}
	complete := map[string]any{"complete": true}
	h.fs(signNew, "PUT", file, "alice", nil, complete).want(t, 200)
	h.fs(signNew, "PUT", "/rest.php/transfer/"+fsID(tr.ID), "alice", nil, complete).want(t, 200)
	got := h.do("GET", "/download.php?token="+tr.Recipients[0].Token+"&files_ids="+fsID(tr.Files[0].ID), "", nil).want(t, 200)
	if !bytes.Equal(got.body, all) {
		t.Errorf("%q", got.body)
	}
}
