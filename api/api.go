// Package api is what goes over the wire of the native API: the objects of
// answers, and the codes of errors. It holds no logic, so that client and
// server share one shape.
package api

import (
	"time"
)

// Time is a point in time on the wire: RFC 3339, UTC, milliseconds.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.000Z"

// MarshalJSON writes the time in UTC with exactly three decimals.
func (t Time) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(timeLayout)+2)
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, timeLayout)
	return append(b, '"'), nil
}

// File is a file or upload. SessionID is nil for an upload, SHA256 (lower-case
// hexadecimal) is nil before the content is there.
type File struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	OriginalName string   `json:"original_name"`
	MimeType     string   `json:"mime_type"`
	Size         int64    `json:"size"` // bytes
	SHA256       *string  `json:"sha256"`
	TTL          int64    `json:"ttl"`   // seconds
	State        string   `json:"state"` // NEW, UPLOADING or UPLOADED
	SessionID    *string  `json:"session_id"`
	Tags         []string `json:"tags"`
	Owner        string   `json:"owner"`
	Downloads    int64    `json:"downloads"`     // complete ones
	MaxDownloads int64    `json:"max_downloads"` // 0 = unlimited
	CreatedAt    Time     `json:"created_at"`
	UpdatedAt    Time     `json:"updated_at"`
	ExpiresAt    Time     `json:"expires_at"`
	URL          string   `json:"url"`
}

// Session is a container of files. InvitationID is nil for one that its owner
// made, CompletedAt until it was said that all is there.
type Session struct {
	ID           string  `json:"id"`
	Name         string  `json:"name"`
	TTL          int64   `json:"ttl"` // seconds
	Owner        string  `json:"owner"`
	InvitationID *string `json:"invitation_id"`
	CreatedAt    Time    `json:"created_at"`
	UpdatedAt    Time    `json:"updated_at"`
	CompletedAt  *Time   `json:"completed_at"`
	ExpiresAt    Time    `json:"expires_at"`
	URL          string  `json:"url"`
}

// Invitation lets somebody without an account upload, as its owner sees it.
// Whoever knows Token is invited; UploadURL is a page for people that has it.
type Invitation struct {
	ID        string `json:"id"`
	Token     string `json:"token"`
	Owner     string `json:"owner"`
	Email     string `json:"email"`
	Name      string `json:"name"`
	Message   string `json:"message"`
	State     string `json:"state"`     // OPEN, USED, CLOSED or EXPIRED
	Uses      int64  `json:"uses"`      // sessions that were completed
	MaxUses   int64  `json:"max_uses"`  // 0 = no limit, as the next two
	MaxFiles  int64  `json:"max_files"` // of a session
	MaxSize   int64  `json:"max_size"`  // bytes of all files of a session
	CreatedAt Time   `json:"created_at"`
	UsedAt    *Time  `json:"used_at"`
	ExpiresAt Time   `json:"expires_at"`
	URL       string `json:"url"`
	UploadURL string `json:"upload_url"`
}

// Invite is an invitation as who is invited sees it.
type Invite struct {
	From      string `json:"from"`
	Name      string `json:"name"`
	Message   string `json:"message"`
	MaxFiles  int64  `json:"max_files"`
	MaxSize   int64  `json:"max_size"`
	ExpiresAt Time   `json:"expires_at"`
}

// Token is a capability to download one file, or to see or manage it. Token
// equals ID.
type Token struct {
	ID           string  `json:"id"`
	Token        string  `json:"token"`
	Access       string  `json:"access"` // download, read or full
	UploadID     string  `json:"upload_id"`
	SessionID    *string `json:"session_id"`
	State        string  `json:"state"` // NEW, DOWNLOADING or DOWNLOADED
	Downloads    int64   `json:"downloads"`
	MaxDownloads int64   `json:"max_downloads"`
	CreatedAt    Time    `json:"created_at"`
	ExpiresAt    Time    `json:"expires_at"`
	URL          string  `json:"url"`
}

// Recipient is somebody to whom a session was sent.
type Recipient struct {
	ID        string `json:"id"`
	SessionID string `json:"session_id"`
	Email     string `json:"email,omitempty"`
	Message   string `json:"message,omitempty"`
	CreatedAt Time   `json:"created_at"`
	SentAt    *Time  `json:"sent_at"` // since when the link works
	UsedAt    *Time  `json:"used_at"` // when the link was last used
	URL       string `json:"url"`     // the link
}

// Shared is what the link of a recipient leads to.
type Shared struct {
	From       string       `json:"from"`    // whose session it is
	Name       string       `json:"name"`    // may be empty
	Message    string       `json:"message"` // to this recipient; may be empty
	ExpiresAt  Time         `json:"expires_at"`
	Files      []SharedFile `json:"files"` // in the order in which they were added
	ArchiveURL string       `json:"archive_url"`
}

// SharedFile is a file of it.
type SharedFile struct {
	Name string `json:"name"`
	Type string `json:"mime_type"`
	Size int64  `json:"size"` // bytes
	URL  string `json:"url"`
}

// Event is something that happened, as GET /events and webhooks tell it.
type Event struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"` // file.uploaded, token.used, …
	Timestamp Time      `json:"timestamp"`
	Data      EventData `json:"data"`
}

// EventData says what an event is about. Fields that mean nothing for its type
// are left out.
type EventData struct {
	Owner     string `json:"owner"`
	SessionID string `json:"session_id,omitempty"`
	FileID    string `json:"file_id,omitempty"`
	TokenID   string `json:"token_id,omitempty"`
	InviteID  string `json:"invitation_id,omitempty"` // of a session: by which it was made
	Recipient string `json:"recipient,omitempty"`     // address of whom it happened to, or by whom
	Name      string `json:"name,omitempty"`          // of the file, else of the session
	Size      *int64 `json:"size,omitempty"`          // of the file, bytes
	SHA256    string `json:"sha256,omitempty"`
	Count     int64  `json:"count,omitempty"` // downloads that the event stands for
}

// List is one page of a list, newest first. Next is the cursor of the page
// after it, nil on the last one.
type List[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next"`
}

// Health is the answer of /health and /ready.
type Health struct {
	Status  string `json:"status"` // ok or unavailable
	Version string `json:"version,omitempty"`
	Message string `json:"message,omitempty"` // why it is unavailable
}

// Error is the body of every answer of status 400 and above, as the clients of
// the old service know it. Message is for people; programs read the kind of
// error in the header [ErrorHeader].
type Error struct {
	Message   string `json:"message"`
	RequestID string `json:"request_id,omitempty"`
}

// TokenHeader is a header by which a request presents the id of a token: it may
// then do with the token's file what the token's access allows.
const TokenHeader = "X-Fileshare-Token"

// InvitationHeader is a header by which a request presents the token of an
// invitation: it may then make sessions, put files into them, and complete them.
const InvitationHeader = "X-Fileshare-Invitation"

// AccessDownload is the access of a token that is a link to the bytes and no more.
const AccessDownload = "download"

// ErrorHeader is a header of every error: one of the codes below.
const ErrorHeader = "X-Fileshare-Error"

// The codes of errors.
const (
	CodeNotFound        = "not_found"
	CodeExpired         = "expired"
	CodeUsed            = "used"
	CodeUnauthenticated = "unauthenticated"
	CodeDenied          = "denied"
	CodeInvalid         = "invalid"
	CodeConflict        = "conflict"
	CodeBusy            = "busy"
	CodeTooLarge        = "too_large"
	CodeMismatch        = "digest_mismatch"
	CodeQuota           = "quota"
	CodeNoSpace         = "no_space"
	CodeRateLimited     = "rate_limited"
	CodeUnavailable     = "unavailable"
	CodeMethod          = "method_not_allowed"
	CodeMediaType       = "unsupported_media_type"
	CodeRange           = "range_not_satisfiable"
	CodePrecondition    = "precondition_failed"
	CodeTimeout         = "timeout"
	CodeIncomplete      = "incomplete_body"
	CodeNotImplemented  = "not_implemented"
	CodeInternal        = "internal"
)
