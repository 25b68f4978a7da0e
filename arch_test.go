package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestArrows enforces DESIGN.md, "The arrows": who may import whom.
func TestArrows(t *testing.T) {
	const module = "fileshare"
	// What a package may import of this module. A key that ends in /* speaks
	// for every package below it that has no key of its own.
	inside := map[string][]string{
		".":                     {"cli", "server", "reaper", "notify", "store", "store/bolt", "store/dir", "store/postgres", "store/s3"},
		"api":                   {},
		"client":                {"api"},
		"cli":                   {"client", "api"},
		"store":                 {},
		"store/storetest":       {"store"},
		"store/postgres/pgtest": {},
		"store/s3/s3test":       {},
		"store/*":               {"store"},
		"server": {"store", "api", "server/reply", "server/page", "server/multipart", "server/archive", "server/dialect",
			"server/filesender", "server/extrahorizon", "server/opentera", "server/molgenis"},
		"server/reply":               {"store", "api"},
		"server/page":                {},
		"server/multipart":           {},
		"server/archive":             {},
		"server/dialect":             {"store", "server/reply", "server/multipart"},
		"server/*":                   {"store", "api", "server/reply", "server/page", "server/dialect", "server/archive"},
		"server/extrahorizon":        {"store", "api", "server/reply", "server/dialect", "server/multipart", "server/extrahorizon/rql", "server/extrahorizon/oauth1"},
		"server/extrahorizon/rql":    {},
		"server/extrahorizon/oauth1": {},
		"reaper":                     {"store"},
		"notify":                     {"store"},
		"notify/mailtest":            {},
	}
	// Modules that only some packages may import.
	outside := map[string][]string{
		"github.com/spf13/viper":              {"."},
		"github.com/spf13/cobra":              {".", "cli"},
		"github.com/schollz/progressbar/v3":   {"cli"},
		"rsc.io/qr":                           {"cli"},
		"github.com/robfig/cron/v3":           {"reaper"},
		"github.com/gorilla/mux":              {"server", "server/*"},
		"github.com/google/btree":             {"store/bolt"},
		"go.etcd.io/bbolt":                    {"store/bolt"},
		"github.com/jackc/pgx/v5":             {"store/postgres", "store/postgres/pgtest"},
		"github.com/minio/minio-go/v7":        {"store/s3"},
		"github.com/prometheus/client_golang": {"server", "."},
		"github.com/swaggest/swgui":           {"server"},
		"github.com/wneessen/go-mail":         {"notify"},
		"github.com/emersion/go-smtp":         {"notify/mailtest"},
		"github.com/tg123/go-htpasswd":        {"server"},
	}
	seen := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "tools" || strings.HasPrefix(d.Name(), ".") && file != ".") {
			return fs.SkipDir
		}
		if path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		seen++
		dir := filepath.ToSlash(filepath.Dir(file))
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		mine, ok := lookup(inside, dir)
		if !ok {
			t.Errorf("%s: package %s is not in the design", file, dir)
		}
		for _, spec := range tree.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if in, ok := strings.CutPrefix(name, module+"/"); ok {
				if !slices.Contains(mine, in) {
					t.Errorf("%s: %s must not import %s", file, dir, in)
				}
				continue
			}
			std := !strings.Contains(strings.Split(name, "/")[0], ".")
			if dir == "store" && (name == "net/http" || !std && !strings.HasPrefix(name, "golang.org/x/")) {
				t.Errorf("%s: the engine must not import %s", file, name)
			}
			if dir == "client" && !std {
				t.Errorf("%s: the client must not import %s", file, name)
			}
			for module, users := range outside {
				if (name == module || strings.HasPrefix(name, module+"/")) && !slices.ContainsFunc(users, func(u string) bool { return covers(u, dir) }) {
					t.Errorf("%s: %s must not import %s", file, dir, name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Errorf("only %d files seen", seen)
	}
}

// lookup finds the most precise key for a directory.
func lookup(rules map[string][]string, dir string) ([]string, bool) {
	if r, ok := rules[dir]; ok {
		return r, true
	}
	r, ok := rules[path.Dir(dir)+"/*"]
	return r, ok
}

func covers(pattern, dir string) bool {
	if below, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(dir, below+"/")
	}
	return pattern == dir
}
