package store

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// RestoreOptions configures Restore.
type RestoreOptions struct {
	// Keep says that nothing was used since the backup was taken: what is
	// counted, logins and messages come back as they were.
	Keep bool
	// Tombstones is how long what is over answers 410; default 30 days.
	Tombstones time.Duration
	Progress   func(Restored) // is told now and then; nil: nobody is
}

// Restored is what a Restore has done.
type Restored struct {
	Taken   time.Time
	Records int64
	Blobs   int64 // runs
	Bytes   int64 // of the runs
	Damaged int64 // runs that were not what the backup says; their files are over
	Closed  int64 // counted files, tokens and invitations that are over, since nobody knows how often they were used
	Expired int64 // files whose time was over meanwhile
	Lost    int64 // files that are over because their contents were not in the backup, or damaged there
}

// sequenceGap is how many numbers of a sequence are passed over: they may have been
// given away after the backup, and a number is used once.
const sequenceGap = 1_000_000

// Restore puts a backup into an empty pair of backends, which no daemon uses before
// it is complete, and which is a store with an id of its own. After an error the same backup can be put there once more.
//
// What was used up or had expired when the backup was taken stays so, and so does
// what has expired since. What has been used since is not known: unless
// o.Keep says that nothing was, all that counts its uses is over (files and
// tokens with a limit, invitations that are good for so many), logins and
// messages that waited for their delivery are left out, and sequences go on a
// million further. What was deleted or changed by hand after the backup is as it
// was before.
func Restore(ctx context.Context, to Backend, archive io.Reader, o RestoreOptions) (Restored, error) {
	r := &restore{to: to, o: o, tar: tar.NewReader(archive), now: time.Now(), sum: sha256.New()}
	if r.o.Tombstones <= 0 {
		r.o.Tombstones = Options{}.withDefaults().Tombstones
	}
	if err := r.begin(ctx); err != nil {
		return r.done, err
	}
	if err := r.entries(ctx); err != nil {
		return r.done, err
	}
	// What is without its content ends, with all that belongs to it.
	lost := func(p Problem) {
		switch p.Kind {
		case Missing, WrongSize:
			r.done.Lost++
		}
	}
	if err := newChecker(to, CheckOptions{Repair: true, Tombstones: r.o.Tombstones, Found: lost}).run(ctx); err != nil {
		return r.done, err
	}
	return r.done, to.Records.Update(ctx, func(tx Tx) error { return tx.Delete(MetaRecords, markID) })
}

// restore is one Restore.
type restore struct {
	to    Backend
	o     RestoreOptions
	tar   *tar.Reader
	now   time.Time
	again bool // an earlier one may have left blobs
	done  Restored
	sum   hash.Hash // of all records

	last    run    // that was put into the blobs, and of which the digest is still to come
	lastSum []byte // nil: there is none

	batch []spooled
	size  int
}

var errCutOff = errors.New("the backup is cut off: it has no end")

var errNoBackup = errors.New("this is no backup of fileshare")

// begin reads the head and marks the target.
func (r *restore) begin(ctx context.Context) error {
	h, err := r.tar.Next()
	if err != nil || h.Name != headName {
		return errNoBackup
	}
	var head BackupHead
	if err := r.document(&head); err != nil {
		return err
	}
	id, err := hex.DecodeString(head.ID)
	switch {
	case err != nil || len(id) == 0:
		return errNoBackup
	case head.Format != backupFormat:
		return fmt.Errorf("the backup has format %d, this version knows %d", head.Format, backupFormat)
	}
	// One that begins anew must not find what the other kind has left.
	id = append(id, byte(flag(r.o.Keep)))
	r.done.Taken = head.Taken
	m, err := marked(ctx, r.to.Records)
	if err != nil {
		return err
	}
	if r.again = m != nil; r.again {
		if m.role != arriving || !bytes.Equal(m.id, id) {
			return fmt.Errorf("%w: it is the unfinished copy of something else", ErrNotEmpty)
		}
		return pair(ctx, r.to, Key{})
	}
	if err := empty(ctx, r.to, false); err != nil {
		return err
	}
	err = r.to.Records.Update(ctx, func(tx Tx) error {
		if err := atRest(tx, r.to.Exclusive); err != nil {
			return err
		}
		return (&mark{role: arriving, id: id, since: r.now}).put(tx)
	})
	if err != nil {
		return err
	}
	return pair(ctx, r.to, Key{})
}

// document reads an entry that is JSON.
func (r *restore) document(v any) error {
	b, err := io.ReadAll(io.LimitReader(r.tar, 1<<20))
	if err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", errNoBackup, err)
	}
	return nil
}

// entries puts everything into the target, up to the end.
func (r *restore) entries(ctx context.Context) error {
	for {
		h, err := r.tar.Next()
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return errCutOff
		}
		if err != nil {
			return fmt.Errorf("read the backup: %w", err)
		}
		run, sum, blob := runName(h.Name)
		if !blob || !sum {
			if err := r.settle(ctx); err != nil {
				return err
			}
		}
		switch {
		case blob && sum:
			err = r.digest(ctx, run)
		case blob:
			err = r.blob(ctx, run, h.Size)
		case h.Name == endName:
			return r.end()
		default:
			err = r.records(ctx)
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return errCutOff
		case err != nil:
			return fmt.Errorf("restore %s: %w", h.Name, err)
		}
		if r.o.Progress != nil {
			r.o.Progress(r.done)
		}
	}
}

// blob puts a run into the blobs.
func (r *restore) blob(ctx context.Context, key Key, size int64) error {
	out := recut(r.to.Blobs, run{key: key, size: size})
	sum := sha256.New()
	if err := putRun(ctx, r.to.Blobs, out, io.TeeReader(r.tar, sum), r.again); err != nil {
		return err
	}
	r.last, r.lastSum = out, sum.Sum(nil)
	return nil
}

// digest compares the last run with its digest.
func (r *restore) digest(ctx context.Context, key Key) error {
	b, err := io.ReadAll(io.LimitReader(r.tar, 1<<10))
	if err != nil {
		return err
	}
	want, _, _ := bytes.Cut(b, []byte(" "))
	if r.lastSum != nil && r.last.key == key && string(want) == hex.EncodeToString(r.lastSum) {
		r.done.Blobs++
		r.done.Bytes += r.last.size
		r.lastSum = nil
		return nil
	}
	r.done.Damaged++
	return r.settle(ctx)
}

// settle removes a run again that is not what it should be.
func (r *restore) settle(ctx context.Context) error {
	if r.lastSum == nil {
		return nil
	}
	r.lastSum = nil
	return errors.Join((&Store{blobs: r.to.Blobs}).deleteRuns(ctx, []run{r.last})...)
}

// records puts an entry of records into the target.
func (r *restore) records(ctx context.Context) error {
	in := bufio.NewReaderSize(io.TeeReader(r.tar, r.sum), 1<<20)
	for {
		c, item, err := readFrame(in)
		if err == io.EOF {
			return r.write(ctx)
		}
		if err != nil {
			return err
		}
		if err := r.record(c, item); err != nil {
			// One that cannot be read was backed up as it is; the check removes it.
			r.put(c, item)
		}
		if len(r.batch) >= pageRecords || r.size > pageBytes {
			if err := r.write(ctx); err != nil {
				return err
			}
		}
	}
}

// record takes a record for the target, as it shall be there.
func (r *restore) record(in Collection, item Item) (err error) {
	if !r.o.Keep {
		switch in {
		case LoginRecords, OutboxRecords:
			return nil
		case TokenRecords:
			if err := r.closeToken(item); err != nil {
				return err
			}
		case InviteRecords:
			if item, err = r.closeInvitation(item); err != nil {
				return err
			}
		case MetaRecords:
			if item, err = skipNumbers(item); err != nil {
				return err
			}
		}
	}
	if in == FileRecords {
		if item, err = r.closeFile(item); err != nil {
			return err
		}
	}
	c, err := contentOf(in, item)
	if err != nil {
		return err
	}
	if c != nil {
		var runs []run
		for _, x := range c.runs {
			runs = append(runs, recut(r.to.Blobs, x))
		}
		if item.Doc, err = withRuns(in, item.Doc, runs); err != nil {
			return err
		}
	}
	r.put(in, item)
	return nil
}

func (r *restore) put(in Collection, item Item) {
	r.batch = append(r.batch, spooled{in, item})
	r.size += len(item.ID) + len(item.Doc)
	r.done.Records++
}

// closeFile makes a tombstone of a file whose time is over, or whose uses nobody
// knows any more.
func (r *restore) closeFile(item Item) (Item, error) {
	f, err := decodeFile(item.Doc)
	if err != nil || f.reason != alive {
		return item, err
	}
	end := &fileRec{session: f.session}
	switch {
	case !f.expires.IsZero() && !r.now.Before(f.expires):
		end.reason, item.Due = expired, f.expires.Add(r.o.Tombstones)
		r.done.Expired++
	case f.max > 0 && !r.o.Keep:
		end.reason, item.Due = usedUp, r.now.Add(r.o.Tombstones)
		r.done.Closed++
	default:
		return item, nil
	}
	item.Doc = end.encode()
	return item, nil
}

// closeToken notes that a counted token was used up.
func (r *restore) closeToken(item Item) error {
	t, err := decodeToken(item.Doc)
	if err != nil || t.max == 0 {
		return err
	}
	r.put(UseRecords, Item{ID: item.ID, Doc: (&usesRec{complete: t.max}).encode()})
	r.done.Closed++
	return nil
}

// closeInvitation ends an invitation that is good for so many uses.
func (r *restore) closeInvitation(item Item) (Item, error) {
	i, err := decodeInvitation(item.Doc)
	if err != nil || i.reason != alive || i.limits.MaxUses == 0 {
		return item, err
	}
	i.reason, i.uses, i.ended = usedUp, i.limits.MaxUses, r.now
	item.Doc, item.Due = i.encode(), r.now.Add(r.o.Tombstones)
	r.done.Closed++
	return item, nil
}

// skipNumbers passes over the numbers of a sequence that may have been given away.
func skipNumbers(item Item) (Item, error) {
	if item.ID[0] != numberID("")[0] {
		return item, nil
	}
	var e encoder
	for x, err := range fields(item.Doc) {
		if err != nil {
			return item, err
		}
		if x.n == 1 {
			e.uint(1, x.v+sequenceGap)
		}
	}
	item.Doc = e
	return item, nil
}

// write puts the records that were taken into the target.
func (r *restore) write(ctx context.Context) error {
	err := r.to.Records.Update(ctx, func(tx Tx) error {
		for _, s := range r.batch {
			if err := tx.Put(s.in, s.item.ID, s.item.Doc, s.item.Due); err != nil {
				return err
			}
		}
		return nil
	})
	r.batch, r.size = r.batch[:0], 0
	return err
}

// end compares what came with what the end says.
func (r *restore) end() error {
	var end BackupEnd
	if err := r.document(&end); err != nil {
		return err
	}
	if end.SHA256 != hex.EncodeToString(r.sum.Sum(nil)) {
		return fmt.Errorf("%w: the digest of its records differs", errDamaged)
	}
	return nil
}
