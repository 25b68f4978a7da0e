package filesender

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"fileshare/server/reply"
	"fileshare/store"
)

// faultError is an error by the name that FileSender has for it.
type faultError struct {
	status  int
	name    string
	details any
}

func (e *faultError) Error() string { return e.name }

func fault(status int, name string) *faultError { return &faultError{status: status, name: name} }

// malformed refuses a body that is not as the call has it: by the name of what is
// wrong in it, where it is known.
func malformed(err error) *faultError {
	f := &faultError{http.StatusBadRequest, "rest_bad_parameter", err.Error()}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		f.details = cmp.Or(e.Field, "body")
	}
	return f
}

// answer is the body of every error (contract §3).
type answer struct {
	Message string `json:"message"`
	UID     string `json:"uid"`
	Details any    `json:"details"`
}

// named is what the engine's refusals are called, by what was asked for.
func named(r *http.Request, k store.Kind) string {
	noun := "transfer"
	switch {
	case strings.Contains(r.URL.Path, "/file/"):
		noun = "file"
	case strings.Contains(r.URL.Path, "/recipient/"):
		noun = "recipient"
	case strings.Contains(r.URL.Path, "/guest"):
		noun = "guest"
	}
	switch k {
	case store.NotFound:
		return noun + "_not_found"
	case store.Expired, store.Used:
		if noun == "guest" || k == store.Used && r.URL.Query().Has("vid") {
			return "guest_expired"
		}
		return "transfer_expired"
	case store.Unauthenticated:
		return "rest_authentication_required"
	case store.Denied:
		return "rest_ownership_required"
	case store.TooLarge:
		return "transfer_maximum_file_size_exceeded"
	case store.Quota:
		return "transfer_user_quota_exceeded"
	case store.NoSpace:
		return "storage_not_enough_space_left"
	case store.Mismatch:
		return "file_integrity_check_failed"
	case store.Conflict:
		return "rest_sanity_check_failed"
	case store.Invalid:
		return "rest_bad_parameter"
	case store.Unavailable:
		return "undergoing_maintenance"
	case store.RateLimited:
		return "rest_too_many_attempts"
	}
	return ""
}

// fail answers every error with JSON, a 500 too: clients read the message of it.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) reply.Answer {
	statuses := reply.Statuses{store.Conflict: http.StatusBadRequest}
	if strings.Contains(r.URL.Path, "/rest.php/") {
		statuses[store.Unauthenticated] = http.StatusForbidden // elsewhere a browser may ask for a password
		if errors.Is(err, store.ErrEnded) {                    // what only shows it does not come here
			err = fault(http.StatusForbidden, "cannot_alter_closed_transfer")
		}
	}
	ans := statuses.Of(err)
	body := answer{Message: named(r, store.KindOf(err)), UID: w.Header().Get("X-Request-Id")}
	if f, ok := errors.AsType[*faultError](err); ok {
		ans.Status, ans.Code, ans.Message, ans.Ours = f.status, reply.CodeOf(f.status), f.name, false
		body.Message, body.Details = f.name, f.details
	}
	switch {
	case body.Message != "":
	case ans.Status == http.StatusMethodNotAllowed:
		body.Message = "rest_method_not_allowed"
	case ans.Status >= 500:
		body.Message = "internal_error"
	default:
		body.Message, body.Details = "rest_bad_parameter", ans.Message
	}
	// A page of another kind, or a name for it, would be stored as the file.
	w.Header().Del("Content-Disposition")
	return ans.Write(w, "application/json", body)
}
