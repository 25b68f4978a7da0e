package client_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"fileshare/api"
	"fileshare/client"
	"fileshare/store"
)

func TestFiles(t *testing.T) {
	h := newHouse(t, store.Options{})
	ctx, c := t.Context(), as(t, h.url)
	var want []string
	for i := range 7 {
		tags := []string{"all"}
		if i%2 == 0 {
			tags = append(tags, "even")
		}
		want = append(want, upload(t, c, []byte("x"), client.UploadSpec{Name: fmt.Sprint(i), Tags: tags}).Name)
		time.Sleep(2 * time.Millisecond) // those of one millisecond come in any order
	}
	slices.Reverse(want)
	for _, page := range []int{0, 1, 3, 7} {
		var got []string
		for f, err := range c.Uploads(ctx, client.Query{Page: page}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, f.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %d: %v, want %v", page, got, want)
		}
	}
	n := 0
	var r client.Ref
	for f, err := range c.Uploads(ctx, client.Query{Tag: "even", Page: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		r = client.Ref{File: f.ID}
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d with the tag", n)
	}
	f, err := c.Patch(ctx, r, client.Patch{Name: new("new"), TTL: new(time.Hour), Tags: &[]string{}, MaxDownloads: new(int64(3))})
	if err != nil || f.Name != "new" || f.TTL != 3600 || len(f.Tags) != 0 || f.MaxDownloads != 3 {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err = c.Info(ctx, r); err != nil || f.Name != "new" {
		t.Errorf("%+v, %v", f, err)
	}
	_, err = as(t, h.url, func(o *client.Options) { o.User = "bob" }).Info(ctx, r)
	if client.KindOf(err) != api.CodeDenied {
		t.Errorf("%v", err)
	}
	if err := c.Delete(ctx, r); err != nil {
		t.Error(err)
	}
	err = c.Delete(ctx, r)
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Kind != api.CodeNotFound || e.Status != 404 || e.Message != "upload not found" {
		t.Errorf("%v", err)
	}
	for _, err := range as(t, h.url, func(o *client.Options) { o.Password = "no" }).Uploads(ctx, client.Query{}) {
		if client.KindOf(err) != api.CodeUnauthenticated {
			t.Errorf("%v", err)
		}
	}
}

func TestSessions(t *testing.T) {
	h := newHouse(t, store.Options{})
	ctx, c := t.Context(), as(t, h.url+"/rtc/fileshare")
	s, err := c.CreateSession(ctx, client.SessionSpec{Name: "call", TTL: time.Hour})
	if err != nil || s.Name != "call" || s.TTL != 3600 {
		t.Fatalf("%+v, %v", s, err)
	}
	if s, err = c.PatchSession(ctx, s.ID, client.Patch{Name: new("call 2")}); err != nil || s.Name != "call 2" {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = c.Session(ctx, s.ID); err != nil || s.Name != "call 2" {
		t.Errorf("%+v, %v", s, err)
	}
	for i := range 4 {
		if _, err := c.CreateSession(ctx, client.SessionSpec{Name: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
		upload(t, c, []byte{byte(i)}, client.UploadSpec{Name: fmt.Sprint(i), Session: s.ID})
	}
	n := 0
	for _, err := range c.Sessions(ctx, client.Query{Page: 2}) {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	var r client.Ref
	for f, err := range c.Files(ctx, s.ID, client.Query{Page: 3}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, f.Name)
		r = client.Ref{Session: s.ID, File: f.ID}
	}
	if n != 5 || !slices.Equal(names, []string{"3", "2", "1", "0"}) {
		t.Errorf("%d sessions, files %v", n, names)
	}

	token, err := c.CreateToken(ctx, r, client.TokenSpec{TTL: time.Minute, MaxDownloads: 2})
	if err != nil || token.MaxDownloads != 2 {
		t.Fatalf("%+v, %v", token, err)
	}
	stranger := as(t, h.url, func(o *client.Options) { o.User = "" })
	if got := content(t, stranger, token.URL); !bytes.Equal(got, []byte{0}) {
		t.Errorf("%q", got)
	}
	var all []api.Token
	for got, err := range c.Tokens(ctx, r, client.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, *got)
	}
	if len(all) != 1 || all[0].ID != token.ID || all[0].Downloads != 1 {
		t.Fatalf("%+v", all)
	}
	_, link, err := client.ParseLink(token.URL)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, link); err != nil {
		t.Error(err)
	}
	if _, err := stranger.Head(ctx, token.URL); client.KindOf(err) != api.CodeNotFound {
		t.Errorf("%v", err)
	}

	if token, err = c.CreateToken(ctx, r, client.TokenSpec{Access: "read"}); err != nil || token.Access != "read" {
		t.Fatalf("%+v, %v", token, err)
	}
	for range 3 {
		content(t, stranger, token.URL)
	}

	var b bytes.Buffer
	if _, err := c.Download(ctx, c.ArchiveLink(s.ID, "zip"), &b, nil); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil || len(z.File) != 4 {
		t.Errorf("%v", err)
	}
	if err := c.DeleteSession(ctx, s.ID); err != nil {
		t.Error(err)
	}
	if _, err := c.Session(ctx, s.ID); client.KindOf(err) != api.CodeNotFound {
		t.Errorf("%v", err)
	}
}

func TestParseLink(t *testing.T) {
	const a, b, c = "88e5905d-5d96-4750-ab3d-77a1ed26f569", "88e5905d-5d96-4750-ab3d-77a1ed26f560", "88e5905d-5d96-4750-ab3d-77a1ed26f561"
	for _, tc := range []struct {
		link, base string
		ref        client.Ref
	}{
		{a, "", client.Ref{File: a}},
		{"http://h/uploads/" + a, "http://h", client.Ref{File: a}},
		{"https://h:1446/rtc/fileshare/uploads/" + a + "/info?x=1#y", "https://h:1446/rtc/fileshare", client.Ref{File: a}},
		{"http://h/uploads/" + a + "/tokens/" + b, "http://h", client.Ref{File: a, Token: b}},
		{"http://h/sessions/" + a, "http://h", client.Ref{Session: a}},
		{"http://h/sessions/" + a + "/files/" + b, "http://h", client.Ref{Session: a, File: b}},
		{"http://h/p/sessions/" + a + "/files/" + b + "/tokens/" + c, "http://h/p", client.Ref{Session: a, File: b, Token: c}},
	} {
		base, ref, err := client.ParseLink(tc.link)
		if err != nil || base != tc.base || ref != tc.ref {
			t.Errorf("%s: %q %+v %v", tc.link, base, ref, err)
		}
		if base == "" {
			continue
		}
		cl, err := client.New(client.Options{URL: base})
		if err != nil {
			t.Fatal(err)
		}
		if got := cl.Link(ref); got != tc.link && tc.link[len(got)] != '/' {
			t.Errorf("%s became %s", tc.link, got)
		}
	}
	for _, bad := range []string{"", "x", "/uploads/" + a, "ftp://h/uploads/" + a, "http://h", "http://h/uploads/x", "http://h/uploads/../" + a, "http://h/files/" + a, a[1:], a + "0", "http:///uploads/" + a, "http://h/sessions/x/files/" + a, "http://h/uploads/x/tokens/" + a} {
		if base, ref, err := client.ParseLink(bad); err == nil {
			t.Errorf("%q: %q %+v", bad, base, ref)
		}
	}
	for link, want := range map[string]string{"http://h/shares/" + a: "http://h", "https://h:1/rtc/fileshare/shares/" + a + "/?x": "https://h:1/rtc/fileshare"} {
		if base, ok := client.ParseShare(link); !ok || base != want {
			t.Errorf("%s: %q %v", link, base, ok)
		}
	}
	for _, bad := range []string{a, "http://h/shares/x", "http://h/uploads/" + a, "/shares/" + a, "http://h/shares/" + a + "/archive"} {
		if base, ok := client.ParseShare(bad); ok {
			t.Errorf("%q: %q", bad, base)
		}
	}
	for _, bad := range []string{"", "h", "ftp://h", "http://", "h:80"} {
		if _, err := client.New(client.Options{URL: bad}); err == nil {
			t.Errorf("%q is taken for a server", bad)
		}
	}
}

// FuzzParseLink makes the same link again of what it found in one.
func FuzzParseLink(f *testing.F) {
	const id = "88e5905d-5d96-4750-ab3d-77a1ed26f569"
	for _, link := range []string{id, "http://h/p/uploads/" + id, "https://u:p@h:1/sessions/" + id + "/files/" + id + "/tokens/" + id, "http://h/sessions/" + id + "/info"} {
		f.Add(link)
	}
	f.Fuzz(func(t *testing.T, link string) {
		base, ref, err := client.ParseLink(link)
		if err != nil || base == "" {
			return
		}
		c, err := client.New(client.Options{URL: base})
		if err != nil {
			t.Fatalf("%q has the base %q: %v", link, base, err)
		}
		again, same, err := client.ParseLink(c.Link(ref))
		if err != nil || same != ref || again != c.URL() {
			t.Errorf("%q became %q %+v, then %q %+v %v", link, base, ref, again, same, err)
		}
	})
}
