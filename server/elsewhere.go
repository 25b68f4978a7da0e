package server

import (
	"net/http"

	"fileshare/api"
	"fileshare/store"
)

// elsewhere returns the address to which a download is redirected, empty if it is
// not. Only who asks for the whole content and no more is: conditions, ranges and
// digests are about what we say of it, the script of a page would not be let in
// there, and who presents a token in a header would present it there, too.
func elsewhere(r *http.Request, h http.Header, d *store.Download) (string, error) {
	if !d.Linked() {
		return "", nil
	}
	mode := r.Header.Get("Sec-Fetch-Mode")
	if r.Method != http.MethodGet || mode == "cors" || mode == "same-origin" {
		return "", nil
	}
	for _, name := range []string{
		"Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Want-Repr-Digest", "Want-Content-Digest", "Origin", api.TokenHeader,
	} {
		if r.Header.Get(name) != "" {
			return "", nil
		}
	}
	return d.Link(r.Context(), h.Get("Content-Type"), h.Get("Content-Disposition"))
}
