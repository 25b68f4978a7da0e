package store

import (
	"context"
	"io"
)

// ahead is the opening of the segment that a download comes to next: a server of
// blobs takes its time to answer, for each of them.
type ahead struct {
	at     int64 // of the content
	cancel context.CancelFunc
	done   chan struct{} // closed when the others are set
	part   io.ReadCloser
	err    error
}

// lookAhead begins to open the segment behind the one that is open, if the bytes
// up to end go on in it and the blobs are ones that are waited for.
func (d *Download) lookAhead(end int64) {
	if _, far := d.s.blobs.(Segmented); !far || d.next != nil || d.partEnd >= end {
		return
	}
	key, from, size, ok := d.locate(d.partEnd)
	if !ok {
		return
	}
	a := &ahead{at: d.partEnd, done: make(chan struct{})}
	var ctx context.Context
	ctx, a.cancel = context.WithCancel(d.ctx)
	d.next = a
	go func() {
		defer close(a.done)
		a.part, a.err = d.s.blobs.Open(ctx, key, from, size)
	}()
}

// take returns what was opened at a position, nil if that is not there or failed.
func (d *Download) take(at int64) io.ReadCloser {
	a := d.next
	if a == nil {
		return nil
	}
	d.next = nil
	if a.at != at {
		a.cancel()
	}
	<-a.done
	switch {
	case a.err != nil:
		a.cancel()
		return nil
	case a.at != at:
		a.part.Close()
		return nil
	}
	return &opened{a.part, a.cancel}
}

// opened is a part with the context it was opened with.
type opened struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (o *opened) Close() error {
	defer o.cancel()
	return o.ReadCloser.Close()
}
