package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"fileshare/api"
)

// Query chooses what a list has.
type Query struct {
	Tag  string // only files with this tag
	Page int    // entries asked for at once, 1 to 1000; default 100
}

func (q Query) values() url.Values {
	v := url.Values{}
	if q.Tag != "" {
		v.Set("tag", q.Tag)
	}
	if q.Page != 0 {
		v.Set("limit", strconv.Itoa(q.Page))
	}
	return v
}

// Uploads lists the account's uploads, newest first; administrators see those
// of all. Pages are fetched as they are needed. After an error there is no more.
func (c *Client) Uploads(ctx context.Context, q Query) iter.Seq2[*api.File, error] {
	return listed[*api.File](ctx, c, "/uploads", q)
}

// listed fetches the pages of a list as they are needed.
func listed[T any](ctx context.Context, c *Client, path string, q Query) iter.Seq2[T, error] {
	return pages(q.values(), func(v url.Values) ([]T, string, error) {
		var page api.List[T]
		_, err := c.json(ctx, call{method: http.MethodGet, path: path, query: v}, &page)
		return page.Items, text(page.Next), err
	})
}

// Files lists the files of a session, newest first, as Uploads does.
func (c *Client) Files(ctx context.Context, session string, q Query) iter.Seq2[*api.File, error] {
	return pages(q.values(), func(v url.Values) ([]*api.File, string, error) {
		return array[*api.File](ctx, c, Ref{Session: session}.path()+"/files", v)
	})
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// array fetches a page of a list that is a bare array, with the cursor of the
// next page in a Link header.
func array[T any](ctx context.Context, c *Client, path string, v url.Values) (page []T, next string, err error) {
	h, err := c.json(ctx, call{method: http.MethodGet, path: path, query: v}, &page)
	if err != nil {
		return nil, "", err
	}
	// Of the address only the cursor counts: it may be another name of the server.
	address, rest, ok := strings.Cut(strings.TrimPrefix(h.Get("Link"), "<"), ">")
	if !ok || !strings.Contains(rest, `rel="next"`) {
		return page, "", nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return page, "", nil
	}
	return page, u.Query().Get("cursor"), nil
}

// pages walks over pages until there is no cursor.
func pages[T any](v url.Values, fetch func(url.Values) (page []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			page, next, err := fetch(v)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
			if next == "" || next == v.Get("cursor") {
				return
			}
			v.Set("cursor", next)
		}
	}
}

// Info returns what the server knows of a file.
func (c *Client) Info(ctx context.Context, r Ref) (*api.File, error) {
	f := new(api.File)
	_, err := c.json(ctx, call{method: http.MethodGet, path: Ref{Session: r.Session, File: r.File}.path() + "/info"}, f)
	return f, err
}

// Patch says what changes of a file or session; nil stays as it is.
type Patch struct {
	Name         *string        // of either
	TTL          *time.Duration // from now on, in whole seconds
	Tags         *[]string      // of files
	MaxDownloads *int64         // of files; 0 = unlimited
}

func (p Patch) fields() map[string]any {
	m := map[string]any{}
	if p.Name != nil {
		m["name"] = *p.Name
	}
	if p.TTL != nil {
		m["ttl"] = whole(*p.TTL)
	}
	if p.Tags != nil {
		m["tags"] = *p.Tags
	}
	if p.MaxDownloads != nil {
		m["max_downloads"] = *p.MaxDownloads
	}
	return m
}

// Patch changes a file.
func (c *Client) Patch(ctx context.Context, r Ref, p Patch) (*api.File, error) {
	f := new(api.File)
	_, err := c.json(ctx, call{method: http.MethodPatch, path: r.path(), send: p.fields()}, f)
	return f, err
}

// Delete removes a file, or a token that the reference names.
func (c *Client) Delete(ctx context.Context, r Ref) error {
	_, err := c.json(ctx, call{method: http.MethodDelete, path: r.path()}, nil)
	return err
}
