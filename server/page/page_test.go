package page

import (
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

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 3 << 50: "3072.0 TiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
