package molgenis

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestIDs(t *testing.T) {
	const uuid, id = "88e5905d-5d96-4750-ab3d-77a1ed26f569", "rdszaxk5szdvbkz5o6q62jxvne"
	if got := fromEngine(uuid); got != id {
		t.Errorf("%s, want %s", got, id)
	}
	if got, ok := toEngine(id); !ok || got != uuid {
		t.Errorf("%s, %v", got, ok)
	}
	for _, bad := range []string{"", "v1", uuid, strings.ToUpper(id), id + "a", id[:25], id[:25] + "f", id[:25] + "1", strings.Repeat("=", 26)} {
		if got, ok := toEngine(bad); ok {
			t.Errorf("%q is %s", bad, got)
		}
	}
	if got := fromEngine("nonsense"); got != "" {
		t.Errorf("nonsense is %s", got)
	}
}

func TestFileName(t *testing.T) {
	for header, want := range map[string]string{
		"":                     "unknown",
		"logo_green.png":       "logo_green.png",
		"/home/me/data set.gz": "/home/me/data set.gz",
		"caf\xe9.txt":          "café.txt", // as browsers send it
		"café.txt":             "café.txt", // as curl sends it
		"\xa4\xff":             "¤ÿ",
	} {
		if got := fileName(header); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

func TestMediaType(t *testing.T) {
	for header, want := range map[string]string{
		"":                                 typeless,
		"None":                             typeless,
		"image/png":                        "image/png",
		"text/csv;charset=UTF-8":           "text/csv;charset=UTF-8",
		"Text/CSV; Charset=utf-8":          "Text/CSV; Charset=utf-8",
		"image/":                           typeless,
		"/png":                             typeless,
		"text/plain; x=\"a\x01\"":          typeless,
		"text/" + strings.Repeat("a", 255): typeless,
	} {
		if got := mediaType(header); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

func TestForms(t *testing.T) {
	for header, want := range map[string]bool{
		"multipart/form-data":                   true,
		"Multipart/Form-Data; boundary=x":       true,
		"application/x-www-form-urlencoded":     true,
		" APPLICATION/x-www-form-urlencoded ;x": true,
		"application/x-www-form-urlencoded2":    false,
		"multipart/mixed; boundary=x":           false,
		"":                                      false,
	} {
		if got := isForm(header); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
}

func FuzzIDs(f *testing.F) {
	f.Add("rdszaxk5szdvbkz5o6q62jxvne")
	f.Add("aaaac2mp6yoxgaavluayxfiaae")
	f.Fuzz(func(t *testing.T, id string) {
		uuid, ok := toEngine(id)
		if !ok {
			return
		}
		if back := fromEngine(uuid); back != id || len(uuid) != 36 {
			t.Errorf("%q is %q, and that is %q", id, uuid, back)
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("text/csv; charset=utf-8")
	f.Add("None")
	f.Add("caf\xe9.txt")
	f.Fuzz(func(t *testing.T, header string) {
		if name := fileName(header); name == "" || !utf8.ValidString(name) {
			t.Errorf("%q: name %q", header, name)
		}
		kept := mediaType(header)
		if kept != typeless && kept != header || len(kept) > mostType || !printable(kept) {
			t.Errorf("%q: type %q", header, kept)
		}
		if !sameType(kept, kept) {
			t.Errorf("%q: type %q is not itself", header, kept)
		}
	})
}
