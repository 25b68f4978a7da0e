package reply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"time"

	"fileshare/api"
	"fileshare/store"
)

func TestEveryKindHasARow(t *testing.T) {
	for _, k := range store.Kinds() {
		r, ok := kindRow(k)
		if !ok || r.status < 400 || r.code == "" {
			t.Errorf("kind %q: row %+v, %v", k, r, ok)
		}
	}
	for f := Fault(1); f < faultEnd; f++ {
		r, ok := faultRow(f)
		if !ok || r.status < 400 || r.code == "" {
			t.Errorf("fault %d: row %+v, %v", f, r, ok)
		}
	}
	if _, ok := kindRow(0); ok {
		t.Error("kind 0 has a row")
	}
}

func TestError(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		status int
		body   string
		header map[string]string
	}{
		"expired":   {store.Refuse(store.Expired, "upload expired"), 410, `{"message":"upload expired"}`, nil},
		"wrapped":   {fmt.Errorf("opening: %w", store.Refuse(store.NotFound, "upload not found")), 404, `{"message":"upload not found"}`, nil},
		"cause":     {store.RefuseCause(store.NoSpace, "no space left", errors.New("/secret/path")), 507, `{"message":"no space left"}`, nil},
		"stranger":  {store.Refuse(store.Unauthenticated, "who are you"), 401, `{"message":"who are you"}`, map[string]string{"WWW-Authenticate": `Basic realm="fileshare"`}},
		"busy":      {&store.Error{Kind: store.Busy, Message: "busy", RetryAfter: 1500 * time.Millisecond}, 409, `{"message":"busy"}`, map[string]string{"Retry-After": "2"}},
		"limited":   {store.Refuse(store.RateLimited, "slow down"), 429, `{"message":"slow down"}`, map[string]string{"Retry-After": "1"}},
		"conflict":  {store.Refuse(store.Conflict, "there"), 409, `{"message":"there"}`, map[string]string{"Retry-After": ""}},
		"unknown":   {errors.New("pq: password wrong"), 500, `{"message":"internal error","request_id":"rid"}`, nil},
		"stalled":   {BodyError(os.ErrDeadlineExceeded), 408, `{"message":"the request body stalled"}`, nil},
		"media":     {Refuse(MediaType, "what is that", nil), 415, `{"message":"what is that"}`, nil},
		"body":      {BodyError(&http.MaxBytesError{Limit: 1}), 413, `{"message":"the request body is too large"}`, nil},
		"reset":     {BodyError(&net.OpError{Op: "read", Err: syscall.ECONNRESET}), 400, `{"message":"the request body is incomplete"}`, nil},
		"cut":       {BodyError(io.ErrUnexpectedEOF), 400, `{"message":"the request body is incomplete"}`, nil},
		"malformed": {BodyError(errors.New("invalid byte in chunk length")), 400, `{"message":"the request body is malformed"}`, nil},
		"cancelled": {context.Canceled, 503, `{"message":"request cancelled"}`, nil},
		"deadline":  {context.DeadlineExceeded, 503, `{"message":"storage does not answer"}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			w.Header().Set("X-Request-Id", "rid")
			a := Error(w, httptest.NewRequest("GET", "/", nil), tc.err)
			if w.Code != tc.status || a.Status != tc.status {
				t.Errorf("status %d (told %d), want %d", w.Code, a.Status, tc.status)
			}
			if got := w.Body.String(); got != tc.body+"\n" {
				t.Errorf("body %s, want %s", got, tc.body)
			}
			for k, want := range tc.header {
				if got := w.Header().Get(k); got != want {
					t.Errorf("%s: %q, want %q", k, got, want)
				}
			}
		})
	}
}

func TestMarshalFailureWritesNothing(t *testing.T) {
	w := httptest.NewRecorder()
	if err := JSON(w, make(chan int)); err == nil {
		t.Fatal("no error")
	}
	if len(w.Header()) != 0 || w.Body.Len() != 0 {
		t.Errorf("written: %v %q", w.Header(), w.Body)
	}
}

func TestTimes(t *testing.T) {
	at := time.Date(2026, 1, 1, 13, 0, 0, 0, time.FixedZone("CET", 3600))
	got, err := json.Marshal(api.Time{Time: at})
	if err != nil || string(got) != `"2026-01-01T12:00:00.000Z"` {
		t.Errorf("%s, %v", got, err)
	}
}

func TestStatuses(t *testing.T) {
	dialect := Statuses{store.Expired: http.StatusNotFound, store.Invalid: http.StatusInternalServerError}
	for _, err := range []error{store.Refuse(store.Denied, "no"), Refuse(Method, "no", nil), errors.New("ouch")} {
		if got, want := dialect.Of(err), Of(err); got != want {
			t.Errorf("%v: %+v, want %+v", err, got, want)
		}
	}
	if a := dialect.Of(store.Refuse(store.Expired, "over")); a.Status != 404 || a.Message != "over" || a.Ours {
		t.Errorf("%+v", a)
	}
	if a := dialect.Of(store.Refuse(store.Invalid, "x")); a.Status != 500 || !a.Ours {
		t.Errorf("%+v", a)
	}
	w := httptest.NewRecorder()
	a := dialect.Of(store.Refuse(store.Unauthenticated, "who")).Write(w, "application/problem+json", []int{1})
	if w.Code != 401 || w.Header().Get("Content-Type") != "application/problem+json" || w.Body.String() != "[1]\n" || w.Header().Get("WWW-Authenticate") == "" || a.Gone {
		t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
	}
}
