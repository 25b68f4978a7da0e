package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Message waits in the outbox until its recipient has been told of its event.
// There is at most one for an event and a recipient (of notices for each kind).
type Message struct {
	ID       string // of the message, opaque
	To       Recipient
	Event    *Event
	Attempts int       // begun so far, this one included
	Begun    bool      // an earlier attempt has come so far that it may have arrived
	Queued   time.Time // when it was put in
	Letter   *Letter   // of a notice, else nil

	claims int // so many were given it, this one included
}

// messageRec is the record of a message; it is due when it is to be delivered.
type messageRec struct {
	to       Recipient
	key      Key    // of the event
	event    []byte // its record: it may be gone before the message is delivered
	attempts int
	begun    bool
	queued   time.Time
	letter   []byte // of a notice, as JSON
	claims   int    // how often it was given to somebody, or back: who was given it before is too late
}

func (m *messageRec) encode() []byte {
	var e encoder
	e.string(1, m.to.Channel)
	e.string(2, m.to.Name)
	e.key(3, m.key)
	e.bytes(4, m.event)
	e.uint(5, uint64(m.attempts))
	e.uint(6, flag(m.begun))
	e.time(7, m.queued)
	e.bytes(8, m.letter)
	e.uint(9, uint64(m.claims))
	return e
}

func decodeMessage(b []byte) (*messageRec, error) {
	m := new(messageRec)
	for x, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		switch x.n {
		case 1:
			m.to.Channel = string(x.raw)
		case 2:
			m.to.Name = string(x.raw)
		case 3:
			m.key = x.key()
		case 4:
			m.event = slices.Clone(x.raw)
		case 5:
			m.attempts = int(x.v)
		case 6:
			m.begun = x.v != 0
		case 7:
			m.queued = x.time()
		case 8:
			m.letter = slices.Clone(x.raw)
		case 9:
			m.claims = int(x.v)
		}
	}
	return m, nil
}

// messageID is the id of a message's record: one for an event and a recipient,
// of notices for each kind.
func messageID(event Key, to Recipient, kind string) []byte {
	text := to.Channel + "\x00" + to.Name
	if kind != "" {
		text += "\x00" + kind
	}
	h := sha256.Sum256([]byte(text))
	return append(slices.Clone(event[:]), h[:8]...)
}

// enqueue puts a message into the outbox.
func (s *Store) enqueue(tx Tx, now time.Time, event Key, to Recipient, doc []byte) error {
	m := &messageRec{to: to, key: event, event: doc, queued: now}
	return tx.Put(OutboxRecords, messageID(event, to, ""), m.encode(), now)
}

// Claim takes at most limit messages that are due, those due longest first, for
// the time of lease: nobody else is given them meanwhile, and if nothing is
// said of one until then, it is due again. Who has had one before is then too
// late to say anything but that it is done.
func (s *Store) Claim(ctx context.Context, limit int, lease time.Duration) (out []*Message, err error) {
	some := false
	err = s.view(ctx, func(tx Tx) error { // mostly there is none, and a View costs no commit
		items, err := tx.Due(OutboxRecords, s.now(), 1)
		some = len(items) > 0
		return err
	})
	if err != nil || !some {
		return nil, err
	}
	err = s.update(ctx, func(tx Tx) error {
		out = nil
		now := s.now()
		items, err := tx.Due(OutboxRecords, now, limit)
		if err != nil {
			return err
		}
		for _, item := range items {
			m, err := decodeMessage(item.Doc)
			if err != nil {
				return fmt.Errorf("message %x: %w", item.ID, err)
			}
			e, err := decodeEvent(m.event)
			if err != nil {
				return fmt.Errorf("message %x: %w", item.ID, err)
			}
			m.attempts++
			m.claims++
			if err := tx.Put(OutboxRecords, item.ID, m.encode(), now.Add(lease)); err != nil {
				return err
			}
			given := &Message{ID: string(item.ID), To: m.to, Event: s.showEvent(m.key, e), Attempts: m.attempts, Begun: m.begun, Queued: m.queued, claims: m.claims}
			if m.letter != nil {
				if err := json.Unmarshal(m.letter, &given.Letter); err != nil {
					return fmt.Errorf("message %x: %w", item.ID, err)
				}
			}
			out = append(out, given)
		}
		return nil
	})
	return out, err
}

// doubtful is how long a message is kept back that has come so far that it may
// have arrived.
const doubtful = 15 * time.Minute

// Renew keeps messages that were claimed for the time of lease from now on.
func (s *Store) Renew(ctx context.Context, lease time.Duration, messages ...*Message) error {
	_, err := s.changeMessages(ctx, messages, func(m *messageRec, now time.Time) time.Time {
		if m.begun {
			return now.Add(doubtful)
		}
		return now.Add(lease)
	})
	return err
}

// Begin notes that the attempt on a message is about to come so far that it may
// arrive without our knowing. Channels that must not tell anybody twice call it
// before, and give up a message that comes with Begun set. It refuses with
// Conflict where somebody else was given the message meanwhile, or it is gone.
func (s *Store) Begin(ctx context.Context, m *Message) error {
	n, err := s.changeMessages(ctx, []*Message{m}, func(m *messageRec, now time.Time) time.Time {
		m.begun = true
		return now.Add(doubtful)
	})
	if err == nil && n == 0 {
		return Refuse(Conflict, "the message is no longer ours")
	}
	return err
}

// Retry makes messages due again at a time; their attempt is known to have
// failed, or was none. They are nobody's until then: a Renew that was under way
// makes them due no sooner.
func (s *Store) Retry(ctx context.Context, at time.Time, messages ...*Message) error {
	_, err := s.changeMessages(ctx, messages, func(m *messageRec, _ time.Time) time.Time {
		m.begun = false
		m.claims++
		return at
	})
	return err
}

// Return is Retry for messages that were claimed and not tried: this was no attempt,
// and what is known of an earlier one stays.
func (s *Store) Return(ctx context.Context, at time.Time, messages ...*Message) error {
	_, err := s.changeMessages(ctx, messages, func(m *messageRec, _ time.Time) time.Time {
		m.attempts = max(m.attempts-1, 0)
		m.claims++
		return at
	})
	return err
}

// Done removes a message that was delivered or is given up, whoever has it now.
func (s *Store) Done(ctx context.Context, m *Message) error {
	return s.update(ctx, func(tx Tx) error { return tx.Delete(OutboxRecords, []byte(m.ID)) })
}

// changeMessages rewrites messages, to be due when change says, and tells how
// many. One that is gone, or that somebody else was given since, is left so.
func (s *Store) changeMessages(ctx context.Context, messages []*Message, change func(m *messageRec, now time.Time) (due time.Time)) (changed int, err error) {
	err = s.update(ctx, func(tx Tx) error {
		changed = 0
		now := s.now()
		for _, given := range messages {
			id := []byte(given.ID)
			doc, err := tx.Get(OutboxRecords, id)
			if err != nil {
				return err
			}
			if doc == nil {
				continue
			}
			m, err := decodeMessage(doc)
			if err != nil {
				return fmt.Errorf("message %x: %w", id, err)
			}
			if m.claims != given.claims {
				continue
			}
			changed++
			due := change(m, now)
			if err := tx.Put(OutboxRecords, id, m.encode(), due); err != nil {
				return err
			}
		}
		return nil
	})
	return changed, err
}
