package server

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"fileshare/server/reply"
)

// requestID takes the client's X-Request-Id if it is sane, else makes one. It
// is no secret: the fast generator will do.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); id != "" && len(id) <= 64 && !strings.ContainsFunc(id, notIDRune) {
		return id
	}
	var raw [8]byte
	var text [16]byte
	for i, n := 0, rand.Uint64(); i < len(raw); i, n = i+1, n>>8 {
		raw[i] = byte(n)
	}
	hex.Encode(text[:], raw[:])
	return string(text[:])
}

func notIDRune(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')
}

// logPath is the path for the log: without prefix and query, and what follows
// "tokens" (or where else a path has secrets) cut to 8 characters.
func logPath(path string) string {
	i := 0
	for _, below := range []string{"/tokens", "/recipients"} {
		if at := strings.Index(path, below+"/"); at >= 0 {
			i = at + len(below)
		}
	}
	for _, before := range []string{"/files/v1", "/invite", "/shares"} {
		if strings.HasPrefix(path, before+"/") {
			i = len(before)
		}
	}
	if i == 0 {
		return path
	}
	var b strings.Builder
	b.WriteString(path[:i])
	for segment := range strings.SplitSeq(path[i+1:], "/") {
		b.WriteByte('/')
		if len(segment) > 8 {
			b.WriteString(strings.ToValidUTF8(segment[:8], ""))
			segment = "…"
		}
		b.WriteString(segment)
	}
	return b.String()
}

func (s *server) logAccess(r *http.Request, x *exchange, broken bool) {
	ctx := r.Context()
	if !s.log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	status := x.status
	if status == 0 && !broken {
		status = http.StatusOK
	}
	// A record of our own: a Logger would look up the place in the program, of
	// which the line says nothing.
	line := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("method", r.Method),
		slog.String("path", logPath(r.URL.Path)),
		slog.Int("status", status),
		slog.Int64("bytes", x.bytes),
		slog.Duration("duration", line.Time.Sub(x.start)),
		slog.String("request_id", x.id),
		slog.String("remote", s.links.client(r)))
	if x.caller.Name != "" {
		attrs = append(attrs, slog.String("user", x.caller.Name))
	}
	if x.body != nil {
		attrs = append(attrs, slog.Int64("received", x.body.n))
	}
	if id := traceID(r); id != "" {
		attrs = append(attrs, slog.String("trace_id", id))
	}
	if broken {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	line.AddAttrs(attrs...)
	_ = s.log.Handler().Handle(ctx, line)
}

// logError writes the line that operators of the old service look for. What
// is our fault comes with its cause, what is the client's does not.
func (s *server) logError(r *http.Request, a reply.Answer, err error) {
	level := slog.LevelWarn
	if a.Ours {
		level = slog.LevelError
	}
	ctx := r.Context()
	if !s.log.Enabled(ctx, level) {
		return
	}
	x := state(r)
	msg := "Error at " + logPath(r.URL.Path) + ": message=" + a.Message + ", status=" + strconv.Itoa(a.Status)
	attrs := []slog.Attr{slog.String("method", r.Method), slog.String("request_id", x.id), slog.String("remote", s.links.client(r))}
	if x.caller.Name != "" {
		attrs = append(attrs, slog.String("user", x.caller.Name))
	}
	if cause := err.Error(); cause != a.Message {
		attrs = append(attrs, slog.String("cause", cause))
	}
	s.log.LogAttrs(ctx, level, msg, attrs...)
}

// traceID is that of a valid traceparent header (W3C Trace Context §3.2).
func traceID(r *http.Request) string {
	tp := r.Header.Get("Traceparent")
	if len(tp) < 55 || tp[2] != '-' || tp[35] != '-' || tp[52] != '-' || tp[:2] == "ff" || len(tp) > 55 && (tp[:2] == "00" || tp[55] != '-') {
		return ""
	}
	id, parent := tp[3:35], tp[36:52]
	for _, part := range []string{tp[:2], id, parent, tp[53:55]} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return ""
		}
	}
	if strings.Trim(id, "0") == "" || strings.Trim(parent, "0") == "" {
		return ""
	}
	return id
}

// guard turns a panic into a 500, or into a broken connection where the answer
// has begun.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares so, too
				panic(p)
			}
			s.log.LogAttrs(context.WithoutCancel(r.Context()), slog.LevelError, "panic in a handler",
				slog.String("request_id", state(r).id), slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
			clearHeaders(w.Header())
			s.fail(w, r, fmt.Errorf("panic: %v", p))
		}()
		next.ServeHTTP(w, r)
	})
}

// clearHeaders takes back what was set for an answer that is not given.
func clearHeaders(h http.Header) {
	for k := range h {
		if k != "X-Request-Id" && k != "Connection" {
			delete(h, k)
		}
	}
}
