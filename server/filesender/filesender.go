// Package filesender speaks the REST API of FileSender, version 2 and 3, as its
// clients use it: transfers of many files in chunks, recipients with a link each,
// the page and the calls by which they download.
//
// A transfer is a session of the engine, its files are the session's files, a
// recipient is a share of the session, and a guest is an invitation. What the engine has no word for (options,
// subject, the state of a transfer) is kept in attributes. The numbers that
// clients use for ids are sequences of the engine.
//
// The site is served at the root and below /filesender; REST calls are below
// rest.php of either.
package filesender

import (
	"net/http"
	"strings"
	"time"

	"fileshare/server/dialect"
	"fileshare/server/reply"
)

// Options configures [New]. The zero value works.
type Options struct {
	Name string // of the site; default "fileshare"
	// Maintenance answers every call with undergoing_maintenance.
	Maintenance bool
	// ChunkSize is the most bytes of a chunk; default 5 MiB.
	ChunkSize int64
	// TTL is how long a transfer lives that does not say, MaxTTL the most that
	// one may ask for: more is taken as that. Default 10 and 20 days.
	TTL, MaxTTL time.Duration
	// Unfinished is how long a file waits for its next chunk before it is given
	// up; default 7 days.
	Unfinished time.Duration
	// Extensions is how often the end of a transfer may be put off, each time
	// by TTL and as far as the engine lets a session live.
	Extensions int
	// Files and Recipients are the most that a transfer may have; default 100
	// and 50.
	Files, Recipients int
	// Size is the most bytes of all files of a transfer; 0 = no limit.
	Size int64
	// Banned are endings of names of files that are not taken, without a dot,
	// letters of either case alike.
	Banned []string
	// Threads is how many chunks a client may send at a time; default 4.
	Threads int
	// Day is the time from one daily summary to the next; default 24 h.
	Day time.Duration
}

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name = "fileshare"
	}
	if o.ChunkSize <= 0 {
		o.ChunkSize = 5 << 20
	}
	if o.TTL <= 0 {
		o.TTL = 10 * 24 * time.Hour
	}
	if o.MaxTTL <= 0 {
		o.MaxTTL = 20 * 24 * time.Hour
	}
	if o.Unfinished <= 0 {
		o.Unfinished = 7 * 24 * time.Hour
	}
	if o.Files <= 0 {
		o.Files = 100
	}
	if o.Recipients <= 0 {
		o.Recipients = 50
	}
	if o.Day <= 0 {
		o.Day = 24 * time.Hour
	}
	if o.Threads <= 0 {
		o.Threads = 4
	}
	return o
}

type api struct {
	dialect.Host
	o      Options
	habits *habits
}

func newAPI(h dialect.Host, o Options) *api {
	return &api{h, o.withDefaults(), &habits{of: map[string]uint32{}}}
}

// site is where the site lies besides the root.
const site = "/filesender"

// New makes the API.
func New(h dialect.Host, o Options) dialect.API {
	a := newAPI(h, o)
	var routes, pages []dialect.Route
	for _, base := range []string{"", site} {
		rest := base + "/rest.php"
		routes = append(routes,
			dialect.Route{Path: rest + "/info", Get: a.info},
			dialect.Route{Path: base + "/filesender-config.js.php", Get: a.config},
			dialect.Route{Path: base + "//filesender-config.js.php", Get: a.config}, // as the official clients ask
			dialect.Route{Path: base + "/download.php", Get: a.download, Post: a.download},
			dialect.Route{Path: rest + "/transfer", Get: a.listTransfers(false), Post: a.postTransfer},
			dialect.Route{Path: rest + "/transfer/@me", Get: a.listTransfers(false)},
			dialect.Route{Path: rest + "/transfer/@all", Get: a.listTransfers(true)},
			dialect.Route{Path: rest + "/transfer/fileidsextended", Get: a.fileIDs(true)},
			dialect.Route{Path: rest + "/transfer/fileids", Get: a.fileIDs(false)},
			dialect.Route{Path: rest + "/transfer/{id:[0-9]+}", Get: a.getTransfer, Put: a.putTransfer, Delete: a.deleteTransfer},
			dialect.Route{Path: rest + "/transfer/{id:[0-9]+}/options", Get: a.transferOptions},
			dialect.Route{Path: rest + "/transfer/{id:[0-9]+}/auditlog", Get: a.auditLog},
			dialect.Route{Path: rest + "/transfer/{id:[0-9]+}/auditlog/mail", Get: a.auditMail},
			dialect.Route{Path: rest + "/transfer/{id:[0-9]+}/recipient", Post: a.postRecipient},
			dialect.Route{Path: rest + "/recipient/{id:[0-9]+}", Get: a.getRecipient, Put: a.putRecipient, Delete: a.deleteRecipient},
			dialect.Route{Path: rest + "/guest", Get: a.listGuests, Post: a.postGuest},
			dialect.Route{Path: rest + "/guest/@me", Get: a.listGuests},
			dialect.Route{Path: rest + "/guest/{id:[0-9]+}", Get: a.getGuest, Put: a.putGuest, Delete: a.deleteGuest},
			dialect.Route{Path: rest + "/guest/{id:[0-9]+}/transfers", Get: a.guestTransfers},
			dialect.Route{Path: rest + "/file/{id:[0-9]+}", Get: a.getFile, Put: a.putFile, Delete: a.deleteFile},
			dialect.Route{Path: rest + "/file/{id:[0-9]+}/chunk/{offset:[0-9]+}", Put: a.putChunk},
			dialect.Route{Path: rest, Get: a.elsewhere, Post: a.elsewhere, Put: a.elsewhere, Delete: a.elsewhere},
			dialect.Route{Path: rest + "/{rest:.*}", Get: a.elsewhere, Post: a.elsewhere, Put: a.elsewhere, Delete: a.elsewhere},
		)
		if base != "" {
			pages = append(pages, dialect.Route{Path: base, Get: a.page}, dialect.Route{Path: base + "/", Get: a.page})
		}
	}
	if a.o.Maintenance {
		for i := range routes {
			rt := &routes[i]
			for _, h := range []*dialect.Handler{&rt.Get, &rt.Post, &rt.Put, &rt.Delete} {
				if *h != nil {
					*h = a.maintained
				}
			}
		}
	}
	return dialect.API{Name: "filesender", Routes: append(routes, pages...), Fail: a.fail}
}

// maintained is every call while nobody is to be served.
func (a *api) maintained(_ http.ResponseWriter, r *http.Request) error {
	return a.drained(r, errMaintenance)
}

var errMaintenance = fault(http.StatusServiceUnavailable, "undergoing_maintenance")

// Site is the page that the site shows at the root, where another page may be.
func Site(h dialect.Host, o Options) dialect.Handler {
	a := newAPI(h, o)
	return a.page
}

// elsewhere is every path of the API that leads nowhere.
func (a *api) elsewhere(_ http.ResponseWriter, r *http.Request) error {
	switch endpoint, _, _ := strings.Cut(a.Var(r, "rest"), "/"); endpoint {
	case "":
		return fault(http.StatusBadRequest, "rest_endpoint_missing")
	case "info", "transfer", "file", "recipient", "guest": // no number, or more behind it
		return &faultError{http.StatusBadRequest, "rest_bad_parameter", "path"}
	default:
		return fault(http.StatusNotImplemented, "rest_endpoint_not_implemented")
	}
}

// siteURL is the address of the site, without a slash at its end.
func (a *api) siteURL(r *http.Request) string {
	base := a.Base(r)
	if r.URL.Path == site || strings.HasPrefix(r.URL.Path, site+"/") { // not filesender-config.js.php at the root
		base += site
	}
	return base
}

// info is what every client asks first (contract §5).
func (a *api) info(w http.ResponseWriter, r *http.Request) error {
	url := a.siteURL(r)
	return reply.JSON(w, map[string]any{
		"url": url + "/", "name": a.o.Name, "logon_url": url + "/?s=logon", "upload_chunk_size": a.o.ChunkSize,
	})
}
