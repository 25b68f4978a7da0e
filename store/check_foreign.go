package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// ErrForeign says that records and blobs do not look as if they belonged together.
// To repair them would be to delete the ones and to end the others.
var ErrForeign = errors.New("records and contents do not belong together")

const (
	surveyed     = 200  // runs and files that are looked at, at most
	surveyListed = 5000 // blobs that are listed for it, at most
	surveyPages  = 20   // of file records, likewise
	surveySure   = 16   // so many strangers are no accident where they are more than the others
)

// survey looks at some runs and some files before anything is repaired.
type survey struct {
	known, strangers int // runs: to the records
	there, missing   int // files: their contents, in the blobs
}

// foreign tells whether it is the wrong place: most is strange on both sides, or
// much on one.
func (s survey) foreign() bool {
	strange, lost := s.strangers > s.known, s.missing > s.there
	return strange && lost || strange && s.strangers >= surveySure || lost && s.missing >= surveySure
}

// bare tells whether nothing is there of what should be: the place is not mounted,
// or it is another one.
func (s survey) bare() bool { return s.there == 0 && s.missing > 0 }

func (s survey) refusal() error {
	return fmt.Errorf("%w: of the first contents %d have a record and %d have none, of the first files %d have their content and %d have not",
		ErrForeign, s.known, s.strangers, s.there, s.missing)
}

// belong refuses what a repair would destroy rather than mend.
func (c *checker) belong(ctx context.Context) error {
	s, err := c.survey(ctx)
	if err == nil && s.foreign() {
		err = s.refusal()
	}
	return err
}

// labelled tells of contents that are labelled as those of others; a repair by force
// has made them those of these records.
func (c *checker) labelled(ctx context.Context, strange error) error {
	p := Problem{Kind: Mislabel, Blob: labelKey, Detail: strange.Error(), Mending: "they are labelled as those of these records"}
	if c.o.Repair {
		if _, err := Adopt(ctx, c.b); err != nil {
			return err
		}
		p.Repaired = true
	}
	c.report(p)
	return nil
}

func (c *checker) survey(ctx context.Context) (s survey, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("survey: %w", err)
		}
	}()
	runs, err := c.someRuns(ctx)
	if err != nil {
		return s, err
	}
	err = c.b.Records.View(ctx, func(tx Tx) error {
		s = survey{}
		for run := range runs {
			known, err := referred(tx, run)
			if err == nil && !known {
				var doc []byte
				doc, err = tx.Get(TrashRecords, run[:])
				known = doc != nil
			}
			if err != nil {
				return err
			}
			if known {
				s.known++
			} else {
				s.strangers++
			}
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	return s, c.someFiles(ctx, &s)
}

// someRuns are the first runs in the list of blobs.
func (c *checker) someRuns(ctx context.Context) (map[Key]bool, error) {
	runs := map[Key]bool{}
	limit, listed := time.Now().Add(-c.o.MinAge), 0
	for info, err := range c.b.Blobs.List(ctx, AllShards) {
		if err != nil {
			return nil, err
		}
		key, ours := runOf(info.Key)
		if ours && !(c.o.MinAge > 0 && info.Modified.After(limit)) {
			runs[key] = true
		}
		if listed++; listed == surveyListed || len(runs) == surveyed {
			break
		}
	}
	return runs, nil
}

// someFiles looks for the contents of the first files that have some in the blobs.
func (c *checker) someFiles(ctx context.Context, s *survey) error {
	var from []byte
	for range surveyPages {
		items, more, err := page(ctx, c.b.Records, FileRecords, nil, from)
		if err != nil {
			return err
		}
		for _, item := range items {
			f, err := decodeFile(item.Doc)
			if err != nil || f.reason != alive || len(f.runs) == 0 {
				continue
			}
			switch err := c.there(ctx, f.runs[0].blob(0), 0); {
			case err == nil:
				s.there++
			case errors.Is(err, fs.ErrNotExist):
				s.missing++
			default:
				return err
			}
			if s.there+s.missing == surveyed {
				return nil
			}
		}
		if !more {
			return nil
		}
		from = items[len(items)-1].ID
	}
	return nil
}
