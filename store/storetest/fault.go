package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"
	"testing"

	"fileshare/store"
)

// ErrFault is what a call returns that was made to fail.
var ErrFault = errors.New("fault of the test")

// Fault is what becomes of one call.
type Fault int

// Faults.
const (
	None          Fault = iota
	Fail                // the call does nothing and fails
	ApplyThenFail       // the call does its work and fails all the same
)

// FaultyRecords wraps records so that chosen calls fail. decide is called once
// per call with "View" or "Update", by many goroutines at once; nil means no
// faults. An Update that applies and fails has committed: the caller cannot
// know, as after a broken connection.
func FaultyRecords(r store.Records, decide func(op string) Fault) store.Records {
	return &faultyRecords{r, orNone(decide)}
}

func orNone(decide func(string) Fault) func(string) Fault {
	if decide == nil {
		return func(string) Fault { return None }
	}
	return decide
}

type faultyRecords struct {
	store.Records
	decide func(string) Fault
}

func (f *faultyRecords) View(ctx context.Context, fn func(store.Tx) error) error {
	return inject(f.decide("View"), func() error { return f.Records.View(ctx, fn) })
}

func (f *faultyRecords) Update(ctx context.Context, fn func(store.Tx) error) error {
	return inject(f.decide("Update"), func() error { return f.Records.Update(ctx, fn) })
}

// inject runs call as the fault has it. An own error of call stays.
func inject(fault Fault, call func() error) error {
	if fault == Fail {
		return ErrFault
	}
	if err := call(); err != nil || fault == None {
		return err
	}
	return ErrFault
}

// oneCall lets one call of the backends fail, counted since it was armed.
type oneCall struct {
	nth   int64
	fault Fault
	armed atomic.Bool
	calls atomic.Int64
}

func (c *oneCall) decide(string) Fault {
	if !c.armed.Load() || c.calls.Add(1) != c.nth {
		return None
	}
	return c.fault
}

// eachCall runs a scenario over and over, each time with the next call of the
// backends failing, with and without having been applied, until it makes no more
// calls. The scenario arms the fault.
func eachCall(t *testing.T, open Pair, o store.Options, scenario func(*env, *oneCall)) {
	for _, fault := range []Fault{Fail, ApplyThenFail} {
		for nth, more := int64(1), true; more; nth++ {
			t.Run(fmt.Sprintf("call %d applied %v", nth, fault == ApplyThenFail), func(t *testing.T) {
				c := &oneCall{nth: nth, fault: fault}
				records, blobs := open(t)
				e := start(t, func(testing.TB) (store.Records, store.Blobs) {
					return FaultyRecords(records, c.decide), FaultyBlobs(blobs, c.decide)
				}, o)
				scenario(e, c)
				more = c.calls.Load() >= nth && !t.Failed()
			})
		}
	}
}

// FaultyBlobs wraps blobs so that chosen calls fail. decide is called once per
// call with "Put", "Open", "Delete" or "List", by many goroutines at once; nil
// means no faults. An Open that applies and fails gives a reader that fails at
// its end; a List then fails behind its last element. A Put that fails without
// applying has read nothing of its body.
func FaultyBlobs(b store.Blobs, decide func(op string) Fault) store.Blobs {
	f := &faultyBlobs{b, orNone(decide)}
	if s, ok := b.(store.Segmented); ok {
		return segmentedBlobs{f, s}
	}
	return f
}

type faultyBlobs struct {
	store.Blobs
	decide func(string) Fault
}

// segmentedBlobs are faultyBlobs of a backend that is Segmented.
type segmentedBlobs struct {
	*faultyBlobs
	store.Segmented
}

func (f *faultyBlobs) Put(ctx context.Context, key string, r io.Reader, size int64) (n int64, err error) {
	err = inject(f.decide("Put"), func() (err error) {
		n, err = f.Blobs.Put(ctx, key, r, size)
		return err
	})
	return n, err
}

func (f *faultyBlobs) Open(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	fault := f.decide("Open")
	if fault == Fail {
		return nil, ErrFault
	}
	rc, err := f.Blobs.Open(ctx, key, offset, n)
	if err != nil || fault == None {
		return rc, err
	}
	return &failingReader{ReadCloser: rc, left: n}, nil
}

// failingReader fails where its bytes end.
type failingReader struct {
	io.ReadCloser
	left int64
}

func (r *failingReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, ErrFault
	}
	n, err := r.ReadCloser.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err == io.EOF {
		err = ErrFault
	}
	return n, err
}

func (f *faultyBlobs) Delete(ctx context.Context, key string) error {
	return inject(f.decide("Delete"), func() error { return f.Blobs.Delete(ctx, key) })
}

func (f *faultyBlobs) List(ctx context.Context, shard int) iter.Seq2[store.BlobInfo, error] {
	return func(yield func(store.BlobInfo, error) bool) {
		fault := f.decide("List")
		if fault != Fail {
			for info, err := range f.Blobs.List(ctx, shard) {
				if !yield(info, err) || err != nil {
					return
				}
			}
		}
		if fault != None {
			yield(store.BlobInfo{}, ErrFault)
		}
	}
}
