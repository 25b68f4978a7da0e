package store

import (
	"context"
	"io"
)

// putRun writes a body as one blob, or where the blobs are [Segmented] as many
// as it takes. After an error none is left, unless it cannot be deleted.
func (s *Store) putRun(ctx context.Context, b *body, r *run) (err error) {
	cut, ok := s.blobs.(Segmented)
	if !ok {
		r.size, err = s.blobs.Put(ctx, r.blob(0), b, b.want)
		r.seg = r.size
		return err
	}
	how := Cut{AtOnce: 2}
	if b.want >= 0 {
		how.Segment = cut.Segment(b.want)
	} else if how, err = cut.Reserve(ctx, b.most); err != nil {
		return err
	} else {
		defer how.Done()
	}
	r.seg = how.Segment
	return s.putSegments(ctx, b, r, how.AtOnce)
}

// putSegments writes a body as blobs of r.seg bytes. While one that was read is on
// its way the next is read, if there may be two at once.
func (s *Store) putSegments(ctx context.Context, b *body, r *run, atOnce int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	before := &putting{}
	for ; ; r.count++ {
		size := int64(-1)
		if b.want >= 0 {
			size = min(r.seg, b.want-(r.count-1)*r.seg)
		}
		now := s.startPut(ctx, r.blob(r.count-1), b, r.seg, size)
		select {
		case <-now.read:
		case <-now.done:
		}
		err := before.wait(r)
		if err == nil && (atOnce < 2 || now.over()) {
			err = now.wait(r)
		}
		more := false
		if err == nil {
			more, err = b.more()
		}
		if err == nil && !more {
			err = now.wait(r)
		}
		if err != nil {
			cancel()
			if werr := now.wait(r); r.count > 1 || werr == nil { // else there is nothing to drop
				s.dropRun(ctx, *r)
			}
			return err
		}
		if !more {
			return nil
		}
		before = now
	}
}

// putting is a Put that is under way.
type putting struct {
	section
	read chan struct{} // closed when nothing of the body is read any more
	done chan struct{} // closed when it is over; nil: there is none
	n    int64         // of Put, when it is over, as err
	err  error
	seen bool // n is in the run
}

func (s *Store) startPut(ctx context.Context, key string, b *body, most, size int64) *putting {
	p := &putting{section: section{b: b, left: most}, read: make(chan struct{}), done: make(chan struct{})}
	p.atEnd = func() { close(p.read) }
	go func() {
		defer close(p.done)
		p.n, p.err = s.blobs.Put(ctx, key, &p.section, size)
	}()
	return p
}

// over tells whether it is over.
func (p *putting) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// wait waits for the end, and adds to the run what was written.
func (p *putting) wait(r *run) error {
	if p.done == nil {
		return nil
	}
	<-p.done
	if !p.seen {
		p.seen = true
		r.size += p.n
	}
	return p.err
}

// section is the next so many bytes of a body. From its end on it leaves the body
// alone.
type section struct {
	b     *body
	left  int64
	err   error  // at the end
	atEnd func() // is called then, once
}

func (s *section) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.b.Read(p[:min(int64(len(p)), s.left)])
	if s.left -= int64(n); s.left == 0 && err == nil {
		err = io.EOF
	}
	if err != nil {
		s.err = err
		s.atEnd()
	}
	if n > 0 {
		return n, nil
	}
	return 0, err
}
