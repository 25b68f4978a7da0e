package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"fileshare/store"
)

// Open implements [store.Blobs]. A connection that breaks in the middle is made
// anew a few times where it broke.
func (b *Bucket) Open(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	if offset < 0 || n < 0 {
		return nil, fmt.Errorf("opening a blob: range of %d bytes from %d", n, offset)
	}
	name, err := b.object(key)
	if err != nil {
		return nil, fmt.Errorf("opening a blob: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := &reader{b: b, name: name, pos: offset, left: n}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	if n == 0 {
		err = r.stat(offset)
	} else {
		err = r.connect()
	}
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("opening a blob: %w", err)
	}
	return r, nil
}

// reader reads a range of an object.
type reader struct {
	b      *Bucket
	name   string
	ctx    context.Context
	cancel context.CancelCauseFunc
	body   io.ReadCloser // nil: not connected
	pos    int64         // of the next byte
	left   int64
	broken int // connections that broke one after the other
}

// stat checks that there are so many bytes.
func (r *reader) stat(size int64) error {
	ctx, cancel := context.WithTimeout(r.ctx, r.b.o.Timeout)
	defer cancel()
	info, err := r.b.core.StatObject(ctx, r.b.t.Bucket, r.name, minio.StatObjectOptions{})
	if err != nil {
		return explain(err)
	}
	if info.Size < size {
		return fmt.Errorf("%d bytes, %d are wanted: %w", info.Size, size, io.ErrUnexpectedEOF)
	}
	return nil
}

// connect asks for what is left.
func (r *reader) connect() error {
	o := minio.GetObjectOptions{}
	if err := o.SetRange(r.pos, r.pos+r.left-1); err != nil {
		return err
	}
	timer := r.limit()
	body, info, header, err := r.b.core.GetObject(r.ctx, r.b.t.Bucket, r.name, o)
	if !timer.Stop() && err == nil {
		err = errStalled
		body.Close()
	}
	if err != nil {
		return r.explain(err)
	}
	if info.Size < r.left || header.Get("Content-Range") == "" && (r.pos > 0 || info.Size > r.left) {
		body.Close()
		return fmt.Errorf("the server has %d bytes of %d: %w", info.Size, r.left, io.ErrUnexpectedEOF)
	}
	r.body = body
	return nil
}

// limit ends the request when it waits too long for the server.
func (r *reader) limit() *time.Timer {
	return time.AfterFunc(r.b.o.Timeout, func() { r.cancel(errStalled) })
}

func (r *reader) explain(err error) error {
	if cause := context.Cause(r.ctx); cause != nil {
		return cause
	}
	return explain(err)
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	for {
		if r.left == 0 {
			return 0, io.EOF
		}
		if r.body == nil {
			if err := r.connect(); err != nil {
				return 0, fmt.Errorf("reading a blob: %w", err)
			}
		}
		timer := r.limit()
		n, err := r.body.Read(p[:min(int64(len(p)), r.left)])
		timer.Stop()
		r.pos += int64(n)
		r.left -= int64(n)
		if n > 0 || err == nil {
			r.broken = 0
			return n, nil
		}
		if r.broken++; r.broken >= tries || r.ctx.Err() != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, fmt.Errorf("reading a blob: %w", r.explain(err))
		}
		r.body.Close()
		r.body = nil
	}
}

// Close implements io.Closer.
func (r *reader) Close() error {
	r.cancel(nil)
	if r.body != nil {
		return r.body.Close()
	}
	return nil
}

// Delete implements [store.Blobs].
func (b *Bucket) Delete(ctx context.Context, key string) error {
	name, err := b.object(key)
	if err != nil {
		return fmt.Errorf("deleting a blob: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*b.o.Timeout)
	defer cancel()
	if err := b.core.RemoveObject(ctx, b.t.Bucket, name, minio.RemoveObjectOptions{}); err != nil && !isGone(err) {
		return fmt.Errorf("deleting a blob: %w", explain(err))
	}
	return nil
}

func isGone(err error) bool { return minio.ToErrorResponse(err).Code == minio.NoSuchKey }

var _ store.BatchDeleter = (*Bucket)(nil)

// mostDeleted is how many objects one request may delete.
const mostDeleted = 1000

// DeleteAll implements [store.BatchDeleter]: one request for each thousand
// objects.
func (b *Bucket) DeleteAll(ctx context.Context, keys []string) error {
	var all []minio.ObjectInfo
	for _, key := range keys {
		name, err := b.object(key)
		if err != nil {
			return fmt.Errorf("deleting blobs: %w", err)
		}
		all = append(all, minio.ObjectInfo{Key: name})
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(2+len(keys)/mostDeleted)*b.o.Timeout)
	defer cancel()
	results, err := b.core.RemoveObjectsWithIter(ctx, b.t.Bucket, slices.Values(all), minio.RemoveObjectsOptions{})
	if err != nil {
		return fmt.Errorf("deleting blobs: %w", explain(err))
	}
	told := make(map[string]bool, len(keys))
	for r := range results {
		if r.Err != nil && !isGone(r.Err) {
			return fmt.Errorf("deleting blobs: %w", explain(r.Err))
		}
		told[r.ObjectName] = true
	}
	for i, key := range keys { // of which nothing is told: an error may come with status 200, too
		if !told[all[i].Key] {
			if err := b.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// List implements [store.Blobs]. A shard is a prefix of the objects' names.
func (b *Bucket) List(ctx context.Context, shard int) iter.Seq2[store.BlobInfo, error] {
	prefix := b.t.Prefix
	if shard != store.AllShards {
		prefix += shardName(shard) + "/"
	}
	return func(yield func(store.BlobInfo, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(store.BlobInfo{}, err)
			return
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		timer := time.AfterFunc(b.o.Timeout, func() { cancel(errStalled) })
		defer timer.Stop()
		for o := range b.core.ListObjectsIter(ctx, b.t.Bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
			timer.Stop() // what is done with an object takes its own time
			if err := context.Cause(ctx); err != nil {
				break
			}
			if o.Err != nil {
				yield(store.BlobInfo{}, fmt.Errorf("listing blobs: %w", explain(o.Err)))
				return
			}
			key, ok := b.keyOf(o.Key)
			if ok && // ours
				!yield(store.BlobInfo{Key: key, Size: o.Size, Modified: o.LastModified}, nil) {
				return
			}
			timer.Reset(b.o.Timeout)
		}
		if err := context.Cause(ctx); err != nil { // the client library ends in silence then
			yield(store.BlobInfo{}, fmt.Errorf("listing blobs: %w", err))
		}
	}
}

// keyOf is the way back from an object's name to its key, if it has one.
func (b *Bucket) keyOf(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, b.t.Prefix)
	if !ok || len(rest) < 3 || rest[2] != '/' {
		return "", false
	}
	back, err := b.object(rest[3:])
	return rest[3:], err == nil && back == name
}
