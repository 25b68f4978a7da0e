package server

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"fileshare/server/dialect"
	"fileshare/server/filesender"
	"fileshare/store"
)

// NoticesOptions configures [Notices].
type NoticesOptions struct {
	Base     string    // of links: the site's address
	Channel  string    // of package notify, in which names are addresses
	Accounts Directory // who has which address
}

// To whom a letter goes.
type reader int

const (
	toRecipient reader = iota // each of a session, or the one whom it is about
	toOwner
	toGuest
)

// notice is a line of the policy: which letter goes to whom at an event, and
// the option that asks for it, or leaves it out.
type notice struct {
	event  store.EventType
	to     reader
	kind   string // of letter
	option string // empty: always
	unsaid bool   // what the option is where nothing was said
	when   func(*sending) bool
}

// notices is the whole policy. It is what FileSender's users expect; sessions and
// invitations of other APIs have no options, and their owners are told only of what
// guests have uploaded (see plain).
func notices() []notice {
	return []notice{
		{store.TransferAvailable, toOwner, "upload_complete", "email_upload_complete", false, ofOwner},
		{store.TransferAvailable, toOwner, "transfer_available_copy", "email_me_copies", false, nil},
		{store.TransferAvailable, toOwner, "guest_upload_complete", "email_upload_complete", true, ofGuest},
		{store.TransferAvailable, toGuest, "guest_upload_confirmation", "", true, func(s *sending) bool { return ofGuest(s) && s.invitation.Share }},
		{store.TransferSent, toRecipient, "transfer_available", "", true, nil},
		{store.TransferDownloaded, toOwner, "files_downloaded", "email_download_complete", true, nil},
		{store.TransferDownloaded, toRecipient, "download_complete", "enable_recipient_email_download_complete", true, func(s *sending) bool { return s.about.Asked }},
		{store.TransferReminded, toRecipient, "transfer_reminder", "", true, nil},
		{store.TransferReminded, toOwner, "transfer_autoreminder_receipt", "", true, nil},
		{store.TransferExpired, toRecipient, "transfer_expired", "", true, nil},
		{store.TransferExpired, toOwner, "transfer_expired_receipt", "email_me_on_expire", true, nil},
		{store.TransferExpired, toOwner, "transfer_report", "email_report_on_closing", true, nil},
		{store.TransferClosed, toRecipient, "transfer_deleted", "", true, nil},
		{store.TransferClosed, toOwner, "transfer_deleted_receipt", "email_me_on_expire", true, nil},
		{store.TransferClosed, toOwner, "transfer_report", "email_report_on_closing", true, nil},
		{store.TransferWithdrawn, toRecipient, "recipient_deleted", "", true, nil},
		{store.TransferAudited, toOwner, "transfer_report", "", true, nil},
		{store.TransferSummarized, toOwner, "daily_summary", "email_daily_statistics", false, nil},
		{store.FileDeleted, toRecipient, "file_deleted", "", true, func(s *sending) bool { return s.others }},
		{store.SessionCreated, toOwner, "guest_upload_start", "email_upload_started", true, ofGuest},
		{store.InvitationCreated, toGuest, "guest_created", "email_guest_created", true, nil},
		{store.InvitationCreated, toOwner, "guest_created_receipt", "email_guest_created_receipt", true, nil},
		{store.InvitationVisited, toOwner, "guest_access_upload_page", "email_upload_page_access", false, nil},
		{store.InvitationReminded, toGuest, "guest_reminder", "", true, nil},
		{store.InvitationExpired, toGuest, "guest_expired", "email_guest_expired", true, nil},
		{store.InvitationClosed, toGuest, "guest_cancelled", "", true, nil},
	}
}

func ofGuest(s *sending) bool { return s.session != nil && s.invitation != nil }
func ofOwner(s *sending) bool { return !ofGuest(s) }

// again is for how long the owner is not told once more that the same recipient
// downloads, or the same guest looks.
const again = time.Hour

// Bounds of what a letter lists.
const (
	mostLetterFiles = 50
	mostLetterLines = 500
)

// Notices is the policy of who is told what, for store.Options.Notices.
func Notices(o NoticesOptions) func(*store.About) ([]store.Notice, error) {
	policy := map[store.EventType][]notice{}
	for _, n := range notices() {
		policy[n.event] = append(policy[n.event], n)
	}
	o.Base = strings.TrimRight(o.Base, "/")
	return func(a *store.About) (out []store.Notice, err error) {
		lines := policy[a.Event.Type]
		if len(lines) == 0 {
			return nil, nil
		}
		s, err := newSending(o, a)
		if s == nil || err != nil {
			return nil, err
		}
		for _, n := range lines {
			on, said := s.options()[n.option]
			if !said {
				on = n.unsaid
			}
			if !on || n.when != nil && !n.when(s) {
				continue
			}
			more, err := s.letters(n)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
		return out, nil
	}
}

// sending is an event with what it is about.
type sending struct {
	o          NoticesOptions
	about      *store.About
	session    *store.Session    // nil: it is about an invitation
	invitation *store.Invitation // nil: nobody was invited
	says       dialect.Sending   // the session, or the invitation
	asks       dialect.Sending   // the invitation
	owner      string            // address
	others     bool              // there are files besides the one that ends
	shares     []*store.Share
}

func newSending(o NoticesOptions, a *store.About) (s *sending, err error) {
	s = &sending{o: o, about: a, owner: addressOf(o.Accounts, a.Event.Owner)}
	if s.session, err = a.Session(); err != nil || s.session == nil && a.Event.Session != "" {
		return nil, err // it is over, and that was told
	}
	if s.invitation, err = a.Invitation(); err != nil {
		return nil, err
	}
	if s.invitation != nil {
		var ok bool
		if s.asks, ok = filesender.Inviting(s.invitation); !ok {
			s.asks = plain(s.invitation.Name, "/invite/")
			s.asks.Message, s.asks.Guest = s.invitation.Message, s.invitation.Email
		}
		s.says = s.asks
	}
	switch {
	case s.session == nil && s.invitation == nil:
		return nil, nil
	case s.session == nil:
		return s, nil
	}
	var ok bool
	if s.says, ok = filesender.Sending(s.session); !ok {
		s.says = plain(s.session.Name, shares)
		s.says.Guest = s.asks.Guest
	}
	if a.File() != nil {
		have, _, err := a.Content(2)
		if s.others = len(have) > 1; err != nil { // with the last one the transfer ends, which is told
			return nil, err
		}
	}
	s.shares, err = a.Shares()
	slices.SortStableFunc(s.shares, func(x, y *store.Share) int { return cmp.Compare(x.Number, y.Number) }) // as they were asked for
	return s, err
}

// plain is what a session or an invitation of the native API says.
func plain(name, link string) dialect.Sending {
	return dialect.Sending{Subject: name, Link: link, Options: map[string]bool{"email_download_complete": false, "email_me_on_expire": false,
		"email_report_on_closing": false, "email_upload_started": false, "email_guest_created_receipt": false}}
}

// options are those that count: how a guest's upload begins, its invitation says.
func (s *sending) options() map[string]bool {
	if s.about.Event.Type == store.SessionCreated {
		return s.asks.Options
	}
	return s.says.Options
}

// sender is the address of who sends, empty where that is not to be told.
func (s *sending) sender() string {
	switch {
	case s.says.Options["hide_sender_email"]:
		return ""
	case ofGuest(s) && s.says.Guest != "":
		return s.says.Guest
	}
	return s.owner
}

// letters makes the letters of a line.
func (s *sending) letters(n notice) (out []store.Notice, err error) {
	l := store.Letter{Kind: n.kind, Subject: s.says.Subject, Message: s.says.Message, Encrypted: s.says.Encrypted}
	if s.session != nil {
		l.Expires = s.session.Expires
		if l.Files, l.More, err = s.files(); err != nil {
			return nil, err
		}
	} else {
		l.Expires = s.invitation.Expires
	}
	add := func(address string, l store.Letter, quiet time.Duration) {
		if store.IsAddress(address) {
			out = append(out, store.Notice{To: store.Recipient{Channel: s.o.Channel, Name: address}, Letter: l, Quiet: quiet})
		}
	}
	switch n.to {
	case toRecipient:
		for _, h := range s.shares {
			if h.Sent.IsZero() {
				continue
			}
			l := l
			l.Sender, l.Link = s.sender(), s.o.Base+s.says.Link+h.ID
			if h.Message != "" {
				l.Message = h.Message
			}
			add(h.Email, l, 0)
		}
	case toGuest:
		l.Sender = s.owner
		if s.session == nil {
			l.Link = s.o.Base + s.says.Link + s.invitation.Secret
		}
		add(s.asks.Guest, l, 0)
	case toOwner:
		if err := s.report(&l); err != nil {
			return nil, err
		}
		quiet := time.Duration(0)
		if n.event == store.TransferDownloaded || n.event == store.InvitationVisited {
			quiet = again
		}
		add(s.owner, l, quiet)
	}
	return out, nil
}

// files are those that a letter names: what was downloaded or deleted, else all
// of the session.
func (s *sending) files() (out []store.LetterFile, more int, err error) {
	e := s.about.Event
	switch {
	case e.Type == store.TransferDownloaded:
		names := s.about.Files
		if len(names) > mostLetterFiles {
			names, more = names[:mostLetterFiles], len(names)-mostLetterFiles
		}
		all, _, err := s.about.Content(mostLetterFiles)
		if err != nil {
			return nil, 0, err
		}
		for _, name := range names {
			f := store.LetterFile{Name: name}
			for _, have := range all {
				if have.OriginalName == name {
					f.Size = filesender.Size(have)
				}
			}
			out = append(out, f)
		}
		return out, more, nil
	case e.File != "":
		if f := s.about.File(); f != nil {
			out = append(out, store.LetterFile{Name: f.OriginalName, Size: filesender.Size(f)})
		}
		return out, 0, nil
	}
	all, more, err := s.about.Content(mostLetterFiles)
	all = slices.SortedStableFunc(slices.Values(all), func(x, y *store.File) int { return cmp.Compare(x.Number, y.Number) }) // as they were announced
	for _, f := range all {
		out = append(out, store.LetterFile{Name: f.OriginalName, Size: filesender.Size(f)})
	}
	return out, more, err
}

// report adds what only the owner is told.
func (s *sending) report(l *store.Letter) error {
	l.Person = s.about.Event.Email
	if s.invitation != nil && l.Person == "" {
		l.Person = s.asks.Guest
	}
	summary := l.Kind == "daily_summary"
	if l.Since = s.about.Since; !summary || !s.about.Kept() { // else the log knows more
		for _, h := range s.shares {
			l.Readers = append(l.Readers, store.LetterReader{Email: h.Email, Used: h.Used})
		}
	}
	if l.Kind != "transfer_report" && !summary {
		return nil
	}
	past, err := s.about.Past(mostLetterLines)
	if !summary && s.about.Event.Type != store.TransferAudited { // the end is not past yet
		past = append(past, s.about.Event)
	}
	for _, e := range past {
		if summary && e.Type != store.FileDownloaded || !summary && slices.Contains(unreported(), e.Type) {
			continue
		}
		line := store.LetterLine{Time: e.Time, Event: string(e.Type), Person: e.Email, Count: e.Count}
		if e.File != "" {
			line.Name = e.Name
		}
		l.Log = append(l.Log, line)
	}
	return err
}

// unreported are events of a transfer that a report leaves out: others say the
// same.
func unreported() []store.EventType {
	return []store.EventType{store.FileBegun, store.SessionCompleted, store.SessionDeleted, store.SessionExpired, store.TransferDownloaded, store.TransferSummarized}
}

// addressOf is where an account has its mail; empty: nowhere that is known.
func addressOf(accounts Directory, name string) string {
	if a, ok := accounts.Account(name); ok && a.Email != "" {
		return a.Email
	}
	return name
}
