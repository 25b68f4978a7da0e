package filesender

import (
	"encoding/json"
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// date is a time as FileSender has it.
type date struct {
	Raw       int64  `json:"raw"` // UNIX seconds
	Formatted string `json:"formatted"`
}

func dateOf(t time.Time) date { return date{t.Unix(), t.UTC().Format("02 Jan 2006")} }

func dateOrNil(t time.Time) *date {
	if t.IsZero() {
		return nil
	}
	return new(dateOf(t))
}

// transfer is what is answered of a transfer.
type transfer struct {
	ID             int64           `json:"id"`
	UserID         int64           `json:"userid"`
	User           string          `json:"user_id"`
	Email          string          `json:"user_email"`
	Subject        *string         `json:"subject"`
	Message        *string         `json:"message"`
	Created        date            `json:"created"`
	Expires        date            `json:"expires"`
	Extension      int64           `json:"expiry_date_extension"` // days by which the end may be put off
	Options        map[string]bool `json:"options"`
	Salt           string          `json:"salt"`
	RoundTripToken string          `json:"roundtriptoken"`
	Status         string          `json:"status"`
	Files          []file          `json:"files"`
	Recipients     []recipient     `json:"recipients"`
}

type file struct {
	ID         int64   `json:"id"`
	TransferID int64   `json:"transfer_id"`
	UID        string  `json:"uid"`
	PUID       string  `json:"puid"` // the same
	Name       string  `json:"name"`
	Size       int64   `json:"size"`
	SHA1       *string `json:"sha1"`
	CID        string  `json:"cid,omitempty"`
}

type recipient struct {
	ID           int64  `json:"id"`
	TransferID   int64  `json:"transfer_id"`
	Token        string `json:"token"`
	Email        string `json:"email"` // empty: whoever has the link
	Created      date   `json:"created"`
	LastActivity *date  `json:"last_activity"`
	Options      any    `json:"options"`
	URL          string `json:"download_url"`
	Errors       []any  `json:"errors"`
}

// newTransfer is the body of POST /transfer (contract §6.1).
type newTransfer struct {
	Files      []newFile `json:"files"`
	Recipients []string  `json:"recipients"`
	Options    options   `json:"options"`
	Subject    *string   `json:"subject"`
	Message    *string   `json:"message"`
	Expires    moment    `json:"expires"`
	Encryption flag      `json:"encryption"`

	KeyVersion      number `json:"encryption_key_version"`
	PasswordVersion number `json:"encryption_password_version"`
	Encoding        string `json:"encryption_password_encoding"`
	Iterations      number `json:"encryption_password_hash_iterations"`
	Entropy         string `json:"encryption_client_entropy"`
}

type newFile struct {
	Name fileName `json:"name"`
	Size number   `json:"size"`
	Type string   `json:"mime_type"`
	CID  string   `json:"cid"`
	IV   string   `json:"iv"`
	AEAD string   `json:"aead"`
}

// fileName is a name as clients write it. They want it back as it was, but the
// decoder of JSON puts U+FFFD for what is no text. Names have that, too, of their
// own: from archives that were unpacked in the wrong encoding.
type fileName struct {
	text string
	lost bool // something in it was no text
}

// isText matches JSON strings in which each surrogate has its other half.
var isText = regexp.MustCompile(`^(?:[^\\]|\\[^u]|\\u(?:[^dD].{3}|[dD][0-7].{2}|[dD][89abAB].{2}\\u[dD][c-fC-F].{2}))*$`)

func (n *fileName) UnmarshalJSON(b []byte) error {
	n.lost = !utf8.Valid(b) || !isText.Match(b)
	return json.Unmarshal(b, &n.text)
}

// number is a whole number, or its digits in a string; nil: it is not there.
type number struct{ v *int64 }

func (n *number) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "null" || text == "" {
		return nil
	}
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		n.v = &v
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return errNumber
	}
	n.v = new(int64(f))
	return nil
}

// moment is a time in UNIX seconds, as a number or in a string; nil: it is not
// there. What is far off comes near enough to be reckoned with.
type moment struct{ v *int64 }

func (m *moment) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "null" || text == "" {
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(f) {
		return errNumber
	}
	m.v = new(int64(min(max(f, -mostMoment), mostMoment)))
	return nil
}

// mostMoment is so far that the time up to it is still a time.Duration.
const mostMoment = 1 << 33

// flag is a boolean as clients write it: true, 1, "1".
type flag bool

func (f *flag) UnmarshalJSON(b []byte) error {
	switch strings.Trim(string(b), `"`) {
	case "true", "1", "on":
		*f = true
	}
	return nil
}

// options are switches by name: an object, or a list of those that are on.
type options map[string]bool

func (o *options) UnmarshalJSON(b []byte) error {
	*o = options{}
	var list []string
	if json.Unmarshal(b, &list) == nil {
		for _, name := range list {
			(*o)[name] = true
		}
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(b, &object); err != nil {
		return errOptions
	}
	for name, raw := range object {
		var on flag
		if raw != nil && raw[0] != '{' && raw[0] != '[' {
			_ = on.UnmarshalJSON(raw)
		}
		(*o)[name] = bool(on)
	}
	return nil
}

// optionDaily is the option of a transfer whose owner is told each day what became of it.
const optionDaily = "email_daily_statistics"

// knownOptions are those of a transfer that are kept; others are passed over.
func knownOptions() []string {
	return []string{"email_me_copies", "email_me_on_expire", "email_upload_complete", "email_download_complete", optionDaily,
		"email_report_on_closing", "enable_recipient_email_download_complete", "add_me_to_recipients", "email_recipient_when_transfer_expires",
		"get_a_link", "hide_sender_email", "must_be_logged_in_to_download"}
}

// knownGuestOptions are those of a guest.
func knownGuestOptions() []string {
	return []string{"valid_only_one_time", "can_only_send_to_me", "email_upload_started", "email_upload_page_access", "email_guest_created",
		"email_guest_created_receipt", "email_guest_expired", "does_not_expire", "guest_upload_default_expire_is_guest_expire",
		"guest_upload_expire_read_only"}
}

// known leaves out what is not among the names.
func (o options) known(names []string) options {
	out := options{}
	for _, name := range names {
		if on, ok := o[name]; ok {
			out[name] = on
		}
	}
	return out
}

// goodName tells whether a file may be called so: a relative path without
// anything that leads out of a directory, on any system.
func goodName(name string) bool {
	if name == "" || len(name) > mostName || !utf8.ValidString(name) || strings.ContainsRune(name, '\\') || strings.ContainsFunc(name, unicode.IsControl) {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// mostName is the most bytes of a path in a transfer.
const mostName = 1024
