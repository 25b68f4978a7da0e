package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Notice is what a person is told of an event: a message of the outbox that
// brings along what it says, since what it speaks of may be gone when it is
// delivered. There is at most one for an event, a recipient and a kind.
type Notice struct {
	To     Recipient
	Letter Letter
	// Quiet is for how long the same kind of notice about the same share or
	// invitation is not repeated to the same recipient; 0 = it always is.
	Quiet time.Duration
}

// Letter is what a message to a person says; its words are a template's. The
// engine keeps it and knows nothing of it.
type Letter struct {
	Kind    string    `json:"kind"`              // of message: names the template
	Link    string    `json:"link,omitempty"`    // where the reader goes
	Subject string    `json:"subject,omitempty"` // by who sends
	Message string    `json:"message,omitempty"` // by who sends
	Sender  string    `json:"sender,omitempty"`  // address of who sends; empty = not told
	Person  string    `json:"person,omitempty"`  // address of whom it is about
	Expires time.Time `json:"expires,omitzero"`
	// Encrypted says that the files are of use only to who has the sender's password.
	Encrypted bool `json:"encrypted,omitempty"`
	// Files are those it is about, More how many there are besides.
	Files   []LetterFile   `json:"files,omitempty"`
	More    int            `json:"more,omitempty"`
	Readers []LetterReader `json:"readers,omitempty"` // of whom it reports
	Log     []LetterLine   `json:"log,omitempty"`
	Since   time.Time      `json:"since,omitzero"` // from when on it reports
}

// LetterFile is a file that a letter names.
type LetterFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"` // bytes
}

// LetterReader is a recipient that a letter reports of.
type LetterReader struct {
	Email string    `json:"email"`
	Used  time.Time `json:"used,omitzero"` // zero: never
}

// LetterLine is an event that a letter reports.
type LetterLine struct {
	Time   time.Time `json:"time"`
	Event  string    `json:"event"`
	Name   string    `json:"name,omitempty"`
	Person string    `json:"person,omitempty"`
	Count  int64     `json:"count,omitempty"` // downloads that it stands for
}

// About is an event for who decides on the notices of it, and what it is about:
// that is read in the event's Update, when it is asked for. It is of no use
// after that.
type About struct {
	Event *Event
	// Files are the names of the files of a transfer.downloaded.
	Files []string
	// Asked says that the recipient who downloaded wants to be told when all of
	// it has arrived.
	Asked bool
	// Since and Until bound of what a transfer.summarized tells: of what came
	// after Since, up to Until.
	Since, Until time.Time

	s       *Store
	tx      Tx
	rec     *eventRec
	content *listing // may be nil
	file    *found   // that ends, else nil
}

// File is the file that ends with the event; nil where none does.
func (a *About) File() *File {
	if a.file == nil {
		return nil
	}
	return a.s.render(a.file, 0)
}

// Session is the session in which it happened, nil where there is none or it is
// over already.
func (a *About) Session() (*Session, error) {
	if a.rec.session.zero() {
		return nil, nil
	}
	rec, err := getSession(a.tx, a.rec.session)
	if err != nil || rec == nil || rec.reason != alive && a.rec.Type != TransferAudited {
		return nil, err
	}
	return a.s.showSession(a.rec.session, rec), nil
}

// Invitation is the invitation to which it happened, or by which the session was
// made; nil where there is none.
func (a *About) Invitation() (*Invitation, error) {
	if a.rec.invitation.zero() {
		return nil, nil
	}
	rec, err := getInvitation(a.tx, a.rec.invitation)
	if err != nil || rec == nil {
		return nil, err
	}
	return a.s.showInvitation(a.rec.invitation, rec), nil
}

// Shares are those that it is about: the one of the event, else all of the
// session, oldest first.
func (a *About) Shares() (out []*Share, err error) {
	if !a.rec.share.zero() {
		h, err := getShare(a.tx, a.rec.share)
		if err != nil || h == nil {
			return nil, err
		}
		return []*Share{a.s.showShare(a.rec.share, h)}, nil
	}
	err = a.s.eachShare(a.tx, a.rec.session, func(key Key, h *shareRec) error {
		out = append(out, a.s.showShare(key, h))
		return nil
	})
	slices.Reverse(out)
	return out, err
}

// Content lists files of the session that have content, at most limit of them,
// oldest first; more tells how many there are besides, at most.
func (a *About) Content(limit int) (out []*File, more int, err error) {
	if a.content != nil && a.content.limit == limit {
		return a.content.files, a.content.more, nil
	}
	if a.rec.Type == TransferAudited {
		rec, err := getSession(a.tx, a.rec.session)
		if err != nil {
			return nil, 0, err
		}
		if rec != nil && rec.remains != nil {
			out, err := a.s.remained(a.rec.session, rec)
			slices.Reverse(out)
			most := min(limit, len(out))
			return out[:most], len(out) - most, err
		}
	}
	prefix := bySession(a.rec.session)
	for item, err := range a.tx.Scan(IndexRecords, prefix, nil) {
		if err != nil {
			return nil, 0, err
		}
		if len(out) == limit {
			more++
			continue
		}
		key, ok := keyOf(item.ID[len(prefix):])
		if !ok {
			continue
		}
		rec, err := getFile(a.tx, key)
		if err != nil {
			return nil, 0, err
		}
		if rec != nil && rec.reason == alive && rec.stored {
			out = append(out, a.s.render(&found{file: rec, fileKey: key}, 0))
		}
	}
	slices.Reverse(out)
	if a.content != nil {
		*a.content = listing{limit, out, more}
	}
	return out, more, nil
}

// listing is what Content has read for several events of one Update.
type listing struct {
	limit int
	files []*File
	more  int
}

// Past lists the events of the session that are kept, oldest first, at most
// limit of them; of a transfer.summarized those of which it tells.
func (a *About) Past(limit int) (out []*Event, err error) {
	var from []byte
	if !a.Since.IsZero() {
		from = eventID(firstKey(a.Since.Add(time.Millisecond)))
	}
	events, _, err := a.s.pastOf(a.tx, a.rec.session, from, limit)
	for _, e := range events {
		if a.Until.IsZero() || !e.Time.After(a.Until) {
			out = append(out, e)
		}
	}
	return out, err
}

// Kept tells whether Past has all that happened since Since.
func (a *About) Kept() bool {
	return a.rec.audit || a.s.o.EventKeep > 0 && !a.Since.Before(a.Event.Time.Add(-a.s.o.EventKeep))
}

// notices queues the notices of an event.
func (s *Store) notices(tx Tx, now time.Time, key Key, about *About, doc []byte) error {
	all, err := s.o.Notices(about)
	if err != nil {
		return fmt.Errorf("notices of %s: %w", about.Event.Type, err)
	}
	for _, n := range all {
		if n.Quiet > 0 {
			again := n.To.Channel + "\x00" + n.To.Name + "\x00" + n.Letter.Kind + "\x00" + string(about.rec.share[:]) + string(about.rec.invitation[:])
			if first, err := once(tx, now, "notice", again, n.Quiet); err != nil || !first {
				if err != nil {
					return err
				}
				continue
			}
		}
		letter, err := json.Marshal(n.Letter)
		if err != nil {
			return err
		}
		m := &messageRec{to: n.To, key: key, event: doc, letter: letter, queued: now}
		if err := tx.Put(OutboxRecords, messageID(key, n.To, n.Letter.Kind), m.encode(), now); err != nil {
			return err
		}
	}
	return nil
}
