// Package page holds what people see in a browser: the page of a counted link,
// of an error, the start page, those of files that were sent and of somebody who is
// invited to send some. Everything is embedded; nothing needs another host, and
// only the last one a script.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

//go:embed *.html style.css upload.js
var files embed.FS

// pages are parsed once; html/template is safe for concurrent use.
var pages = template.Must(template.New("").Funcs(template.FuncMap{"style": style, "script": script, "shown": shown}).ParseFS(files, "*.html"))

// style is the sheet, ours and therefore trusted.
func style() (template.CSS, error) {
	css, err := files.ReadFile("style.css")
	return template.CSS(css), err
}

// script is that of the upload page, ours likewise.
func script() (template.JS, error) {
	js, err := files.ReadFile("upload.js")
	return template.JS(js), err
}

// Landing is the page of a counted link.
type Landing struct {
	Name, Type string
	Size       string // for people
	Expires    string // point in time
	Left       string // time left
	Downloads  int64  // left
}

// Problem is the page of an error.
type Problem struct {
	Status  int
	Title   string
	Message string // as programs get it
	Advice  string // may be empty
}

// Start is the page at the root.
type Start struct {
	Base string // of links
	Docs bool   // there is a description of the API
}

// Share is the page of files that were sent to somebody.
type Share struct {
	Title, Message, From string // by the sender; may be empty
	Files                []SharedFile
	All                  string // address of all of them as an archive; empty for a single one
	Left, Expires        string // time left, and the point in time
	Transfer             int64
	Encrypted            bool // by the sender: what is downloaded has to be decrypted
}

// SharedFile is a file of a Share.
type SharedFile struct {
	ID               int64
	Name, Type, Size string // Size for people
	Bytes, Stored    int64  // bytes, and of what is stored where that is encrypted
	URL              string

	// How it was encrypted, for clients that read it from the page.
	KeyVersion, PasswordVersion, Iterations int
	Salt, Encoding, Entropy, IV, AEAD       string
}

// RenderShare renders the page of files that were sent to somebody.
func RenderShare(d Share) ([]byte, error) { return render("share.html", d) }

// Upload is the page on which somebody who is invited sends files.
type Upload struct {
	Speaks               string // what its script speaks: filesender or native
	Title, Message, From string // by who invites; may be empty
	Left, Expires        string // time left, and the point in time
	Base                 string // path of the addresses that the script calls
	Invitation           string // its secret
	SecurityToken        string // of FileSender
	CSRFToken            string
	MaxFiles, MaxSize    int64 // bytes of all files together; 0 = no limit
	ChunkSize            int64 // most bytes of a request, 0 = whole files
	To, ToOptional       bool  // ask for addresses to send to
	Note                 bool  // ask for a message
}

// MaxSizeText is MaxSize for people, empty without a limit.
func (u Upload) MaxSizeText() string {
	if u.MaxSize == 0 {
		return ""
	}
	return Bytes(u.MaxSize)
}

// RenderUpload renders the page; sum is the SHA-256 of its script in base64.
func RenderUpload(d Upload) (html []byte, sum string, err error) {
	js, err := script()
	if err != nil {
		return nil, "", err
	}
	h := sha256.Sum256([]byte(js))
	html, err = render("upload.html", d)
	return html, base64.StdEncoding.EncodeToString(h[:]), err
}

// Left says a duration the way a person would, rounded down.
func Left(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int64(math.Floor(float64(d) / float64(u.unit))); n >= 1 {
			if n == 1 {
				return "1 " + u.name
			}
			return strconv.FormatInt(n, 10) + " " + u.name + "s"
		}
	}
	return "less than a minute"
}

// shown is the name of a file as people are to see it.
func shown(name string) string {
	return strings.Map(func(c rune) rune {
		if c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 {
			return 0xfffd // would show the end of a name as its middle: "exe.jpg"
		}
		return c
	}, name)
}

// RenderLanding renders the page of a counted link.
func RenderLanding(d Landing) ([]byte, error) { return render("landing.html", d) }

// RenderProblem renders the page of an error.
func RenderProblem(d Problem) ([]byte, error) { return render("problem.html", d) }

// RenderStart renders the start page.
func RenderStart(d Start) ([]byte, error) { return render("start.html", d) }

func render(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// Bytes writes a size for people, in powers of 1024 with one decimal.
func Bytes(n int64) string {
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
