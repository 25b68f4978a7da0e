package store

import "time"

// summaries are what the owner of a session wants to be told, once it is
// complete: every so often what became of it.
type summaries struct {
	every time.Duration // 0: nothing
	until time.Time     // he was told of what was until then
	next  time.Time     // when he is told again; zero: not yet complete
}

// minSummary is the least time from one summary to the next.
const minSummary = time.Second

// summarize changes how often the owner is told; it counts from when the session
// is complete.
func (r *sessionRec) summarize(every time.Duration, now time.Time) error {
	if every != 0 && every < minSummary {
		return Refuse(Invalid, "summaries must be at least a second apart")
	}
	r.told = summaries{every: every.Truncate(time.Millisecond)}
	if !r.completed.IsZero() {
		r.told.from(now, r.completed)
	}
	return nil
}

// from lets the next summary begin now. They come at whole periods after a time,
// however late the one before was.
func (t *summaries) from(now, first time.Time) {
	if t.every == 0 {
		return
	}
	t.until, t.next = now, first.Add((now.Sub(first)/t.every+1)*t.every)
}

// due is when there is something to do about a session: its end, or before that
// a summary.
func (r *sessionRec) due() time.Time {
	if !r.told.next.IsZero() && r.told.next.Before(r.expires) {
		return r.told.next
	}
	return r.expires
}

// tellSummary tells of a period of a session that is over. What other nodes have
// not committed yet belongs to the next one, see Settling.
func (s *Store) tellSummary(tx Tx, now time.Time, key Key, r *sessionRec) error {
	about := &About{Since: r.told.until, Until: s.settled(now)}
	r.told.from(now, r.completed)
	r.told.until = about.Until
	if err := s.emitAbout(tx, now, transferEvent(TransferSummarized, key, r, Key{}, nil), about); err != nil {
		return err
	}
	return putSession(tx, key, r)
}
