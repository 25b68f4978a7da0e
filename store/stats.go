package store

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// counters count since the start.
type counters struct {
	reserved, completed, lapsed, busy, reopened, bytesIn, bytesOut atomic.Int64
	updates                                                        atomic.Int64 // begun
}

// Stats are counters since the start, for metrics.
type Stats struct {
	Reserved, Completed, Lapsed, Busy, Reopened int64 // counted downloads
	BytesIn, BytesOut                           int64 // of contents
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	c := &s.stats
	return Stats{
		Reserved: c.reserved.Load(), Completed: c.completed.Load(), Lapsed: c.lapsed.Load(), Busy: c.busy.Load(),
		Reopened: c.reopened.Load(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
	}
}

// Usage sums what is stored, for metrics: files with content and their bytes.
// It reads one record per account.
func (s *Store) Usage(ctx context.Context) (files, bytes int64, err error) {
	err = s.view(ctx, func(tx Tx) error {
		files, bytes = 0, 0
		for item, err := range tx.Scan(UsageRecords, nil, nil) {
			if err != nil {
				return err
			}
			u, err := decodeUsage(item.Doc)
			if err != nil {
				return err
			}
			files, bytes = files+u.files, bytes+u.bytes
		}
		return context.Cause(ctx)
	})
	return files, bytes, err
}

// tally collects finished downloads that no limit counts, and writes them about
// once a second: they are statistics, so a crash may lose the last ones, and a
// download costs no commit.
type tally struct {
	s *Store

	mu     sync.Mutex
	counts map[tallyKey]tallied // guarded by mu
	files  map[Key]unwritten    // guarded by mu: of each file, until it is written
	timer  *time.Timer          // guarded by mu; nil: nothing waits
	closed bool                 // guarded by mu
	write  sync.WaitGroup
}

// tallyKey is a file and, where it was opened by one, a share; and from where, if
// that is kept.
type tallyKey struct {
	file, share Key
	confirm     bool // the share's holder wants to be told
	from        string
	archive     bool // file is a session: of all of it
}

// tallied are finished downloads of a file.
type tallied struct {
	n    int64
	told int64 // of them those whose event is written already

	began time.Time // the first of them
}

// unwritten are downloads of a file that are not known to be in its record.
type unwritten struct {
	n       int64
	writing int64 // of these are being written
	then    int64 // what the record counts when they are
}

// mostTally is how many files may wait in the tally; beyond that downloads of
// further files are not counted until it is written.
const mostTally = 10_000

func newTally(s *Store) *tally {
	return &tally{s: s, counts: map[tallyKey]tallied{}, files: map[Key]unwritten{}}
}

// add counts a download that began then; told says that its event is written already.
func (t *tally) add(key tallyKey, began time.Time, told bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if c, ok := t.counts[key]; ok || len(t.counts) < mostTally {
		if c.n++; c.n == 1 || began.Before(c.began) {
			c.began = began
		}
		if told {
			c.told++
		}
		t.counts[key] = c
		if !key.archive {
			w := t.files[key.file]
			w.n++
			t.files[key.file] = w
		}
	}
	if t.timer == nil {
		t.write.Add(1)
		t.timer = time.AfterFunc(time.Second, func() {
			defer t.write.Done()
			t.settle(context.Background())
		})
	}
}

// waiting is how many downloads of a file will be counted in its record, which has
// so many now: whoever looks at it need not wait for that.
func (t *tally) waiting(file Key, counted int64) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.files[file]
	if w.writing > 0 && counted >= w.then {
		return w.n - w.writing
	}
	return w.n
}

// begun notes that n downloads of a file are being written, and what is counted of
// it then.
func (t *tally) begun(file Key, n, then int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.files[file]
	w.writing, w.then = n, then
	t.files[file] = w
}

// written forgets downloads that are in the records now, or are lost.
func (t *tally) written(counts map[tallyKey]tallied) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, c := range counts {
		if key.archive {
			continue
		}
		w := t.files[key.file]
		w.n, w.writing = w.n-c.n, 0
		if t.files[key.file] = w; w.n == 0 {
			delete(t.files, key.file)
		}
	}
}

// settle writes what has been collected now: what is told of it soon has an end.
func (t *tally) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tallyWait)
	defer cancel()
	if err := t.flush(ctx); err != nil {
		t.s.o.Log.Warn("write download counts", "error", err)
	}
}

// tallyWait bounds the writing of what has been collected.
const tallyWait = 10 * time.Second

// flush writes what has been collected.
func (t *tally) flush(ctx context.Context) error {
	t.mu.Lock()
	counts := t.counts
	t.counts, t.timer = map[tallyKey]tallied{}, nil
	t.mu.Unlock()
	if len(counts) == 0 {
		return nil
	}
	defer t.written(counts)
	return t.s.update(ctx, func(tx Tx) error {
		had, writing := map[taken]int64{}, map[Key]int64{}
		names, named := map[taken][]string{}, map[tallyKey]bool{}
		for key, c := range counts {
			if key.archive {
				if err := t.archived(tx, key, c); err != nil {
					return err
				}
				continue
			}
			rec, err := getFile(tx, key.file)
			if err != nil {
				return err
			}
			if rec == nil || rec.reason != alive || rec.max > 0 {
				// Where a limit counts, only counted downloads do.
				continue
			}
			writing[key.file] += c.n
			if err := t.count(tx, key, c, rec, writing[key.file]); err != nil {
				return err
			}
			if !key.share.zero() {
				by := taken{rec.session, key.share, key.confirm}
				had[by] += c.n
				if key.from = ""; !named[key] { // else from elsewhere, too
					names[by], named[key] = append(names[by], rec.original), true
				}
			}
		}
		if !t.s.eventful() {
			return nil
		}
		for by, n := range had {
			slices.Sort(names[by])
			if err := t.s.emitTaken(tx, t.s.now(), by, names[by], n); err != nil {
				return err
			}
		}
		return nil
	})
}

// count adds finished downloads to the record of a file, and tells of them. All is
// how many this Update has added to it so far, these included.
func (t *tally) count(tx Tx, key tallyKey, c tallied, rec *fileRec, all int64) error {
	u, err := getUses(tx, key.file)
	if err != nil {
		return err
	}
	u.complete += c.n
	t.begun(key.file, all, u.complete)
	if err := putUses(tx, key.file, u); err != nil || c.n == c.told {
		return err
	}
	email, err := emailOf(tx, key.share)
	if err != nil {
		return err
	}
	return t.s.emit(tx, t.s.now(), &eventRec{
		Event:   Event{Type: FileDownloaded, Owner: rec.owner, Name: rec.name, Size: rec.size, SHA256: rec.sha, Count: c.n - c.told, Email: email, Address: key.from, Began: c.began},
		session: rec.session, file: key.file, share: key.share, audit: rec.audit,
	})
}

// archived notes in the log of a session that archives of it went out.
func (t *tally) archived(tx Tx, key tallyKey, c tallied) error {
	rec, err := getSession(tx, key.file)
	if err != nil || rec == nil || rec.reason != alive {
		return err
	}
	var h *shareRec
	if !key.share.zero() {
		if h, err = getShare(tx, key.share); err != nil || h == nil || h.session != key.file {
			return err
		}
	}
	e := transferEvent(TransferArchived, key.file, rec, key.share, h)
	e.Count, e.Address, e.Began = c.n, key.from, c.began
	return t.s.note(tx, t.s.now(), e)
}

// Archived counts an archive of contents of a session, which the caller has opened
// one by one, and which it has all of. It is noted in the session's log, if that
// is kept for an audit.
func (s *Store) Archived(c Caller, session string, began time.Time) {
	key := tallyKey{archive: true, from: c.Address}
	key.file, _ = s.ids.key(session)
	if c.Share != "" {
		key.share, _ = s.ids.key(c.Share)
	}
	s.tally.add(key, began, false)
}

// close waits for a running write and writes the rest.
func (t *tally) close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	if t.timer != nil && t.timer.Stop() {
		t.write.Done()
	}
	t.mu.Unlock()
	t.write.Wait()
	return t.flush(ctx)
}
