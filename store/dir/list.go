package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"

	"fileshare/store"
)

// listBatch is how many names List holds at a time.
const listBatch = 256

// List implements [store.Blobs]. It passes over whatever it did not write.
func (d *Dir) List(ctx context.Context, shard int) iter.Seq2[store.BlobInfo, error] {
	first, last := shard, shard
	if shard == store.AllShards {
		first, last = 0, store.Shards-1
	}
	return func(yield func(store.BlobInfo, error) bool) {
		for i := first; i <= last; i++ {
			root, _, err := d.shard(i, false)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			more := false
			if err == nil {
				more, err = listShard(ctx, i, root, yield)
			}
			if err != nil {
				yield(store.BlobInfo{}, fmt.Errorf("listing blobs: %w", bare(err)))
				return
			}
			if !more {
				return
			}
		}
	}
}

// listShard yields the blobs of one shard; more is false if yield said so.
func listShard(ctx context.Context, shard int, root *os.Root, yield func(store.BlobInfo, error) bool) (more bool, err error) {
	f, err := root.Open(".") // a handle of its own: it has the position
	if err != nil {
		return false, err
	}
	defer f.Close()
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		names, err := f.Readdirnames(listBatch)
		for _, name := range names {
			key, ok := keyOf(shard, name)
			if !ok {
				continue
			}
			fi, err := root.Lstat(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted meanwhile
			}
			if err != nil {
				return false, err
			}
			if !fi.Mode().IsRegular() {
				continue
			}
			if !yield(store.BlobInfo{Key: key, Size: fi.Size(), Modified: fi.ModTime()}, nil) {
				return false, nil
			}
		}
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}
