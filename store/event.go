package store

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// EventType says what happened; the part before the dot is what it happened to.
type EventType string

// The events of the engine itself.
const (
	FileUploaded   EventType = "file.uploaded"   // it has its content now
	FileDownloaded EventType = "file.downloaded" // Count times all of it went out
	FileExpired    EventType = "file.expired"    // its time was over, and its content is being removed
	FileUsed       EventType = "file.used"       // its last download is spent
	FileDeleted    EventType = "file.deleted"    // by its owner
	TokenUsed      EventType = "token.used"      // its last download is spent
	SessionCreated EventType = "session.created"
	SessionExpired EventType = "session.expired"
	SessionDeleted EventType = "session.deleted"

	SessionCompleted  EventType = "session.completed" // all of its files are there, it was said
	InvitationCreated EventType = "invitation.created"
	InvitationUsed    EventType = "invitation.used" // a session made by it was completed
	InvitationExpired EventType = "invitation.expired"
	InvitationClosed  EventType = "invitation.closed" // by its owner

	InvitationVisited  EventType = "invitation.visited"  // who is invited has looked where to upload
	InvitationReminded EventType = "invitation.reminded" // by its owner

	// A transfer is a session that is complete, or of which somebody was told.
	TransferAvailable  EventType = "transfer.available"  // its recipients can have it
	TransferSent       EventType = "transfer.sent"       // a recipient is told of it
	TransferDownloaded EventType = "transfer.downloaded" // a recipient has Count files of it
	TransferReminded   EventType = "transfer.reminded"   // its recipients, or one of them, by its owner
	TransferWithdrawn  EventType = "transfer.withdrawn"  // from a recipient
	TransferAudited    EventType = "transfer.audited"    // its owner asked for its log
	TransferSummarized EventType = "transfer.summarized" // a period is over after which its owner wants to be told of it
	TransferExpired    EventType = "transfer.expired"
	TransferClosed     EventType = "transfer.closed" // by its owner

	// These are in logs alone (see SessionSpec.Audit).
	FileBegun        EventType = "file.begun"        // its first bytes are there
	TransferArchived EventType = "transfer.archived" // all of an archive of it went out
)

// EventTypes are the types that others hear of.
func EventTypes() []EventType {
	return []EventType{
		FileUploaded, FileDownloaded, FileExpired, FileUsed, FileDeleted, TokenUsed, SessionCreated, SessionCompleted, SessionExpired, SessionDeleted,
		InvitationCreated, InvitationUsed, InvitationExpired, InvitationClosed, InvitationVisited, InvitationReminded,
		TransferAvailable, TransferSent, TransferDownloaded, TransferReminded, TransferWithdrawn, TransferAudited, TransferSummarized, TransferExpired, TransferClosed,
	}
}

// Event is something that happened. It is written in the Update in which it
// happened: what is not committed was no event, and what is was one.
type Event struct {
	ID      string // a UUID; events of one moment have different ones
	Type    EventType
	Time    time.Time
	Owner   string // whose file or session it is
	Session string // ids, empty where there is none
	File    string
	Token   string
	Name    string // of the file; if there is none of the session, or invitation
	Size    int64  // of the file, bytes
	SHA256  []byte // of the file, nil if there is none
	Count   int64  // downloads that this event stands for; 0 of other types

	Invitation string // by which a session was made, or to which it happened
	Share      string // by which it happened, or to which
	Email      string // of whom the share is, as far as it is known

	// Of what is in the log of a session that is made for an audit alone.
	Address string    // from where it was done, empty where that is not kept
	Began   time.Time // of a download: when the first of them was asked for
}

// Recipient is somebody who is told of an event: a channel of package notify
// ("webhook") and a name in there.
type Recipient struct{ Channel, Name string }

// eventRec is the record of an event; ids are kept as keys.
type eventRec struct {
	Event
	session, file, token, invitation, share Key

	audit  bool // its session has a log for an audit; not kept
	within bool // it is left out of the log of its session, which ends; not kept
}

func (r *eventRec) encode() []byte {
	e := make(encoder, 0, 128+len(r.Owner)+len(r.Name))
	e.string(1, string(r.Type))
	e.time(2, r.Time)
	e.string(3, r.Owner)
	e.key(4, r.session)
	e.key(5, r.file)
	e.key(6, r.token)
	e.string(7, r.Name)
	e.uint(8, uint64(r.Size))
	e.bytes(9, r.SHA256)
	e.uint(10, uint64(r.Count))
	e.key(11, r.invitation)
	e.key(12, r.share)
	e.string(13, r.Email)
	return e
}

func decodeEvent(b []byte) (*eventRec, error) {
	r := new(eventRec)
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		switch x.n {
		case 1:
			r.Type = EventType(x.raw)
		case 2:
			r.Time = x.time()
		case 3:
			r.Owner = string(x.raw)
		case 4:
			r.session = x.key()
		case 5:
			r.file = x.key()
		case 6:
			r.token = x.key()
		case 7:
			r.Name = string(x.raw)
		case 8:
			r.Size = int64(x.v)
		case 9:
			r.SHA256 = slices.Clone(x.raw)
		case 10:
			r.Count = int64(x.v)
		case 11:
			r.invitation = x.key()
		case 12:
			r.share = x.key()
		case 13:
			r.Email = string(x.raw)
		case 14:
			r.Address = string(x.raw)
		case 15:
			r.Began = x.time()
		}
	}
	return r, nil
}

// show completes the public form of an event.
func (s *Store) showEvent(key Key, r *eventRec) *Event {
	r.ID = s.ids.id(key)
	for _, x := range []struct {
		key Key
		id  *string
	}{{r.session, &r.Session}, {r.file, &r.File}, {r.token, &r.Token}, {r.invitation, &r.Invitation}, {r.share, &r.Share}} {
		if !x.key.zero() {
			*x.id = s.ids.id(x.key)
		}
	}
	return &r.Event
}

// eventClock makes the keys of events: in one process each is above the one
// before, also within a millisecond, so that the order of events is that of
// their commits.
type eventClock struct {
	mu   sync.Mutex
	last Key // guarded by mu
}

func (c *eventClock) next(now time.Time) Key {
	k := newKey(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.String() <= c.last.String() {
		k = c.last
		lo := binary.BigEndian.Uint64(k[8:]) + 1<<6 // the last six bits are no part of a key
		binary.BigEndian.PutUint64(k[8:], lo)
		if lo < 1<<6 { // it ran over
			binary.BigEndian.PutUint64(k[:], binary.BigEndian.Uint64(k[:])+1)
		}
	}
	c.last = k
	return k
}

// eventID is the id of an event's record. Scan runs downwards and events are
// read from the oldest on, so the bits are turned over.
func eventID(k Key) []byte {
	id := make([]byte, len(k))
	for i, b := range k {
		id[i] = ^b
	}
	return id
}

// eventful tells whether anybody wants events: where nobody does they cost
// nothing.
func (s *Store) eventful() bool {
	return s.o.EventKeep > 0 || s.o.Recipients != nil || s.o.Notices != nil
}

// emit writes an event and queues the messages about it. It is called within
// the Update that makes it happen.
func (s *Store) emit(tx Tx, now time.Time, r *eventRec) error {
	return s.emitAbout(tx, now, r, &About{})
}

// emitAbout is emit with what is to be known of the event besides.
func (s *Store) emitAbout(tx Tx, now time.Time, r *eventRec, about *About) error {
	if !s.eventful() && (!r.audit || r.within) {
		return nil
	}
	key := s.events.next(now)
	r.Time = now
	doc := r.encode()
	if s.o.EventKeep > 0 {
		if err := tx.Put(EventRecords, eventID(key), doc, now.Add(s.o.EventKeep)); err != nil {
			return err
		}
	}
	if err := s.enterEvent(tx, now, key, r, doc); err != nil {
		return err
	}
	e := s.showEvent(key, r)
	if s.o.Recipients != nil {
		for _, to := range s.o.Recipients(e) {
			if err := s.enqueue(tx, now, key, to, doc); err != nil {
				return err
			}
		}
	}
	if s.o.Notices == nil {
		return nil
	}
	about.Event, about.s, about.tx, about.rec = e, s, tx, r
	return s.notices(tx, now, key, about, doc)
}

// emitFile is emit for what happens to a file.
func (s *Store) emitFile(tx Tx, now time.Time, t EventType, f *found) error {
	return s.emit(tx, now, fileEvent(t, f))
}

func fileEvent(t EventType, f *found) *eventRec {
	e := &eventRec{
		Event:   Event{Type: t, Owner: f.file.owner, Name: f.file.name, Size: f.file.size, SHA256: f.file.sha},
		session: f.file.session, file: f.fileKey, audit: f.file.audit,
	}
	if f.session != nil {
		e.Address = f.session.from
	}
	return e
}

// emitEnd is emitFile for the end of a file, within that of its session or not.
func (s *Store) emitEnd(tx Tx, now time.Time, f *found, why reason, within bool) error {
	if !f.file.stored {
		return nil
	}
	t := FileExpired
	switch why {
	case usedUp:
		t = FileUsed
	case deleted:
		t = FileDeleted
	}
	e := fileEvent(t, f)
	e.within = within
	return s.emitAbout(tx, now, e, &About{file: f})
}

// emitSession is emit for what happens to a session.
func (s *Store) emitSession(tx Tx, now time.Time, t EventType, key Key, r *sessionRec) error {
	return s.emit(tx, now, &eventRec{Event: Event{Type: t, Owner: r.owner, Name: r.name, Address: r.from}, session: key, invitation: r.invitation, audit: r.audit})
}

// Settling is how long an event waits before Events shows it, where several
// nodes share the records: an event that is committed late then still comes in
// its order. It bounds the clock differences between nodes, too.
const Settling = 5 * time.Second

// settled is until when all events are committed.
func (s *Store) settled(now time.Time) time.Time {
	if s.o.Exclusive {
		return now
	}
	return now.Add(-Settling)
}

// EventQuery asks for a page of events, oldest first.
type EventQuery struct {
	After string // the id of the last event seen; empty: from the oldest one kept
	Limit int    // 1 to 1000; 0 = 100
}

// Events returns the caller's events, an administrator those of all, oldest
// first, as long as Options.EventKeep keeps them. Next is never empty unless
// nothing was ever seen: it is the After of the next question, whether there is
// more already or not. A page costs a bounded number of reads: it may be short,
// even empty, and Next then still goes forward. Without EventKeep it refuses
// with NotFound.
func (s *Store) Events(ctx context.Context, c Caller, q EventQuery) (page Page[*Event], err error) {
	if err := s.permit(c, toOwn, nil); err != nil {
		return page, err
	}
	if s.o.EventKeep <= 0 {
		return page, errNoEvents()
	}
	from, limit, err := s.eventQuery(q)
	if err != nil {
		return page, err
	}
	now := s.now()
	until := s.settled(now)
	err = s.view(ctx, func(tx Tx) error {
		page = Page[*Event]{Items: []*Event{}, Next: q.After}
		looked := 0
		for item, err := range tx.Scan(EventRecords, nil, from) {
			if err != nil {
				return err
			}
			if looked++; len(page.Items) == limit || looked > maxLooked {
				return nil
			}
			key, ok := keyOf(eventID(Key(item.ID)))
			if !ok {
				continue
			}
			r, err := decodeEvent(item.Doc)
			if err != nil {
				return err
			}
			if r.Time.After(until) {
				return nil
			}
			e := s.showEvent(key, r)
			page.Next = e.ID
			if (c.Admin || e.Owner == c.Name) && now.Before(e.Time.Add(s.o.EventKeep)) {
				page.Items = append(page.Items, e)
			}
		}
		return nil
	})
	return page, err
}

func errNoEvents() *Error { return Refuse(NotFound, "events are not kept here") }

// eventQuery checks what is asked for: from is the record id to begin below.
func (s *Store) eventQuery(q EventQuery) (from []byte, limit int, err error) {
	limit = q.Limit
	switch {
	case limit == 0:
		limit = defaultLimit
	case limit < 1 || limit > maxLimit:
		return nil, 0, Refuse(Invalid, "limit must be between 1 and 1000")
	}
	if q.After != "" {
		key, ok := s.ids.key(q.After)
		if !ok {
			return nil, 0, Refuse(Invalid, "after must be the id of an event")
		}
		from = eventID(key)
	}
	return from, limit, nil
}
