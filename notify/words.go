package notify

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	html "html/template"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	text "text/template"
	"time"
	"unicode"

	"fileshare/store"
)

//go:embed mail
var embedded embed.FS

// templates are the words of letters. Of each kind there is KIND.txt: its first
// line is the subject, what comes after an empty line the text. The HTML beside
// it is made of the text by layout.html, unless there is a KIND.html.
type templates struct {
	text *text.Template
	html *html.Template
}

// parseTemplates reads the embedded templates, and those of a directory that
// stand in for them. A file whose name is none of ours is an error: it would
// never be used.
func parseTemplates(dir string) (*templates, error) {
	ours, err := fs.Sub(embedded, "mail")
	if err != nil {
		return nil, err
	}
	t := &templates{text.New("").Funcs(words()), html.New("").Funcs(words())}
	if err := t.parse(ours, func(string) bool { return true }); err != nil || dir == "" {
		return t, err
	}
	known := func(name string) bool {
		kind, isHTML := strings.CutSuffix(name, ".html")
		return t.text.Lookup(name) != nil || name == "layout.html" || isHTML && t.text.Lookup(kind+".txt") != nil
	}
	if err := t.parse(os.DirFS(dir), known); err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	// What is wrong with one shows when it is used; once here, and not at night.
	for _, x := range t.text.Templates() {
		kind, ok := strings.CutSuffix(x.Name(), ".txt")
		if !ok || kind == "parts" { // which is for the others
			continue
		}
		if _, _, _, err := t.render(&store.Letter{Kind: kind, Files: []store.LetterFile{{}}, Readers: []store.LetterReader{{}}, Log: []store.LetterLine{{}}}); err != nil {
			return nil, fmt.Errorf("templates: %w", err)
		}
	}
	return t, nil
}

// mostTemplate bounds a template file.
const mostTemplate = 256 << 10

func (t *templates) parse(from fs.FS, known func(string) bool) error {
	entries, err := fs.ReadDir(from, ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if ext := path.Ext(name); e.IsDir() || ext != ".txt" && ext != ".html" {
			continue
		}
		if !known(name) {
			return errors.New(name + " is the name of no template")
		}
		b, err := fs.ReadFile(from, name)
		if err == nil && len(b) > mostTemplate {
			err = errors.New(name + " is too long")
		}
		if err != nil {
			return err
		}
		if path.Ext(name) == ".txt" {
			_, err = t.text.New(name).Parse(string(b))
		} else {
			_, err = t.html.New(name).Parse(string(b))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// layout is what layout.html is given.
type layout struct {
	*store.Letter
	Title string
	Text  []string // its paragraphs
}

// render writes a letter.
func (t *templates) render(l *store.Letter) (subject, plain, rich string, err error) {
	var b bytes.Buffer
	if err := t.text.ExecuteTemplate(&b, l.Kind+".txt", l); err != nil {
		return "", "", "", err
	}
	first, rest, _ := strings.Cut(strings.TrimLeft(b.String(), "\n"), "\n")
	subject, plain = line(first), strings.TrimSpace(rest)+"\n"
	if subject == "" {
		subject = "(no subject)"
	}
	name := l.Kind + ".html"
	if t.html.Lookup(name) == nil {
		name = "layout.html"
	}
	var h bytes.Buffer
	err = t.html.ExecuteTemplate(&h, name, layout{l, subject, strings.Split(strings.TrimSpace(plain), "\n\n")})
	return subject, plain, h.String(), err
}

// mostSubject is the most letters of a subject.
const mostSubject = 200

// line makes one line of a text: what users say must not become a header or
// another line.
func line(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(c rune) bool { return unicode.IsControl(c) || c == 0x2028 || c == 0x2029 }), " ")
	if r := []rune(s); len(r) > mostSubject {
		s = string(r[:mostSubject-1]) + "…"
	}
	return strings.TrimSpace(s)
}

// words are the functions of templates.
func words() map[string]any {
	return map[string]any{"line": line, "size": size, "date": date, "lines": func(s string) []string { return strings.Split(s, "\n") },
		"link": func(s string) bool { return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://") }}
}

func date(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2 January 2006, 15:04 UTC")
}

// size writes bytes for people, in powers of 1024.
func size(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " bytes"
	}
	f, units := float64(n)/1024, []string{"KiB", "MiB", "GiB", "TiB"}
	for f >= 1024 && len(units) > 1 {
		f, units = f/1024, units[1:]
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[0]
}
