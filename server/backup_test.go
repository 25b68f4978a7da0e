package server

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"fileshare/store"
)

func TestBackup(t *testing.T) {
	h := newHouse(t, store.Options{}, Options{})
	f := h.upload("a few words", "")
	for user, want := range map[string]int{"": 401, "alice": 403} {
		h.do("GET", "/backup", user, nil).want(t, want)
		h.do("HEAD", "/backup", user, nil).want(t, want)
	}
	if a := h.do("HEAD", "/backup", "root", nil).want(t, 200); len(a.body) > 0 {
		t.Errorf("HEAD has a body of %d bytes", len(a.body))
	}
	a := h.do("GET", "/backup", "root", nil).want(t, 200)
	if d := a.Header.Get("Content-Disposition"); !strings.HasPrefix(d, `attachment; filename="fileshare-2`) || a.Header.Get("Content-Type") != "application/x-tar" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", a.Header)
	}
	first, err := tar.NewReader(bytes.NewReader(a.body)).Next()
	if err != nil || first.Name != "backup.json" || !bytes.Contains(a.body, []byte("a few words")) {
		t.Errorf("%+v, %v, without %s", first, err, f.ID)
	}
}
