package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"

	"fileshare/api"
)

// SessionSpec says what a new session shall be. Zero values are the server's
// defaults.
type SessionSpec struct {
	Name string
	TTL  time.Duration // whole seconds
}

// CreateSession makes a session: a container of files that end with it.
func (c *Client) CreateSession(ctx context.Context, spec SessionSpec) (*api.Session, error) {
	send := map[string]any{}
	if spec.Name != "" {
		send["name"] = spec.Name
	}
	if spec.TTL != 0 {
		send["ttl"] = whole(spec.TTL)
	}
	s := new(api.Session)
	_, err := c.json(ctx, call{method: http.MethodPost, path: "/sessions", send: send}, s)
	return s, err
}

// Session returns what the server knows of a session.
func (c *Client) Session(ctx context.Context, id string) (*api.Session, error) {
	s := new(api.Session)
	_, err := c.json(ctx, call{method: http.MethodGet, path: Ref{Session: id}.path()}, s)
	return s, err
}

// Sessions lists the account's sessions, newest first, as Uploads does.
func (c *Client) Sessions(ctx context.Context, q Query) iter.Seq2[*api.Session, error] {
	return pages(q.values(), func(v url.Values) ([]*api.Session, string, error) {
		return array[*api.Session](ctx, c, "/sessions", v)
	})
}

// PatchSession changes a session.
func (c *Client) PatchSession(ctx context.Context, id string, p Patch) (*api.Session, error) {
	s := new(api.Session)
	_, err := c.json(ctx, call{method: http.MethodPatch, path: Ref{Session: id}.path(), send: p.fields()}, s)
	return s, err
}

// DeleteSession removes a session and all that is in it.
func (c *Client) DeleteSession(ctx context.Context, id string) error {
	return c.Delete(ctx, Ref{Session: id})
}

// ArchiveLink is the address of all files of a session in one; format is zip or
// tar. It is downloaded as files are, with the account's credentials.
func (c *Client) ArchiveLink(session, format string) string {
	return c.Link(Ref{Session: session}) + "/archive?" + url.Values{"format": {format}}.Encode()
}

// Shared tells what the link of a recipient leads to. It needs no account, and its
// owner sees that the link was used.
func (c *Client) Shared(ctx context.Context, link string) (*api.Shared, error) {
	h := new(api.Shared)
	_, err := c.json(ctx, call{method: http.MethodGet, path: link}, h)
	return h, err
}

// TokenSpec says what a new token shall be. Zero values are the server's
// defaults.
type TokenSpec struct {
	MaxDownloads int64
	Access       string        // what it allows: "download", counted, "read" or "full"; empty is download
	TTL          time.Duration // whole seconds
}

// CreateToken makes a token: a further link to a file, in a session or not, that
// works a number of times, once unless spec says otherwise.
func (c *Client) CreateToken(ctx context.Context, r Ref, spec TokenSpec) (*api.Token, error) {
	send := map[string]any{}
	if spec.MaxDownloads != 0 {
		send["max_downloads"] = spec.MaxDownloads
	}
	if spec.TTL != 0 {
		send["ttl"] = whole(spec.TTL)
	}
	if spec.Access != "" {
		send["access"] = spec.Access
	}
	t := new(api.Token)
	_, err := c.json(ctx, call{method: http.MethodPost, path: tokens(r), send: send}, t)
	return t, err
}

// Tokens lists the tokens of a file, newest first, as Uploads does.
func (c *Client) Tokens(ctx context.Context, r Ref, q Query) iter.Seq2[*api.Token, error] {
	return listed[*api.Token](ctx, c, tokens(r), q)
}

func tokens(r Ref) string { return Ref{Session: r.Session, File: r.File}.path() + "/tokens" }
