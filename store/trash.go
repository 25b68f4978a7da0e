package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Blobs wait for their deletion as records: they are written in the Update that
// drops the file, so that none is forgotten.

// blob is the key of a run's i-th segment.
func (r run) blob(i int64) string { return r.key.String() + "/" + strconv.FormatInt(i, 10) }

// trash queues a run. pass is 1, or 2 for the second deletion, which catches
// what a dying node wrote late.
func (s *Store) trash(tx Tx, r run, pass uint64, due time.Time) error {
	var e encoder
	e.uint(1, uint64(r.count))
	e.uint(2, pass)
	return tx.Put(TrashRecords, r.key[:], e, due)
}

// trashRetry is when a deletion that failed is due again.
const trashRetry = time.Second

// deleters is how many blobs are deleted at once.
const deleters = 4

// trashBatch is how many runs one step of purgeTrash takes at most.
const trashBatch = 256

// purgeTrash deletes the blobs of runs that wait for it. Where none could be, all
// others wait for the next Purge: they would be due again as fast as they fail.
func (s *Store) purgeTrash(ctx context.Context, r *PurgeResult, limit int) (int, error) {
	type job struct {
		run  run
		pass uint64
	}
	var jobs []job
	most := min(limit, trashBatch)
	err := s.view(ctx, func(tx Tx) error {
		jobs = nil
		items, err := tx.Due(TrashRecords, s.now(), most)
		for _, item := range items {
			j := job{}
			j.run.key, _ = keyOf(item.ID)
			for f, err := range fields(item.Doc) {
				if err != nil {
					return fmt.Errorf("trash record %x: %w", item.ID, err)
				}
				switch f.n {
				case 1:
					j.run.count = int64(f.v)
				case 2:
					j.pass = f.v
				}
			}
			jobs = append(jobs, j)
		}
		return err
	})
	if err != nil || len(jobs) == 0 {
		return 0, err
	}
	runs := make([]run, len(jobs))
	for i, j := range jobs {
		runs[i] = j.run
	}
	errs := s.deleteRuns(ctx, runs)
	err = s.update(ctx, func(tx Tx) error {
		for i, j := range jobs {
			var err error
			switch {
			case errs[i] != nil:
				err = s.trash(tx, j.run, j.pass, s.now().Add(trashRetry))
			case j.pass == 1 && s.o.LateWrites > 0:
				err = s.trash(tx, j.run, 2, s.now().Add(s.o.LateWrites))
			default:
				err = tx.Delete(TrashRecords, j.run.key[:])
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	deleted := 0
	for i, e := range errs {
		if e != nil {
			continue
		}
		if deleted++; jobs[i].pass == 1 {
			r.Blobs++
		}
	}
	if err := errors.Join(errs...); err != nil {
		s.o.Log.Warn("delete blobs, will try again", "error", err)
	}
	if len(jobs) == most && deleted > 0 {
		return limit, err
	}
	return 0, err
}

// deleteRun deletes all segments of a run.
func (s *Store) deleteRun(ctx context.Context, r run) error {
	if r.count > 1 {
		return s.deleteRuns(ctx, []run{r})[0]
	}
	return s.blobs.Delete(ctx, r.blob(0))
}

// batchDeleted is how many blobs are deleted by one call.
const batchDeleted = 1000

// deleteRuns deletes all segments of runs, and returns the error of each.
func (s *Store) deleteRuns(ctx context.Context, runs []run) []error {
	errs := make([]error, len(runs))
	if b, ok := s.blobs.(BatchDeleter); ok {
		deleteBatches(ctx, b, runs, errs)
		return errs
	}
	var wg sync.WaitGroup
	for w := range deleters {
		wg.Go(func() {
			for i := w; i < len(runs); i += deleters {
				for at := range runs[i].count {
					if errs[i] = s.blobs.Delete(ctx, runs[i].blob(at)); errs[i] != nil {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	return errs
}

// deleteBatches deletes all segments of runs, many at a time. A batch that fails
// is an error of all runs in it: they are deleted again.
func deleteBatches(ctx context.Context, b BatchDeleter, runs []run, errs []error) {
	var keys []string
	first := 0 // the run that the batch begins in
	flush := func(last int) {
		if len(keys) == 0 {
			return
		}
		if err := b.DeleteAll(ctx, keys); err != nil {
			for i := first; i <= last; i++ {
				errs[i] = err
			}
		}
		keys = keys[:0]
	}
	for i, r := range runs {
		for at := range r.count {
			if len(keys) == 0 {
				first = i
			}
			if keys = append(keys, r.blob(at)); len(keys) == batchDeleted {
				flush(i)
			}
		}
	}
	flush(len(runs) - 1)
}
