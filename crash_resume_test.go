package main

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"net/http"
	"strconv"

	"fileshare/api"
)

// The part of TestCrash that is about resumable uploads: an offset that was told
// never goes back, and what is before it are the bytes that were sent.

// resume begins a resumable upload or goes on with one, by some bytes.
func (m *crashModel) resume(d *e2eDaemon, rng *rand.Rand) bool {
	var f *crashFile
	m.mu.Lock()
	for _, f = range m.files {
		if f.state == crashResumable && !f.held {
			f.held = true
			break
		}
		f = nil
	}
	m.mu.Unlock()
	if f == nil {
		f = m.newFile(rng, crashTrying)
		a, alive := m.try(d, "POST", "/tus/", nil, "Tus-Resumable", "1.0.0", "Upload-Length", strconv.Itoa(len(f.content)),
			"Upload-Metadata", "filename "+base64.StdEncoding.EncodeToString([]byte(f.name)))
		if a == nil {
			m.add(func(c *crashCount) { c.Cut++ })
			return false
		}
		if a.status != http.StatusCreated {
			m.t.Errorf("creation: %v", a)
			return false
		}
		m.mu.Lock()
		f.resource, f.state = e2eID(a), crashResumable
		f.path = "/uploads/" + f.resource[len("/tus/"):]
		if len(f.content) == 0 { // complete at once
			f.state, f.held = crashStored, false
			m.count.Uploads++
		}
		m.mu.Unlock()
		if !alive || len(f.content) == 0 {
			return alive
		}
	}
	left := len(f.content) - f.acked
	n := 1 + rng.IntN(left)
	if rng.IntN(2) == 0 {
		n = left
	}
	return m.append(d, f, n)
}

// append adds the next n bytes of an upload, which the caller holds.
func (m *crashModel) append(d *e2eDaemon, f *crashFile, n int) bool {
	f.sent = f.acked + n
	a, alive := m.try(d, "PATCH", f.resource, bytes.NewReader(f.content[f.acked:f.sent]),
		"Tus-Resumable", "1.0.0", "Content-Type", "application/offset+octet-stream", "Upload-Offset", strconv.Itoa(f.acked))
	if a == nil {
		m.add(func(c *crashCount) { c.CutAppends++ })
		return false
	}
	if a.status != http.StatusNoContent || a.header.Get("Upload-Offset") != strconv.Itoa(f.sent) {
		m.t.Errorf("%s at %d of %d, %d more: %v %v", f.name, f.acked, len(f.content), n, a, a.header)
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count.Appends++
	f.acked, f.held = f.sent, false
	if f.acked == len(f.content) {
		f.state = crashStored
		m.count.Uploads++
	}
	return alive
}

// verifyResumable asks how much of an upload outlived its daemon.
func (m *crashModel) verifyResumable(d *e2eDaemon, f *crashFile, info api.File, there bool) {
	if there && info.State == "UPLOADED" && f.sent == len(f.content) { // it had no answer
		m.count.CutWhole++
		m.count.Uploads++
		f.acked, f.state = f.sent, crashStored
		return
	}
	a := d.do("HEAD", f.resource, nil, "Tus-Resumable", "1.0.0")
	at, err := strconv.Atoi(a.header.Get("Upload-Offset"))
	if !there || info.State != "UPLOADING" || a.status != http.StatusOK || err != nil || at < f.acked || at > f.sent || info.Size != int64(at) {
		m.t.Errorf("%s: %d of %d bytes were acknowledged and %d sent, now: %v %+v, %d %v", f.name, f.acked, len(f.content), f.sent, there, info, a.status, a.header)
		return
	}
	m.count.Resumed++
	f.acked, f.sent = at, at
}
