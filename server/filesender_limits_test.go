package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

func TestFileSenderLimits(t *testing.T) {
	h := newHouse(t, store.Options{FileSize: 1000, UserQuota: 2000}, Options{FileSender: &FileSender{Files: 3, Size: 1500, Banned: []string{"exe", "BAT"}}})
	type f = map[string]any
	post := func(user string, files ...f) answer {
		return h.fs(signNew, "POST", "/rest.php/transfer", user, nil, map[string]any{"files": files, "recipients": []string{"bob@example.net"}})
	}
	for _, name := range []string{"setup.exe", "a/b.EXE", "x.bat"} {
		fsMessage(t, post("alice", f{"name": "fine", "size": 1}, f{"name": name, "size": 1}), 400, "file_extension_not_allowed")
	}
	post("alice", f{"name": "exe", "size": 1}, f{"name": "a.exe/b", "size": 1}, f{"name": "c.exe.txt", "size": 1}).want(t, 201)
	fsMessage(t, post("alice", f{"name": "a", "size": 1}, f{"name": "b", "size": 1}, f{"name": "c", "size": 1}, f{"name": "d", "size": 1}), 400, "transfer_too_many_files")
	fsMessage(t, post("alice", f{"name": "a", "size": 1001}), 413, "transfer_maximum_file_size_exceeded")
	fsMessage(t, post("alice", f{"name": "a", "size": 1 << 62}, f{"name": "b", "size": 1 << 62}), 413, "transfer_maximum_file_size_exceeded")
	fsMessage(t, post("alice", f{"name": "a", "size": 800}, f{"name": "b", "size": 701}), 413, "transfer_maximum_size_exceeded")
	post("alice", f{"name": "a", "size": 800}, f{"name": "b", "size": 700}).want(t, 201)

	// All of a transfer must fit, not just each file of it.
	h.do("PUT", "/uploads/x", "bob", strings.NewReader(strings.Repeat("x", 800))).want(t, 201)
	fsMessage(t, post("bob", f{"name": "a", "size": 700}, f{"name": "b", "size": 501}), 507, "transfer_user_quota_exceeded")
	post("bob", f{"name": "a", "size": 700}, f{"name": "b", "size": 500}).want(t, 201)
	var all []fsTransfer
	h.fs(signNew, "GET", "/rest.php/transfer", "bob", nil, nil).want(t, 200).into(t, &all)
	if len(all) != 1 {
		t.Errorf("a refused transfer is there: %+v", all)
	}
}

// A transfer ends when its sender says, to the second, but no later than is
// allowed; whatever number says it is understood.
func TestFileSenderExpires(t *testing.T) {
	const day = 24 * time.Hour
	h := newHouse(t, store.Options{}, Options{FileSender: &FileSender{TTL: 2 * day, MaxTTL: 5 * day}})
	now := time.Now().Unix()
	for said, days := range map[string]float64{
		"null": 2, `""`: 2, fmt.Sprint(now + 86400): 1, fmt.Sprintf(`"%d"`, now+86400): 1, fmt.Sprintf("%d.75", now+86400): 1, fmt.Sprint(now + 86400*6): 5,
		"1e30": 5, "1e400": 5, "9223372036854775807": 5, "9223372036854775808": 5, "0": 0, "-1": 0, "-1e30": 0,
	} {
		for path, rest := range map[string]string{"transfer": `"files":[{"name":"a","size":1}],"recipients":["bob@example.net"]`, "guest": `"recipient":"bob@example.net"`} {
			if path == "guest" && days == 2 {
				continue // they live as long as they may
			}
			var made struct{ Expires struct{ Raw int64 } }
			h.fs(signNew, "POST", "/rest.php/"+path, "alice", nil, []byte(`{"expires":`+said+`,`+rest+`}`)).want(t, 201).into(t, &made)
			if off := time.Duration(made.Expires.Raw-now)*time.Second - time.Duration(days*float64(day)); off < 0 || off > time.Minute {
				t.Errorf("%s with %s ends %v too late", path, said, off)
			}
		}
	}
	for _, bad := range []string{"true", "{}", `"tomorrow"`, `"2030-01-01"`, `"NaN"`} {
		fsMessage(t, h.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, []byte(`{"expires":`+bad+`,"files":[{"name":"a","size":1}],"recipients":["bob@example.net"]}`)), 400, "rest_bad_parameter")
	}
}

// Who sends a chunk that is too large for this server hears of it, and sees no
// broken connection; also a client that does not listen while it sends.
func TestFileSenderLargeChunk(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{FileSender: &FileSender{ChunkSize: 4 << 20}})
	r := fsRequest(t, signNew, "PUT", h.url+"/rest.php/file/1/chunk/0", "alice", nil, make([]byte, 12<<20))
	conn, err := net.Dial("tcp", r.URL.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	fsMessage(t, answer{resp, body}, 400, "file_chunk_out_of_bounds")
}

// The end of a transfer is put off as often as is allowed, whoever asks at once.
func TestFileSenderExtend(t *testing.T) {
	const day = 24 * time.Hour
	h := newHouse(t, store.Options{MaxSessionTTL: 25 * day}, Options{FileSender: &FileSender{TTL: 10 * day, Extensions: 2}})
	post := func() (tr fsTransfer) {
		h.fs(signNew, "POST", "/rest.php/transfer", "alice", nil, map[string]any{"files": []map[string]any{{"name": "a", "size": 1}}, "recipients": []string{"bob@example.net"}}).want(t, 201).into(t, &tr)
		return tr
	}
	tr := post()
	if tr.Extension != 10 {
		t.Errorf("%+v", tr)
	}
	var wg sync.WaitGroup
	var done atomic.Int64
	for range 6 {
		wg.Go(func() {
			a := h.fs(signNew, "PUT", "/rest.php/transfer/"+fsID(tr.ID), "alice", nil, map[string]any{"extend_expiry_date": true})
			if a.StatusCode == 200 {
				done.Add(1)
				return
			}
			fsMessage(t, a, 400, "transfer_expiry_extension_count_exceeded")
		})
	}
	wg.Wait()
	if done.Load() != 2 {
		t.Errorf("put off %d times", done.Load())
	}
	var later fsTransfer
	h.fs(signNew, "GET", "/rest.php/transfer/"+fsID(tr.ID), "alice", nil, nil).want(t, 200).into(t, &later)
	if by := later.Expires.Raw - tr.Expires.Raw; later.Extension != 0 || by < int64(15*day/time.Second) || by > int64(15*day/time.Second)+60 {
		t.Errorf("%+v, put off by %d s", later, by)
	}
	h = newHouse(t, store.Options{}, Options{FileSender: &FileSender{}})
	tr = post()
	fsMessage(t, h.fs(signNew, "PUT", "/rest.php/transfer/"+fsID(tr.ID), "alice", nil, map[string]any{"extend_expiry_date": true}), 400, "transfer_expiry_extension_not_allowed")
}

func TestFileSenderMaintenance(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{FileSender: &FileSender{Maintenance: true}})
	for method, path := range map[string]string{"GET": "/rest.php/info", "POST": "/filesender/rest.php/transfer", "PUT": "/rest.php/file/1/chunk/0", "DELETE": "/rest.php/transfer/1"} {
		fsMessage(t, h.fs(signNew, method, path, "alice", nil, nil), 503, "undergoing_maintenance")
	}
	for _, path := range []string{"/?s=download&token=x", "/filesender/?s=download&token=x", "/filesender?s=download&token=x"} {
		if a := h.do("GET", path, "", nil).want(t, 503); !strings.Contains(string(a.body), "Try again later") {
			t.Errorf("%s", a.body)
		}
	}
	h.upload("others are served", "")
}
