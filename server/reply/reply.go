// Package reply is the only place that knows status numbers: it turns what a
// handler has to say, or the error that it returns, into an answer.
package reply

import (
	"encoding/json"
	"net/http"
	"strconv"
)

const jsonType = "application/json" // without charset, which RFC 8259 §11 does not know

// JSON answers with v. A value that cannot be marshalled is a fault of ours
// and comes back as an error, with nothing written.
func JSON(w http.ResponseWriter, v any) error { return write(w, http.StatusOK, v) }

// Created answers 201 with the new object and its place.
func Created(w http.ResponseWriter, location string, v any) error {
	w.Header().Set("Location", location)
	return write(w, http.StatusCreated, v)
}

// None answers 204.
func None(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Empty answers 200 without a body.
func Empty(w http.ResponseWriter) error {
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
	return nil
}

// Elsewhere answers 307: what is asked for can be had at another address now.
func Elsewhere(w http.ResponseWriter, location string) error {
	h := w.Header()
	h.Set("Location", location)
	h.Set("Content-Length", "0")
	h.Set("Cache-Control", "private, no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address we were asked by is a secret, too
	w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}

// NotReady answers 503 with v: the daemon lives and its backends do not.
func NotReady(w http.ResponseWriter, v any) error { return write(w, http.StatusServiceUnavailable, v) }

// Page answers with a page of HTML that needs nothing from elsewhere.
func Page(w http.ResponseWriter, status int, html []byte) error { return showPage(w, status, html, "") }

// Program is Page for a page with one script, of which sum is the SHA-256 in
// base64. The script may call us and nobody else.
func Program(w http.ResponseWriter, html []byte, sum string) error {
	return showPage(w, http.StatusOK, html, "script-src 'sha256-"+sum+"'; connect-src 'self'; ")
}

func showPage(w http.ResponseWriter, status int, html []byte, more string) error {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(html)))
	h.Set("Cache-Control", "private, no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Content-Security-Policy", "default-src 'none'; "+more+"style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_, err := w.Write(html)
	return Gone(err)
}

// Write answers an error of a dialect with v in JSON of a media type of its
// own, and the headers that belong to the error.
func (a Answer) Write(w http.ResponseWriter, contentType string, v any) Answer {
	a.Headers(w.Header())
	if err := writeAs(w, a.Status, contentType, v); err != nil {
		a.Gone = true
	}
	return a
}

func write(w http.ResponseWriter, status int, v any) error {
	return writeAs(w, status, jsonType, v)
}

func writeAs(w http.ResponseWriter, status int, contentType string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	body = append(body, '\n')
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, err = w.Write(body)
	return Gone(err)
}

// Gone marks an error of writing an answer: the client went away, nobody is
// left to be answered. nil stays nil.
func Gone(err error) error {
	if err == nil {
		return nil
	}
	return Refuse(ClientGone, "client closed the connection", err)
}
