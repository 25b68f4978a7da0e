package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"
)

// Span is a range of bytes, [From, To).
type Span struct{ From, To int64 }

// Download is an opened content: an io.ReadSeeker for http.ServeContent, and
// the counting that goes with it. One goroutine uses it; Close it.
//
// The order of calls on a counted one: Reserve before the first byte, Settle
// after the last. Both do nothing where nothing is counted.
type Download struct {
	s       *Store
	ctx     context.Context // of Open: reading ends with it
	ref     Ref
	file    *File
	key     Key // of the record whose uses are counted
	max     int64
	expires time.Time
	runs    []run
	ends    []int64 // where each run ends, made when it is needed
	inline  []byte
	share   Key // by which it was opened
	from    string
	began   time.Time
	confirm bool // its holder wants to be told that it is complete

	id        uint64 // of the reservation, 0 = none
	completed bool   // Settle completed a use
	pos       int64
	part      io.ReadCloser // open segment
	partEnd   int64         // where it ends; part is at pos
	next      *ahead        // nil: none
}

// Open checks that the content may be read now (existence, expiry, uses,
// permission) and opens it; it can be read as long as ctx lasts. It reserves
// nothing. With ref.Token the token is
// the permission, else the file's own link; a file in a session without token
// needs the session's owner.
func (s *Store) Open(ctx context.Context, c Caller, ref Ref) (*Download, error) {
	a := toFetch
	if ref.Session != "" && ref.Token == "" {
		a = toSession
	}
	if err := s.permit(c, a, nil); err != nil {
		return nil, err
	}
	d := &Download{s: s, ctx: ctx, ref: ref, began: s.now()}
	err := s.view(ctx, func(tx Tx) error {
		f, err := s.find(tx, ref, s.now())
		if err != nil {
			return err
		}
		w := f.whose()
		w.needs = AccessRead
		if w.granted, err = s.sharedWith(tx, c, f.sessionKey); err != nil {
			return err
		}
		if w.granted != "" {
			d.share, _ = s.ids.key(c.Share)
			d.confirm = c.Confirm
		}
		if err := s.permit(c, a, w); err != nil {
			return err
		}
		if !f.file.stored {
			return Refuse(Conflict, "the file has no content yet")
		}
		if f.file.audit {
			d.from = c.Address
		}
		return d.open(tx, f)
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// open copies what the download needs out of the records.
func (d *Download) open(tx Tx, f *found) error {
	d.expires, d.runs = f.linkExpires(), f.file.runs
	d.key, d.max = f.counts()
	downloads := int64(0)
	if d.max > 0 {
		u, err := getUses(tx, d.key)
		if err != nil {
			return err
		}
		if u.complete >= d.max {
			return f.used(errUsedUp)
		}
		downloads = u.complete
	}
	if f.file.inline {
		doc, err := tx.Get(ContentRecords, f.fileKey[:])
		if err != nil {
			return err
		}
		if int64(len(doc)) != f.file.size {
			return fmt.Errorf("content of %s: %d bytes of %d: %w", f.fileKey, len(doc), f.file.size, fs.ErrNotExist)
		}
		d.inline = slices.Clone(doc)
	}
	d.file = d.s.render(f, downloads)
	return nil
}

// counts returns the key under which downloads are counted, and the limit (0 =
// none).
func (f *found) counts() (Key, int64) {
	switch {
	case f.token == nil:
		return f.fileKey, f.file.max
	case f.token.max == 0: // one with an access: nothing to count but the statistic
		return f.fileKey, 0
	}
	return f.tokenKey, f.token.max
}

// File is the file as it was when it was opened. Its Downloads are those of the
// link.
func (d *Download) File() *File { return d.file }

// Expires is when this link ends: the token's expiry if there is one, else the file's.
func (d *Download) Expires() time.Time { return d.expires }

// Counted tells whether a limit counts this download.
func (d *Download) Counted() bool { return d.max > 0 }

// Left is how many downloads the link has left, -1 without a limit.
func (d *Download) Left() int64 {
	if d.max == 0 {
		return -1
	}
	return max(d.max-d.file.Downloads, 0)
}

// Reserve takes the spans for this download in one Update, or refuses: Busy
// (with RetryAfter), Used, Expired, NotFound.
func (d *Download) Reserve(ctx context.Context, spans []Span) error {
	if d.max == 0 {
		return nil
	}
	var id [8]byte
	rand.Read(id[:]) // never fails
	reservation := binary.BigEndian.Uint64(id[:])
	err := d.s.update(ctx, func(tx Tx) error {
		now := d.s.now()
		f, u, err := d.uses(tx, now)
		if err != nil {
			return err
		}
		_, limit := f.counts()
		if err := u.reserve(now, d.file.Size, limit, reservation, d.s.node, spans, d.s.o.BurnAtStart); err != nil {
			return f.used(err)
		}
		return d.put(tx, f, u)
	})
	switch {
	case err == nil:
		d.id = reservation
		d.s.stats.reserved.Add(1)
	case KindOf(err) == Busy:
		d.s.stats.busy.Add(1)
	}
	return err
}

// uses reads the record that counts, with what is dead taken out of it.
func (d *Download) uses(tx Tx, now time.Time) (*found, *usesRec, error) {
	f, err := d.s.find(tx, d.ref, now)
	if err != nil {
		return nil, nil, err
	}
	u, err := getUses(tx, d.key)
	if err != nil {
		return nil, nil, err
	}
	d.s.stats.lapsed.Add(u.settleDead(now, d.file.Size, d.s.o.Lease, d.s.alive(tx, now)))
	return f, u, nil
}

// usedGrace is how long an upload stays that has just been used up: its last
// download may yet turn out not to have arrived.
const usedGrace = time.Minute

// put writes the record that counts. An upload that is used up is due soon.
func (d *Download) put(tx Tx, f *found, u *usesRec) error {
	if err := putUses(tx, d.key, u); err != nil {
		return err
	}
	if f.token != nil || f.file.max == 0 {
		return nil
	}
	due := f.file.expires
	if end := d.s.now().Add(usedGrace); u.complete >= f.file.max && (due.IsZero() || end.Before(due)) {
		due = end
	}
	return tx.Put(FileRecords, f.fileKey[:], f.file.encode(), due)
}

// Settle ends the reservation: delivered went out for certain; doubtful (may
// be empty) went into the kernel but may not have arrived. It is called once,
// with a context that outlives the request, and also when nothing went out.
func (d *Download) Settle(ctx context.Context, delivered, doubtful []Span) (err error) {
	for _, s := range delivered {
		d.s.stats.bytesOut.Add(s.To - s.From)
	}
	for _, s := range doubtful {
		d.s.stats.bytesOut.Add(s.To - s.From)
	}
	switch {
	case d.max == 0:
		whole := len(delivered) == 1 && covers(delivered, d.file.Size) || d.file.Size == 0 && len(delivered) > 0
		if !whole {
			if whole, err = d.gather(ctx, delivered, doubtful); err != nil {
				return err
			}
		}
		if whole {
			d.s.tally.add(tallyKey{file: d.key, share: d.share, confirm: d.confirm, from: d.from}, d.began, false)
		}
		return nil
	case d.id == 0:
		return nil
	}
	id := d.id
	d.id = 0
	err = d.s.update(ctx, func(tx Tx) error {
		d.completed = false
		now := d.s.now()
		f, u, err := d.uses(tx, now)
		if KindOf(err) != 0 {
			return nil // expired or deleted meanwhile: nothing is left to count
		}
		if err != nil {
			return err
		}
		d.completed = u.settle(now, d.file.Size, id, delivered, doubtful) || d.s.o.BurnAtStart
		if d.completed {
			if err := d.emit(tx, now, f, u); err != nil {
				return err
			}
		}
		return d.put(tx, f, u)
	})
	if err == nil && d.completed {
		d.s.stats.completed.Add(1)
		if d.ref.Token != "" {
			if key, ok := d.s.ids.key(d.ref.File); ok {
				d.s.tally.add(tallyKey{file: key}, d.began, true)
			}
		}
	}
	return err
}

// emit tells of a counted download that is complete, and of a token that is
// spent with it. (A file that is spent ends within usedGrace, which is told
// then.)
func (d *Download) emit(tx Tx, now time.Time, f *found, u *usesRec) error {
	email, err := emailOf(tx, d.share)
	if err != nil {
		return err
	}
	r := &eventRec{
		Event:   Event{Type: FileDownloaded, Owner: f.owner(), Name: f.file.name, Size: f.file.size, SHA256: f.file.sha, Count: 1, Email: email, Address: d.from, Began: d.began},
		session: f.sessionKey, file: f.fileKey, token: f.tokenKey, share: d.share, audit: f.file.audit,
	}
	if err := d.s.emit(tx, now, r); err != nil {
		return err
	}
	if !d.share.zero() && d.s.eventful() {
		if err := d.s.emitTaken(tx, now, taken{f.sessionKey, d.share, d.confirm}, []string{f.file.original}, 1); err != nil {
			return err
		}
	}
	if f.token == nil || u.complete < f.token.max {
		return nil
	}
	used := *r
	used.Event = Event{Type: TokenUsed, Owner: r.Owner, Name: r.Name, Size: r.Size, SHA256: r.SHA256}
	return d.s.emit(tx, now, &used)
}

// Reopen takes back the certainty of the last bytes of a settled download: the
// connection was reset after them. It does nothing unless that download
// completed a use, and with burn at start.
func (d *Download) Reopen(ctx context.Context, doubtful []Span) error {
	if !d.completed || d.s.o.BurnAtStart {
		return nil
	}
	d.completed = false
	reopened := false
	err := d.s.update(ctx, func(tx Tx) error {
		now := d.s.now()
		f, u, err := d.uses(tx, now)
		if KindOf(err) != 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if reopened = u.reopen(now, d.file.Size, doubtful); !reopened {
			return nil
		}
		return d.put(tx, f, u)
	})
	if err == nil && reopened {
		d.s.stats.reopened.Add(1)
	}
	return err
}

// Seek implements io.Seeker.
func (d *Download) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += d.pos
	case io.SeekEnd:
		offset += d.file.Size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	if offset != d.pos {
		d.closePart()
		d.pos = offset
	}
	return offset, nil
}

// Read implements io.Reader.
func (d *Download) Read(p []byte) (int, error) {
	if d.pos >= d.file.Size {
		return 0, io.EOF
	}
	if d.file.Size > 0 && d.runs == nil {
		n := copy(p, d.inline[d.pos:])
		d.pos += int64(n)
		return n, nil
	}
	part, left, err := d.segment()
	if err != nil {
		return 0, err
	}
	n, err := part.Read(p[:min(int64(len(p)), left)])
	d.pos += int64(n)
	if err == io.EOF && n == 0 {
		err = io.ErrUnexpectedEOF // the blob is shorter than its record says
	} else if err == io.EOF {
		err = nil
	}
	return n, err
}

// Prepare opens what the next bytes are read from, so that a content that cannot
// be read is noticed, and refused, before anything is answered.
func (d *Download) Prepare() error {
	if d.pos >= d.file.Size || d.runs == nil {
		return nil
	}
	_, _, err := d.segment()
	return refusal(err)
}

// SendTo writes at most n bytes from the current position to w, segment by
// segment, so that an io.ReaderFrom on a TCP connection can use sendfile
// (w.ReadFrom is called with an *io.LimitedReader over a file where the
// backend has them). It returns how much w took; fewer than n without an
// error is the end of the content.
func (d *Download) SendTo(w io.Writer, n int64) (total int64, err error) {
	n = min(n, d.file.Size-d.pos)
	if n > 0 && d.runs == nil {
		m, err := w.Write(d.inline[d.pos : d.pos+n])
		d.pos += int64(m)
		return int64(m), err
	}
	for total < n {
		part, left, err := d.segment()
		if err != nil {
			return total, err
		}
		want := min(left, n-total)
		d.lookAhead(d.pos + n - total)
		m, err := io.CopyN(w, part, want)
		total += m
		d.pos += m
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			// A file has been read further than w took; begin anew at pos.
			d.closePart()
			return total, err
		}
	}
	return total, nil
}

// segment returns a reader that stands at the current position, and how many
// bytes are left in it.
func (d *Download) segment() (io.Reader, int64, error) {
	if d.part != nil && d.pos < d.partEnd {
		return d.part, d.partEnd - d.pos, nil
	}
	d.closePart()
	key, from, size, ok := d.locate(d.pos)
	if !ok {
		return nil, 0, fmt.Errorf("content ends at %d: %w", d.pos, io.ErrUnexpectedEOF)
	}
	if d.part = d.take(d.pos); d.part == nil {
		part, err := d.s.blobs.Open(d.ctx, key, from, size)
		if err != nil {
			return nil, 0, fmt.Errorf("open content: %w", err)
		}
		d.part = part
	}
	d.partEnd = d.pos + size
	return d.part, size, nil
}

// locate finds the blob in which a position of the content is, where in it, and
// how much of it is left from there.
func (d *Download) locate(pos int64) (key string, from, left int64, ok bool) {
	if d.ends == nil {
		d.ends = make([]int64, len(d.runs))
		end := int64(0)
		for i, r := range d.runs {
			end += r.size
			d.ends[i] = end
		}
	}
	at, _ := slices.BinarySearch(d.ends, pos+1)
	if at == len(d.runs) {
		return "", 0, 0, false
	}
	r := d.runs[at]
	start := d.ends[at] - r.size
	i := (pos - start) / r.seg
	begin := start + i*r.seg
	return r.blob(i), pos - begin, min(begin+r.seg, d.ends[at]) - pos, true
}

func (d *Download) closePart() {
	if d.part != nil {
		d.part.Close()
		d.part = nil
	}
}

// Close ends the download. A reservation that was never settled is settled as
// if nothing had gone out.
func (d *Download) Close() error {
	d.closePart()
	d.take(-1)
	if d.id == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return d.Settle(ctx, nil, nil)
}
