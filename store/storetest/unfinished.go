package storetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fileshare/store"
)

var errCut = errors.New("the line was cut")

// cutBody yields data and then breaks.
func cutBody(data []byte) io.Reader {
	return io.MultiReader(bytes.NewReader(data), &failing{0, errCut})
}

// begin makes an unfinished upload of alice's.
func (e *env) begin(length int64, part bool) store.Ref {
	e.t.Helper()
	p, err := e.BeginUpload(e.ctx(), alice, store.FileSpec{Name: new("a.bin"), TTL: new(time.Hour)}, store.Begin{Length: length, Part: part})
	if err != nil {
		e.t.Fatal(err)
	}
	return store.Ref{File: p.File.ID}
}

func piece(at int64) store.Piece { return store.Piece{Offset: at, Size: -1, Length: -1} }

// append adds data, which must work.
func (e *env) append(ref store.Ref, at int64, data []byte) *store.Progress {
	e.t.Helper()
	p, err := e.Append(e.ctx(), alice, ref, bytes.NewReader(data), piece(at))
	if err != nil {
		e.t.Fatal(err)
	}
	if p.Offset != at+int64(len(data)) {
		e.t.Fatalf("at %d after %d and %d", p.Offset, at, len(data))
	}
	return p
}

// isWhole checks that a file is complete and has that content.
func (e *env) isWhole(ref store.Ref, data []byte, digest bool) {
	e.t.Helper()
	f, err := e.File(e.ctx(), root, ref)
	if err != nil {
		e.t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	if f.State != store.StateUploaded || f.Size != int64(len(data)) || f.CRC32 != crc32.ChecksumIEEE(data) || digest != bytes.Equal(f.SHA256, sum[:]) {
		e.t.Errorf("%+v", f)
	}
	got, err := e.fetch(link, ref, 0, int64(len(data)))
	if err != nil || !bytes.Equal(got, data) {
		e.t.Errorf("%d bytes of %d, %v", len(got), len(data), err)
	}
}

// isExact checks that what accounts have stored is what there is, and that no
// blob is left over.
func (e *env) isExact(files, bytes int64) {
	e.t.Helper()
	e.purge()
	if r, err := e.Sweep(e.ctx(), 0); err != nil || r.Removed != 0 {
		e.t.Errorf("swept %+v, %v", r, err)
	}
	if f, b, err := e.Usage(e.ctx()); err != nil || f != files || b != bytes {
		e.t.Errorf("%d files and %d bytes are accounted for, %v, want %d and %d", f, b, err, files, bytes)
	}
}

// A content in order, in pieces of all sizes.
func testAppend(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 1000})
	var total int64
	sizes := [][]int{{0}, {1}, {999, 1}, {500, 500, 1}, {1000, 1}, {1001}, {3, 5000, 7}, {100_000, 1, 300_000}, {700_000, 700_000, 1, 700_000}, {3 << 20, 10, 1 << 20}}
	for i, cuts := range sizes {
		for _, known := range []bool{true, false} {
			n := 0
			for _, c := range cuts {
				n += c
			}
			data := random(n)
			length := int64(-1)
			if known {
				length = int64(n)
			}
			ref := e.begin(length, false)
			at := int64(0)
			for j, c := range cuts {
				p := piece(at)
				p.Last = j == len(cuts)-1
				if known && n == 0 {
					break // it is complete
				}
				if f, err := e.File(e.ctx(), alice, ref); err != nil || f.State != store.StateUploading || f.Size != at {
					t.Fatalf("%+v, %v", f, err)
				}
				_, err := e.Open(e.ctx(), link, ref)
				e.want(err, store.Conflict, "the file has no content yet")
				var body io.Reader = bytes.NewReader(data[at : at+int64(c)])
				if (i+j)%2 == 0 {
					p.Size = int64(c)
					body = io.MultiReader(body) // hides its length
				}
				got, err := e.Append(e.ctx(), alice, ref, body, p)
				if err != nil {
					t.Fatal(err)
				}
				at += int64(c)
				if got.Offset != at {
					t.Fatalf("at %d, want %d", got.Offset, at)
				}
				if j%2 == 1 {
					e.reboot()
				}
			}
			e.isWhole(ref, data, true)
			total += int64(n)
			_, err := e.Append(e.ctx(), alice, ref, bytes.NewReader(nil), piece(int64(n)))
			if e.want(err, store.Conflict, "the upload is complete"); !errors.Is(err, store.ErrComplete) {
				t.Error(err)
			}
			if p, err := e.Progress(e.ctx(), alice, ref); err != nil || !p.Complete() || p.Length != int64(n) || p.File.State != store.StateUploaded {
				t.Errorf("%+v, %v", p, err)
			}
			f, _ := e.File(e.ctx(), alice, ref)
			if left := time.Until(f.Expires); left > time.Hour || left < 59*time.Minute || f.TTL != time.Hour {
				t.Errorf("it ends in %v", left)
			}
		}
	}
	e.isExact(int64(2*len(sizes)), total)
}

// Bytes that are all there before their number is told make a file when it is,
// however it is told.
func testAppendTold(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 1000})
	for _, n := range []int{10, 2000} {
		data := random(n)
		for how, tell := range map[string]func(store.Ref) (*store.Progress, error){
			"length": func(ref store.Ref) (*store.Progress, error) { return e.SetLength(e.ctx(), alice, ref, int64(n)) },
			"empty body": func(ref store.Ref) (*store.Progress, error) {
				return e.Append(e.ctx(), alice, ref, bytes.NewReader(nil), store.Piece{Offset: int64(n), Size: 0, Length: int64(n)})
			},
			"empty body of unknown size": func(ref store.Ref) (*store.Progress, error) {
				return e.Append(e.ctx(), alice, ref, bytes.NewReader(nil), store.Piece{Offset: int64(n), Size: -1, Length: int64(n)})
			},
			"last body": func(ref store.Ref) (*store.Progress, error) {
				return e.Append(e.ctx(), alice, ref, bytes.NewReader(nil), store.Piece{Offset: int64(n), Size: -1, Length: -1, Last: true})
			},
		} {
			ref, part := e.begin(-1, false), e.begin(-1, true)
			e.append(ref, 0, data)
			e.append(part, 0, data)
			_, err := e.Append(e.ctx(), alice, ref, bytes.NewReader([]byte("x")), store.Piece{Offset: int64(n), Size: -1, Length: int64(n)})
			if !errors.Is(err, store.ErrLength) {
				t.Errorf("%s: one byte too many: %v", how, err)
			}
			if p, err := tell(ref); err != nil || !p.Complete() || p.File.State != store.StateUploaded {
				t.Errorf("%s: %+v, %v", how, p, err)
			}
			e.isWhole(ref, data, true)
			if p, err := tell(part); err != nil || !p.Complete() {
				t.Errorf("%s, part: %+v, %v", how, p, err)
			}
			p, err := e.Concat(e.ctx(), alice, store.FileSpec{}, []store.Ref{part})
			if err != nil {
				t.Fatal(how, err)
			}
			e.isWhole(store.Ref{File: p.File.ID}, data, true)
		}
	}
	e.isExact(16, 8*2010)
}

// Lengths as long as a number can be are as good as others.
func testAppendEndless(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 10})
	ref := e.begin(math.MaxInt64, false)
	e.append(ref, 0, random(100))
	p := piece(100)
	p.Size = math.MaxInt64
	if _, err := e.Append(e.ctx(), alice, ref, bytes.NewReader(nil), p); !errors.Is(err, store.ErrLength) {
		t.Errorf("bytes behind the end: %v", err)
	}
	at := e.begin(math.MaxInt64, false)
	_, err := e.WriteAt(e.ctx(), alice, at, cutBody(random(100)), 0, math.MaxInt64, nil)
	if !errors.Is(err, errCut) {
		t.Errorf("a piece that breaks off: %v", err)
	}
}

// What contradicts the record is refused and changes nothing.
func testAppendRefused(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 10, FileSize: 1000, UserQuota: 3000})
	ref := e.begin(100, false)
	e.append(ref, 0, random(40))
	try := func(p store.Piece, n int, kind store.Kind, cause error) {
		t.Helper()
		_, err := e.Append(e.ctx(), alice, ref, bytes.NewReader(random(n)), p)
		if store.KindOf(err) != kind || cause != nil && !errors.Is(err, cause) {
			t.Errorf("%+v: %v", p, err)
		}
		if p, err := e.Progress(e.ctx(), alice, ref); err != nil || p.Offset != 40 || p.Length != 100 {
			t.Errorf("%+v, %v", p, err)
		}
	}
	for _, at := range []int64{0, 39, 41, 100} {
		try(piece(at), 10, store.Conflict, nil)
		_, err := e.Append(e.ctx(), alice, ref, bytes.NewReader(nil), piece(at))
		if o, ok := errors.AsType[*store.OffsetError](err); !ok || o.Offset != 40 {
			t.Error(err)
		}
	}
	try(piece(40), 61, store.Conflict, store.ErrLength)
	p := piece(40)
	p.Size = 61
	try(p, 61, store.Conflict, store.ErrLength)
	p.Size, p.Length = 10, 200
	try(p, 10, store.Conflict, store.ErrLength)
	p = piece(40)
	broken := errors.New("not the digest")
	p.Check = func() error { return store.RefuseCause(store.Mismatch, "no", broken) }
	try(p, 60, store.Mismatch, broken)
	p.Check = func() error { return nil }
	if _, err := e.Append(e.ctx(), alice, ref, cutBody(random(20)), p); !errors.Is(err, errCut) {
		t.Error(err)
	}
	try(piece(1), 1, store.Conflict, nil)
	for _, c := range []store.Caller{bob, link} {
		if _, err := e.Append(e.ctx(), c, ref, bytes.NewReader(nil), piece(40)); store.KindOf(err) != store.Denied && store.KindOf(err) != store.Unauthenticated {
			t.Errorf("%s: %v", c.Name, err)
		}
		if _, err := e.Progress(e.ctx(), c, ref); store.KindOf(err) != store.Denied && store.KindOf(err) != store.Unauthenticated {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	if _, err := e.SetLength(e.ctx(), alice, ref, 99); !errors.Is(err, store.ErrLength) {
		t.Error(err)
	}

	// Limits hold where the length is known and where it is not.
	_, err := e.BeginUpload(e.ctx(), alice, store.FileSpec{}, store.Begin{Length: 1001})
	e.want(err, store.TooLarge, "file too large: at most 1000 bytes are allowed")
	long := e.begin(-1, false)
	_, err = e.Append(e.ctx(), alice, long, bytes.NewReader(random(1001)), piece(0))
	e.want(err, store.TooLarge, "file too large: at most 1000 bytes are allowed")
	e.append(long, 0, random(1000))
	for range 2 {
		e.append(e.begin(-1, false), 0, random(900))
	}
	_, err = e.Append(e.ctx(), alice, e.begin(-1, false), bytes.NewReader(random(200)), piece(0))
	e.want(err, store.Quota, "your quota is used up")
	if p, err := e.SetLength(e.ctx(), alice, long, 1000); err != nil || !p.Complete() {
		t.Errorf("%+v, %v", p, err)
	}
	e.isExact(1, 40+1000+2*900)
}

// A body that breaks off has left what came of it; a writer that hangs is
// passed by.
func testAppendBroken(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 1000})
	data := random(3_000_000)
	ref := e.begin(int64(len(data)), false)
	for at := int64(0); at < int64(len(data)); {
		n := min(int64(rand.IntN(400_000)), int64(len(data))-at)
		_, err := e.Append(e.ctx(), alice, ref, cutBody(data[at:at+n]), piece(at))
		if err != nil && !errors.Is(err, errCut) && !errors.Is(err, store.ErrComplete) {
			t.Fatal(err)
		}
		p, err := e.Progress(e.ctx(), alice, ref)
		if err != nil || p.Offset != at+n {
			t.Fatalf("%+v, %v, want %d", p, err, at+n)
		}
		at += n
	}
	e.isWhole(ref, data, true)

	ref = e.begin(int64(len(data)), false)
	for _, how := range []string{"asked", "passed by"} {
		before, err := e.Progress(e.ctx(), alice, ref)
		if err != nil {
			t.Fatal(err)
		}
		at := before.Offset
		r, w := io.Pipe()
		p := piece(at)
		p.Interrupt = func() { w.CloseWithError(errCut) }
		old := make(chan error)
		go func() {
			_, err := e.Append(e.ctx(), alice, ref, r, p)
			old <- err
		}()
		if _, err := w.Write(data[at : at+100_000]); err != nil {
			t.Fatal(err)
		}
		if how == "passed by" {
			// Who comes back knows what it sent; what of it is kept, it asks.
			_, err := e.Append(e.ctx(), alice, ref, bytes.NewReader(nil), piece(at))
			if o, ok := errors.AsType[*store.OffsetError](err); !ok || o.Offset != at+100_000 {
				t.Error(err)
			}
		}
		got, err := e.Progress(e.ctx(), alice, ref)
		if err != nil || got.Offset != at+100_000 {
			t.Errorf("%s: %+v, %v", how, got, err)
		}
		if err := <-old; !errors.Is(err, errCut) {
			t.Errorf("%s: %v", how, err)
		}
	}

	// One that cannot be interrupted is too old when it comes back.
	r, w := io.Pipe()
	old := make(chan error)
	go func() {
		_, err := e.Append(e.ctx(), alice, ref, r, piece(200_000))
		old <- err
	}()
	w.Write([]byte("something else"))
	if p, err := e.Progress(e.ctx(), alice, ref); err != nil || p.Offset != 200_000 {
		t.Fatalf("%+v, %v", p, err)
	}
	e.append(ref, 200_000, data[200_000:])
	w.Close()
	e.want(<-old, store.Conflict, "the upload is complete")
	e.isWhole(ref, data, true)
	e.isExact(2, 2*int64(len(data)))
}

// An unfinished file that nobody goes on with ends, and leaves nothing.
func testUnfinishedEnd(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 1000, UnfinishedTTL: 5 * time.Second})
	var ends []store.Ref
	for _, n := range []int{10, 2000, 1_500_000} {
		ref, deleted := e.begin(-1, false), e.begin(-1, n > 10)
		e.append(ref, 0, random(n))
		e.append(deleted, 0, random(n))
		if err := e.DeleteFile(e.ctx(), alice, deleted); err != nil {
			t.Fatal(err)
		}
		_, err := e.Append(e.ctx(), alice, deleted, bytes.NewReader(nil), piece(int64(n)))
		e.want(err, store.NotFound, "upload not found")
		ends = append(ends, ref)
	}
	if p, err := e.Progress(e.ctx(), alice, ends[len(ends)-1]); err != nil {
		t.Fatal(err)
	} else {
		until(p.Expires)
	}
	for _, ref := range ends {
		_, err := e.Progress(e.ctx(), alice, ref)
		e.want(err, store.Expired, "upload expired")
	}
	e.isExact(0, 0)
	if left := e.leftBlobs(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if n := e.leftRecords(store.IndexRecords); n != 0 {
		t.Errorf("%d index records left", n)
	}

	// A session's file ends with its session, and keeps its own TTL else.
	s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{})
	if err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{0, time.Hour} {
		f, err := e.CreateFile(e.ctx(), alice, s.ID, store.FileSpec{})
		if err != nil {
			t.Fatal(err)
		}
		ref := store.Ref{Session: s.ID, File: f.ID}
		p, err := e.BeginFile(e.ctx(), alice, ref, store.FileSpec{Name: new("b.txt")}, store.Begin{Length: 2000, Wait: wait})
		if err != nil || p.File.Name != "b.txt" || p.File.State != store.StateUploading {
			t.Fatalf("%+v, %v", p, err)
		}
		_, err = e.BeginFile(e.ctx(), alice, ref, store.FileSpec{}, store.Begin{Length: 2000})
		e.want(err, store.Conflict, "an upload of the content has begun already")
		e.append(ref, 0, random(1000))
		if p, err = e.Progress(e.ctx(), alice, ref); err != nil || (time.Until(p.Expires) > time.Minute) != (wait > 0) {
			t.Errorf("kept until %v, %v", p, err)
		}
	}
	if page, err := e.Files(e.ctx(), alice, store.Query{Session: s.ID}); err != nil || len(page.Items) != 2 {
		t.Errorf("%+v, %v", page, err)
	} else {
		ref := store.Ref{Session: s.ID, File: page.Items[0].ID}
		e.append(ref, 1000, random(1000))
		if f, err := e.File(e.ctx(), alice, ref); err != nil || !f.Expires.Equal(s.Expires) {
			t.Errorf("%+v, %v", f, err)
		}
	}
	if err := e.DeleteSession(e.ctx(), alice, s.ID); err != nil {
		t.Fatal(err)
	}
	e.isExact(0, 0)
}

// By position: any order, many at once, some twice.
func testPositions(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 1000})
	const chunk = 50_000
	data := random(40*chunk + 123)
	ref := e.begin(int64(len(data)), false)
	var chunks []int64
	for at := int64(0); at < int64(len(data)); at += chunk {
		chunks = append(chunks, at)
	}
	write := func(at int64) error {
		end := min(at+chunk, int64(len(data)))
		_, err := e.WriteAt(e.ctx(), alice, ref, bytes.NewReader(data[at:end]), at, end-at, nil)
		return err
	}
	rand.Shuffle(len(chunks), func(i, j int) { chunks[i], chunks[j] = chunks[j], chunks[i] })
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(chunks)-1); i = next.Add(1) - 1 {
				for range 1 + i%2 {
					if err := write(chunks[i]); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	last := chunks[len(chunks)-1]
	p, err := e.Progress(e.ctx(), alice, ref)
	if err != nil || p.Offset != last || p.Length != int64(len(data)) {
		t.Errorf("%+v, %v, want %d", p, err, last)
	}
	_, err = e.Finish(e.ctx(), alice, ref)
	e.want(err, store.Conflict, fmt.Sprintf("%d bytes are missing", min(chunk, int64(len(data))-last)))
	other := chunks[0]
	for _, bad := range [][2]int64{{other + 1, 10}, {other, 10}, {int64(len(data)) - 5, 6}, {-1, 5}, {0, 0}} {
		n := max(bad[1], 0)
		if _, err := e.WriteAt(e.ctx(), alice, ref, bytes.NewReader(random(int(n))), bad[0], bad[1], nil); store.KindOf(err) != store.Conflict && store.KindOf(err) != store.Invalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
	e.overlaps(ref, data, last)
	_, err = e.Append(e.ctx(), alice, ref, bytes.NewReader(nil), piece(last))
	e.want(err, store.Conflict, "this upload gets its content by position")
	_, err = e.WriteAt(e.ctx(), alice, ref, bytes.NewReader(data[:10]), last, 10, func(io.Reader) error { return errCut })
	if !errors.Is(err, errCut) {
		t.Error(err)
	}
	_, err = e.WriteAt(e.ctx(), alice, ref, cutBody(data[:5]), last, 10, nil)
	if !errors.Is(err, errCut) {
		t.Error(err)
	}
	_, err = e.WriteAt(e.ctx(), bob, ref, bytes.NewReader(data[:10]), last, 10, nil)
	e.want(err, store.Denied, "not yours")
	if err := write(last); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if f, err := e.Finish(e.ctx(), alice, ref); err != nil || f.State != store.StateUploaded {
			t.Fatalf("%+v, %v", f, err)
		}
	}
	e.isWhole(ref, data, true)

	small := e.begin(10, false)
	for range 2 {
		if _, err := e.WriteAt(e.ctx(), alice, small, bytes.NewReader(data[:10]), 0, 10, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.WriteAt(e.ctx(), alice, small, bytes.NewReader(data[3:8]), 3, 5, nil); err != nil {
		t.Error(err)
	}
	_, err = e.WriteAt(e.ctx(), alice, small, bytes.NewReader(data[3:8]), 2, 5, nil)
	e.want(err, store.Conflict, "some of these bytes are there already, and are others")
	if _, err := e.Finish(e.ctx(), alice, small); err != nil {
		t.Fatal(err)
	}
	e.isWhole(small, data[:10], true)
	e.isExact(2, int64(len(data))+10)
}

// overlaps writes around a hole of a chunk's size, of which all else is there: what
// is there must be the same, and what is not is taken.
func (e *env) overlaps(ref store.Ref, data []byte, hole int64) {
	e.t.Helper()
	size := int64(len(data))
	end := min(hole+50_000, size)
	write := func(from, to int64, change int64) error {
		b := bytes.Clone(data[from:to])
		if change >= 0 {
			b[change-from]++
		}
		_, err := e.WriteAt(e.ctx(), alice, ref, bytes.NewReader(b), from, to-from, nil)
		return err
	}
	from, to := max(hole-60_000, 0), min(end+60_000, size) // more than a neighbour on each side
	if from < hole {
		e.want(write(from, hole+10, hole-1), store.Conflict, "some of these bytes are there already, and are others")
	}
	if end < to {
		e.want(write(end-10, to, end), store.Conflict, "some of these bytes are there already, and are others")
	}
	if p, err := e.Progress(e.ctx(), alice, ref); err != nil || p.Offset != hole {
		e.t.Errorf("%+v, %v, want %d", p, err, hole)
	}
	for _, w := range [][2]int64{{from, hole + 10}, {end - 10, to}, {from, hole}, {hole + 5, hole + 20}} {
		if w[0] == w[1] {
			continue
		}
		if err := write(w[0], w[1], -1); err != nil {
			e.t.Errorf("%v: %v", w, err)
		}
	}
	if p, err := e.Progress(e.ctx(), alice, ref); err != nil || p.Offset != hole+20 {
		e.t.Errorf("%+v, %v, want %d", p, err, hole+20)
	}
	// A cut body, or one that is not believed, leaves all as it was.
	_, err := e.WriteAt(e.ctx(), alice, ref, bytes.NewReader(data[from:to]), from, to-from, func(io.Reader) error { return errCut })
	if !errors.Is(err, errCut) {
		e.t.Error(err)
	}
	_, err = e.WriteAt(e.ctx(), alice, ref, cutBody(data[from:to-1]), from, to-from, nil)
	if !errors.Is(err, errCut) {
		e.t.Error(err)
	}
}
