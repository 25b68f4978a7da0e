package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"fileshare/store"
)

// Forward says who judges the accounts that we do not know: an HTTP endpoint
// that is sent their Basic credentials.
type Forward struct {
	URL     string        // http or https; empty = nobody
	Timeout time.Duration // of one question; default 5 s
	Cache   time.Duration // how long a yes is remembered; 0 = not at all
}

// Check tells what is wrong with the URL. The error does not repeat it.
func (f Forward) Check() error {
	u, err := url.Parse(f.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return errors.New("an absolute URL (http or https) without user and fragment is expected")
	}
	return nil
}

// Bounds of what is asked.
const (
	forwardTurns = 32              // questions at the same time
	forwardPause = time.Second     // after one without an answer nobody waits for another for so long
	forwardRetry = 5 * time.Second // what clients are told then
	mostAnswer   = 64 << 10        // bytes of an answer's body that are read, to use the connection again
)

// forward asks the endpoint of a [Forward].
type forward struct {
	o      Forward
	client http.Client
	turns  chan struct{} // one element per running question
	memory *memory       // of those that were let in
	log    *slog.Logger
	down   atomic.Int64 // Unix nanoseconds until which we do not ask; 0 = it answers
}

// newForward makes a forward; nil if there is nobody to ask.
func newForward(o Forward, most int, log *slog.Logger) (*forward, error) {
	if o.URL == "" {
		return nil, nil
	}
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("forward: %w", err)
	}
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	return &forward{
		o: o, log: log, memory: newMemory(o.Cache, most), turns: make(chan struct{}, forwardTurns),
		client: http.Client{
			// No proxy of the environment: it would see the passwords.
			Transport: &http.Transport{MaxIdleConnsPerHost: forwardTurns, MaxResponseHeaderBytes: mostAnswer, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
			Timeout:   o.Timeout,
			// A redirect is no answer, and would carry the password elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// ask tells whether the endpoint lets somebody in: by any 2xx, while 401 and
// 403 are a no. Whatever else comes, and nothing, is Unavailable.
func (f *forward) ask(ctx context.Context, name, password string, from netip.Addr) (bool, error) {
	if time.Now().UnixNano() < f.down.Load() {
		return false, errNoJudge(nil)
	}
	ok, err := f.question(ctx, name, password, from)
	switch {
	case err == nil:
		if f.down.Swap(0) != 0 {
			f.log.Info("auth.forward answers again")
		}
		return ok, nil
	case ctx.Err() != nil:
		return false, ctx.Err() // the client went away
	}
	f.down.Store(time.Now().Add(forwardPause).UnixNano())
	f.log.Warn("auth.forward does not answer", "error", err)
	return false, errNoJudge(err)
}

func errNoJudge(cause error) error {
	err := store.RefuseCause(store.Unavailable, "authentication is not available", cause)
	err.RetryAfter = forwardRetry
	return err
}

func (f *forward) question(ctx context.Context, name, password string, from netip.Addr) (bool, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.o.URL, nil)
	if err != nil {
		return false, withoutURL(err)
	}
	r.SetBasicAuth(name, password)
	r.Header.Set("User-Agent", "fileshare")
	if from.IsValid() {
		r.Header.Set("X-Forwarded-For", from.Unmap().WithZone("").String())
	}
	resp, err := f.client.Do(r)
	if err != nil {
		return false, withoutURL(err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, mostAnswer)
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return true, nil
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return false, nil
	}
	return false, fmt.Errorf("status %d; 2xx, 401 or 403 is expected", resp.StatusCode)
}

// withoutURL takes the URL out of an error: its query may hold a secret.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
