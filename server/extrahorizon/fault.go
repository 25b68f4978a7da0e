package extrahorizon

import (
	"errors"
	"net/http"

	wire "fileshare/api"
	"fileshare/server/reply"
	"fileshare/store"
)

// code is a number by which the SDK picks the class of an error.
type code int

// The codes that are answered; the names are the service's own.
const (
	codeServer          code = 1
	codeNoPermission    code = 10
	codeEmptyBody       code = 13
	codeMissingFields   code = 14
	codeFieldFormat     code = 15
	codeUnknownPath     code = 16
	codeRQL             code = 19
	codeBodyFormat      code = 22
	codeAnonymous       code = 104
	codeAuthentication  code = 106
	codeConsumer        code = 107
	codeOAuthToken      code = 108
	codeSignature       code = 109
	codeReplay          code = 110
	codeCodeUnknown     code = 115
	codeCodeExpired     code = 116
	codeAccessUnknown   code = 117
	codeAccessExpired   code = 118
	codeRefreshUnknown  code = 119
	codeRefreshExpired  code = 120
	codeGrantType       code = 121
	codeClient          code = 123
	codeClientSecret    code = 124
	codeTooManyAttempts code = 213
	codeToken           code = 2605
	codeReadToken       code = 2606
	codeLastToken       code = 2607
	codeTooLarge        code = 2610
)

// row is the status and the name of a code.
type row struct {
	status int
	name   string
}

func rowOf(c code) row {
	switch c {
	case codeNoPermission:
		return row{http.StatusUnauthorized, "NO_PERMISSION_EXCEPTION"}
	case codeEmptyBody:
		return row{http.StatusBadRequest, "EMPTY_BODY_EXCEPTION"}
	case codeMissingFields:
		return row{http.StatusBadRequest, "MISSING_REQUIRED_FIELDS_EXCEPTION"}
	case codeFieldFormat:
		return row{http.StatusBadRequest, "FIELD_FORMAT_EXCEPTION"}
	case codeUnknownPath:
		return row{http.StatusNotFound, "RESOURCE_UNKNOWN_EXCEPTION"}
	case codeRQL:
		return row{http.StatusBadRequest, "INVALID_RQL_EXCEPTION"}
	case codeBodyFormat:
		return row{http.StatusBadRequest, "BODY_FORMAT_EXCEPTION"}
	case codeAnonymous:
		return row{http.StatusUnauthorized, "USER_NOT_AUTHENTICATED_EXCEPTION"}
	case codeAuthentication:
		return row{http.StatusUnauthorized, "AUTHENTICATION_EXCEPTION"}
	case codeConsumer:
		return row{http.StatusUnauthorized, "OAUTH_KEY_EXCEPTION"}
	case codeOAuthToken:
		return row{http.StatusUnauthorized, "OAUTH_TOKEN_EXCEPTION"}
	case codeSignature:
		return row{http.StatusUnauthorized, "OAUTH_SIGNATURE_EXCEPTION"}
	case codeReplay:
		return row{http.StatusUnauthorized, "DUPLICATE_REQUEST_EXCEPTION"}
	case codeCodeUnknown:
		return row{http.StatusBadRequest, "AUTHORIZATION_CODE_UNKNOWN_EXCEPTION"}
	case codeCodeExpired:
		return row{http.StatusBadRequest, "AUTHORIZATION_CODE_EXPIRED_EXCEPTION"}
	case codeAccessUnknown:
		return row{http.StatusUnauthorized, "ACCESS_TOKEN_UNKNOWN_EXCEPTION"}
	case codeAccessExpired:
		return row{http.StatusUnauthorized, "ACCESS_TOKEN_EXPIRED_EXCEPTION"}
	case codeRefreshUnknown:
		return row{http.StatusBadRequest, "REFRESH_TOKEN_UNKNOWN_EXCEPTION"}
	case codeRefreshExpired:
		return row{http.StatusBadRequest, "REFRESH_TOKEN_EXPIRED_EXCEPTION"}
	case codeGrantType:
		return row{http.StatusBadRequest, "UNSUPPORTED_GRANT_TYPE_EXCEPTION"}
	case codeClient:
		return row{http.StatusBadRequest, "UNKNOWN_CLIENT_EXCEPTION"}
	case codeClientSecret:
		return row{http.StatusBadRequest, "INVALID_CLIENT_SECRET_EXCEPTION"}
	case codeTooManyAttempts:
		return row{http.StatusUnauthorized, "TOO_MANY_FAILED_ATTEMPTS_EXCEPTION"}
	case codeToken:
		return row{http.StatusBadRequest, "INVALID_TOKEN_EXCEPTION"}
	case codeReadToken:
		return row{http.StatusUnauthorized, "UNAUTHORIZED_TOKEN_EXCEPTION"}
	case codeLastToken:
		return row{http.StatusForbidden, "TOKEN_NOT_DELETEABLE_EXCEPTION"} // sic
	case codeTooLarge:
		return row{http.StatusBadRequest, "FILE_TOO_LARGE_EXCEPTION"}
	}
	return row{http.StatusInternalServerError, "SERVER_EXCEPTION"}
}

// kindOf is the native code of an error, for programs that speak to all faces.
func kindOf(c code) string {
	switch c {
	case codeNoPermission, codeReadToken:
		return wire.CodeDenied
	case codeUnknownPath, codeToken:
		return wire.CodeNotFound
	case codeLastToken:
		return wire.CodeConflict
	case codeTooLarge:
		return wire.CodeTooLarge
	case codeTooManyAttempts:
		return wire.CodeRateLimited
	}
	switch rowOf(c).status {
	case http.StatusUnauthorized:
		return wire.CodeUnauthenticated
	case http.StatusBadRequest:
		return wire.CodeInvalid
	}
	return wire.CodeInternal
}

// fault is a refusal with a code. Message is for the client.
type fault struct {
	code    code
	message string
	cause   error
}

func (f *fault) Error() string {
	if f.cause != nil {
		return f.message + ": " + f.cause.Error()
	}
	return f.message
}

func (f *fault) Unwrap() error { return f.cause }

func refuse(c code, message string) error { return &fault{code: c, message: message} }

func refuseCause(c code, message string, cause error) error {
	return &fault{code: c, message: message, cause: cause}
}

// codeOf is the table of the refusals that come from elsewhere; 0 leaves the
// status to reply. It is asked what a call that a token opens answers, too: who
// has none that is good learns nothing else.
func codeOf(err error) code {
	if f, ok := errors.AsType[*fault](err); ok {
		return f.code
	}
	switch store.KindOf(err) {
	case store.NotFound, store.Expired, store.Used:
		return codeToken
	case store.Unauthenticated:
		return codeAnonymous
	case store.Denied:
		return codeNoPermission
	case store.Invalid, store.Conflict, store.Mismatch:
		return codeFieldFormat
	case store.TooLarge, store.Quota:
		return codeTooLarge
	case store.RateLimited:
		return codeTooManyAttempts
	}
	if e, ok := errors.AsType[*reply.Refusal](err); ok {
		switch e.Fault {
		case reply.Method: // a path without this method is one that is not there
			return codeUnknownPath
		case reply.MediaType, reply.Malformed, reply.Incomplete, reply.Timeout:
			return codeBodyFormat
		}
	}
	return 0
}
