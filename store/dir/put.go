package dir

import (
	"context"
	"fmt"
	"io"
	"os"
)

// window is how many bytes are written between two starts of writeback: the
// disk works while the body still arrives, and the last sync is short.
const window = 8 << 20

// Put implements [store.Blobs]. The file is made under its final name: keys
// are random and no record names one before Put has returned, so a temporary
// name and a rename would only cost another change of the directory. What a
// crash leaves of it is swept like any other blob without a record.
func (d *Dir) Put(ctx context.Context, key string, r io.Reader, size int64) (n int64, err error) {
	i, name, err := place(key)
	if err != nil {
		return 0, fmt.Errorf("storing a blob: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("storing a blob: %w", err)
	}
	root, self, err := d.shard(i, true)
	if err != nil {
		return 0, fmt.Errorf("storing a blob: opening its shard: %w", diskError(err))
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, fmt.Errorf("storing a blob: %w", diskError(err))
	}
	stored := false
	defer func() { // also when r panics
		if !stored {
			f.Close()         // its second error would hide the first
			root.Remove(name) // what cannot be removed now is swept later
		}
	}()
	w := &writer{ctx: ctx, f: f, size: size}
	if err := d.fill(w, r); err != nil {
		return w.n, fmt.Errorf("storing a blob: %w", err)
	}
	if err := persist(f, self); err != nil {
		return w.n, fmt.Errorf("storing a blob: %w", diskError(err))
	}
	if err := f.Close(); err != nil {
		return w.n, fmt.Errorf("storing a blob: %w", diskError(err))
	}
	stored = true
	return w.n, nil
}

// fill writes all that r yields and checks its length.
func (d *Dir) fill(w *writer, r io.Reader) error {
	var err error
	if wt, ok := r.(io.WriterTo); ok {
		_, err = wt.WriteTo(w)
	} else {
		buf := d.pieces.Get().(*[piece]byte)
		defer d.pieces.Put(buf)
		err = copyPieces(w, r, buf[:])
	}
	if w.err != nil { // first: r may have wrapped or swallowed it
		return w.err
	}
	if err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	return w.finish()
}

// copyPieces fills buf before each write, so that writes stay aligned.
func copyPieces(w *writer, r io.Reader, buf []byte) error {
	have, idle := 0, 0
	for {
		n, err := r.Read(buf[have:])
		have += n
		if idle++; n > 0 {
			idle = 0
		}
		if have == len(buf) || err != nil && have > 0 {
			if _, werr := w.Write(buf[:have]); werr != nil {
				return werr
			}
			have = 0
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case idle == 100:
			return io.ErrNoProgress
		}
	}
}

// writer writes a file from its beginning, in pieces that end at multiples of
// piece, and starts writeback now and then.
type writer struct {
	ctx     context.Context
	f       *os.File
	size    int64 // -1 = not known
	n       int64 // bytes written
	started int64 // writeback was started up to here
	err     error // the first one of ours (not of the reader)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	done := 0
	for done < len(p) {
		if w.err = w.ctx.Err(); w.err != nil {
			return done, w.err
		}
		c := p[done:min(len(p), done+int(piece-w.n%piece))]
		if w.size >= 0 && int64(len(c)) > w.size-w.n {
			w.err = fmt.Errorf("body is longer than the %d bytes announced", w.size)
			return done, w.err
		}
		n, err := w.f.Write(c)
		w.n += int64(n)
		done += n
		if err != nil {
			w.err = diskError(err)
			return done, w.err
		}
		if w.n-w.started >= window {
			startWriteback(w.f, w.started, w.n-w.started)
			w.started = w.n
		}
	}
	return done, nil
}

func (w *writer) finish() error {
	if w.size >= 0 && w.n != w.size {
		return fmt.Errorf("body has %d bytes, %d were announced", w.n, w.size)
	}
	return w.ctx.Err()
}
