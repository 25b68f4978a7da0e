package page

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

func TestNothingFromElsewhere(t *testing.T) {
	name := `"><script>alert(1)</script>` + "\u202egpj.exe"
	landing, err := RenderLanding(Landing{Name: name, Type: "text/plain", Size: Bytes(1 << 20), Left: "1 hour", Downloads: 1})
	if err != nil {
		t.Fatal(err)
	}
	problem, err := RenderProblem(Problem{Status: 410, Title: "Gone", Message: name})
	if err != nil {
		t.Fatal(err)
	}
	start, err := RenderStart(Start{Base: "http://host/p", Docs: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{string(landing), string(problem), string(start)} {
		for _, bad := range []string{"<script", "src=", "@import", "url(", "<link", "ZgotmplZ"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s in %s", bad, page)
			}
		}
		for _, want := range []string{`<html lang="en">`, `content="noindex, nofollow"`, "prefers-color-scheme:dark", "<main>", "<h1>"} {
			if !strings.Contains(page, want) {
				t.Errorf("no %s in %s", want, page)
			}
		}
	}
	if !strings.Contains(string(landing), "one left") || !strings.Contains(string(landing), "&lt;script&gt;alert(1)&lt;/script&gt;\ufffdgpj.exe") {
		t.Errorf("%s", landing)
	}
	if strings.Contains(string(landing[:strings.Index(string(landing), "<body>")]), "gpj") {
		t.Error("the file's name is in the head, where previews look")
	}
}

// The upload page has one script, the very one that its header allows, and what
// an inviter writes stays text.
func TestUpload(t *testing.T) {
	evil := `"><script>alert(1)</script>`
	html, sum, err := RenderUpload(Upload{Speaks: "filesender", Title: evil, Message: evil, From: evil, Base: "https://host/" + evil, Invitation: evil, MaxFiles: 3, MaxSize: 1 << 30, To: true, Note: true})
	if err != nil {
		t.Fatal(err)
	}
	page := string(html)
	_, script, _ := strings.Cut(page, "<script>")
	script, _, _ = strings.Cut(script, "</script>")
	if h := sha256.Sum256([]byte(script)); base64.StdEncoding.EncodeToString(h[:]) != sum {
		t.Error("another script than the header allows")
	}
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("%d scripts", n)
	}
	for _, bad := range []string{"src=", "@import", "url(", "<link", "ZgotmplZ", "eval(", "innerHTML", "http://", `onclick="`} {
		if strings.Contains(page, bad) {
			t.Errorf("%s in the page", bad)
		}
	}
	for _, want := range []string{"At most 3 files of together 1.0 GiB.", "<noscript><p", "<noscript><style>#form{display:none}</style></noscript>", `<html lang="en">`, `<label for="pick">`, `<label for="to">`, `role="status"`, `role="alert"`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s", want)
		}
	}
}

// Names are shown in the order that they have, and kept as they are for programs.
func TestShareNames(t *testing.T) {
	html, err := RenderShare(Share{Files: []SharedFile{{Name: "\u202egpj.exe"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<bdi>\ufffdgpj.exe</bdi>", `aria-label="Download ` + "\ufffdgpj.exe\"", "data-name=\"\u202egpj.exe\""} {
		if !strings.Contains(string(html), want) {
			t.Errorf("no %q in %s", want, html)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1: "1 byte", 1023: "1023 bytes", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 3 << 50: "3072.0 TiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
