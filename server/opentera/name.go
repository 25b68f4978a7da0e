package opentera

import (
	"mime"
	"path"
	"strings"

	"golang.org/x/text/unicode/norm"
)

const (
	nameless = "unnamed"                  // of a file name nothing of which is safe
	typeless = "application/octet-stream" // of a file name that tells no type
)

// safeName makes of a file name what the service keeps of it: no path, blanks
// as underscores, and of the rest only ASCII letters, digits, dot, dash and
// underscore; letters with marks lose the marks. Dots and underscores at both
// ends go, so that no name is hidden or a way up.
func safeName(name string) string {
	name = norm.NFKD.String(name)
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Join(strings.Fields(name), "_")
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return -1
	}, name)
	if name = strings.Trim(name, "._"); name == "" {
		return nameless
	}
	return name
}

// typeOfName is the type with which the service hands out a file: a guess from
// its name, whatever asset_type says.
func typeOfName(name string) string {
	if t := mime.TypeByExtension(strings.ToLower(path.Ext(name))); t != "" {
		return t
	}
	return typeless
}
