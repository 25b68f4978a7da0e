package filesender

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"fileshare/server/dialect"
	"fileshare/store"
)

// What may be said of a new transfer.

// mostSize is the most bytes of a file where no limit is set, so that those of a
// transfer can be added up.
const mostSize = 1 << 50

// mostText bounds subject and message together: they are kept with the session.
const mostText = 4 << 10

// checkTransfer refuses what cannot be, and returns the recipients' addresses.
func (a *api) checkTransfer(c account, in *newTransfer) ([]string, error) {
	switch {
	case len(in.Files) == 0:
		return nil, fault(http.StatusBadRequest, "transfer_no_files")
	case len(in.Files) > a.o.Files:
		return nil, fault(http.StatusBadRequest, "transfer_too_many_files")
	}
	type key struct {
		name string
		size int64
	}
	seen := map[key]bool{}
	kept, total := in.Files[:0], int64(0)
	for _, f := range in.Files {
		switch {
		case f.Name.lost, !goodName(f.Name.text):
			return nil, &faultError{http.StatusBadRequest, "transfer_file_name_invalid", f.Name.text}
		case a.banned(f.Name.text):
			return nil, &faultError{http.StatusBadRequest, "file_extension_not_allowed", f.Name.text}
		case f.Size.v == nil || *f.Size.v < 0 || len(f.CID) > 256:
			return nil, &faultError{http.StatusBadRequest, "rest_bad_parameter", "size"}
		case a.Store.MaxFileSize() > 0 && *f.Size.v > a.Store.MaxFileSize(), *f.Size.v > mostSize:
			return nil, fault(http.StatusRequestEntityTooLarge, "transfer_maximum_file_size_exceeded")
		}
		if k := (key{f.Name.text, *f.Size.v}); !seen[k] {
			seen[k] = true
			kept = append(kept, f)
			total += *f.Size.v
		}
	}
	if a.o.Size > 0 && total > a.o.Size {
		return nil, fault(http.StatusRequestEntityTooLarge, "transfer_maximum_size_exceeded")
	}
	in.Files = kept
	var to []string
	for _, address := range in.Recipients {
		address = strings.TrimSpace(address)
		if !store.IsAddress(address) {
			return nil, &faultError{http.StatusBadRequest, "rest_bad_parameter", "recipients"}
		}
		to = append(to, address)
	}
	me := a.owner(c)
	if in.Options["add_me_to_recipients"] && store.IsAddress(me) {
		to = append(to, me)
	}
	switch {
	case c.onlyToMe() && len(in.Recipients) > 0:
		return nil, fault(http.StatusBadRequest, "transfer_too_many_recipients")
	case c.onlyToMe():
		to = []string{me}
	case in.Options["get_a_link"]:
		to = []string{""}
	}
	if len(to) == 0 {
		return nil, fault(http.StatusBadRequest, "transfer_no_recipients")
	}
	return to, nil
}

// banned tells whether files with such a name are not taken.
func (a *api) banned(name string) bool {
	ending := strings.TrimPrefix(path.Ext(name), ".")
	return slices.ContainsFunc(a.o.Banned, func(b string) bool { return strings.EqualFold(ending, b) })
}

// ttl is how long a transfer lives that is to end at a time: more than is
// allowed is taken as that, since clients ask for what another server has.
func (a *api) ttl(expires moment, otherwise time.Duration) time.Duration {
	if expires.v == nil {
		return otherwise
	}
	return min(max(dialect.Until(time.Unix(*expires.v, 0)), time.Second), a.o.MaxTTL)
}

// keep puts who sends something, and what is written about it, into its
// attributes. Senders do not choose by which address they go: recipients believe
// what they see.
func keep(attrs map[string]string, from string, subject, message *string) error {
	attrs[attrFrom] = from
	text := 0
	for name, value := range map[string]*string{attrSubject: subject, attrMessage: message} {
		if value != nil {
			attrs[name] = *value
			text += len(*value)
		}
	}
	if text > mostText {
		return &faultError{http.StatusBadRequest, "rest_bad_parameter", "subject and message are too long"}
	}
	return nil
}
