package server

import (
	"encoding/base64"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"fileshare/store"
)

// basicCredentials reads the user name and password of a request as RFC 7617,
// section 2, has them. found is false when the request has no Authorization
// header at all; whatever else is not well-formed Basic is refused.
func basicCredentials(r *http.Request) (name, password string, found bool, err error) {
	headers := r.Header["Authorization"]
	switch len(headers) {
	case 0:
		return "", "", false, nil
	case 1:
	default: // RFC 9110, section 5.3: a field that is no list comes once
		return "", "", true, store.Refuse(store.Unauthenticated, "more than one Authorization header")
	}
	name, password, problem := parseBasic(headers[0])
	if problem != "" {
		return "", "", true, store.Refuse(store.Unauthenticated, problem)
	}
	return name, password, true, nil
}

// parseBasic takes the value of an Authorization header apart. problem says in
// words for the client what is wrong with it, never what is in it.
func parseBasic(header string) (name, password, problem string) {
	scheme, encoded, _ := strings.Cut(strings.Trim(header, " \t"), " ")
	if !strings.EqualFold(scheme, "Basic") { // RFC 9110, section 11.1: case-insensitive
		return "", "", "unknown authentication scheme; Basic is expected"
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(strings.TrimLeft(encoded, " "))
	if err != nil || strings.ContainsAny(encoded, "\r\n") { // which the decoder would skip
		return "", "", "the credentials are not base64"
	}
	if !utf8.Valid(decoded) { // section 2.1: the challenge asks for UTF-8
		return "", "", "the credentials are not UTF-8"
	}
	// The first colon: user names have none, passwords may.
	name, password, ok := strings.Cut(string(decoded), ":")
	switch {
	case !ok:
		return "", "", "the credentials have no colon"
	case name == "":
		return "", "", "the user name is empty"
	case hasControl(name) || hasControl(password):
		return "", "", "the credentials contain control characters"
	}
	return name, password, ""
}

// hasControl tells whether s has control characters, which RFC 7617, section 2,
// forbids in names and passwords. With NUL among them name‖0‖password is unique.
func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }
