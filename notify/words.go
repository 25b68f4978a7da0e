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
	"regexp"
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
	subject, plain = line(first), strings.Trim(manyEmpty.ReplaceAllString(rest, "\n\n"), "\n")+"\n"
	if subject == "" {
		subject = "(no subject)"
	}
	name := l.Kind + ".html"
	if t.html.Lookup(name) == nil {
		name = "layout.html"
	}
	var h bytes.Buffer
	err = t.html.ExecuteTemplate(&h, name, layout{l, subject, strings.Split(strings.TrimSuffix(plain, "\n"), "\n\n")})
	return subject, plain, h.String(), err
}

// manyEmpty are empty lines where one is enough: what a template leaves out leaves some.
var manyEmpty = regexp.MustCompile(`\n{3,}`)

// mostSubject is the most letters of a subject.
const mostSubject = 200

// line makes one line of a text: what users say must not become a header or
// another line, nor be shown in another order than it has.
func line(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(c rune) bool { return unicode.In(c, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) }), " ")
	if r := []rune(s); len(r) > mostSubject {
		s = string(r[:mostSubject-1]) + "…"
	}
	return strings.TrimSpace(s)
}

// words are the functions of templates.
func words() map[string]any {
	return map[string]any{"line": line, "size": size, "date": date, "quote": quote, "happened": happened, "lines": func(s string) []string { return strings.Split(s, "\n") },
		"quoted": func(s string) []string { return behind(s, quoteMark) }, "listed": func(s string) []string { return behind(s, "  ") },
		"link": func(s string) bool { return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://") }}
}

// happened says in words what a line of a log tells.
func happened(l store.LetterLine) string {
	name, person := line(l.Name), line(l.Person)
	switch store.EventType(l.Event) {
	case store.SessionCreated:
		return "begun"
	case store.FileUploaded:
		return name + " uploaded"
	case store.TransferAvailable:
		return "complete"
	case store.TransferSent:
		return "sent to " + person
	case store.FileDownloaded, store.TransferArchived:
		if person == "" {
			person = "whoever has the link"
		}
		if name == "" {
			name = "an archive"
		}
		return name + " downloaded by " + person
	case store.FileDeleted:
		return name + " removed"
	case store.TransferReminded:
		return strings.TrimSpace("reminded " + person)
	case store.TransferWithdrawn:
		return "withdrawn from " + person
	case store.TransferAudited:
		return "this report asked for"
	case store.TransferExpired:
		return "expired"
	case store.TransferClosed:
		return "closed"
	}
	return strings.Join(strings.Fields(l.Event+" "+name+" "+person), " ")
}

// quoteMark begins each line of what is not ours.
const quoteMark = "> "

// quote marks what a user says, so that it is not taken for what we say: a paragraph
// of lines that begin with "> ".
func quote(s string) string {
	var b strings.Builder
	for l := range strings.Lines(strings.TrimSpace(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n").Replace(s))) {
		b.WriteString("\n" + quoteMark)
		b.WriteString(strings.Map(func(c rune) rune {
			if unicode.IsControl(c) && c != '\t' {
				return -1
			}
			return c
		}, l))
	}
	return strings.TrimPrefix(b.String(), "\n")
}

// behind is what comes behind the mark of each line of a paragraph; nil where not
// every line has it.
func behind(paragraph, mark string) (out []string) {
	for _, l := range strings.Split(paragraph, "\n") {
		l, ok := strings.CutPrefix(l, mark)
		if !ok {
			return nil
		}
		out = append(out, l)
	}
	return out
}

func date(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2 January 2006, 15:04 UTC")
}

// size writes bytes for people, in powers of 1024.
func size(n int64) string {
	if n == 1 {
		return "1 byte"
	}
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " bytes"
	}
	f, units := float64(n)/1024, []string{"KiB", "MiB", "GiB", "TiB"}
	for f >= 1024 && len(units) > 1 {
		f, units = f/1024, units[1:]
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[0]
}
