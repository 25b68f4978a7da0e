package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// CheckOptions configures Check.
type CheckOptions struct {
	// Deep reads all contents and compares their digests.
	Deep bool
	// Repair mends what can be mended without losing what is whole: a file whose
	// content is not there any more ends, what belongs to nothing, or cannot be
	// read, is removed, lists and counters are written as the files have them.
	Repair bool
	// Force repairs also where records and blobs do not look as if they belonged
	// together; else that is refused ([ErrForeign]).
	Force bool
	// MinAge is how old a blob without a record must be to be an orphan: a
	// younger one may get its record yet. Zero where no daemon is at work.
	MinAge time.Duration
	// Tombstones is how long a file that ends answers 410; default 30 days.
	Tombstones time.Duration
	// Found is told of each problem, one at a time.
	Found func(Problem)
	// Progress is told now and then; nil: nobody is.
	Progress func(Checked)
}

// Problem is something that Check has found.
type Problem struct {
	Kind       ProblemKind `json:"problem"`
	Collection Collection  `json:"collection,omitempty"`
	// ID is that of a file, session, token or share, of any other record the
	// hexadecimal form of its id.
	ID       string `json:"id,omitempty"`
	Blob     string `json:"blob,omitempty"`
	Detail   string `json:"detail"`
	Mending  string `json:"mending"` // what a repair does about it
	Repaired bool   `json:"repaired"`
}

// ProblemKind says what is wrong.
type ProblemKind string

// The kinds of problems.
const (
	Missing   ProblemKind = "missing content" // a record refers to it, and it is not there
	WrongSize ProblemKind = "wrong size"      // of a content
	WrongSum  ProblemKind = "wrong digest"    // of a content; only with Deep
	Orphan    ProblemKind = "orphan"          // a blob that no record refers to
	Unlisted  ProblemKind = "unlisted"        // a record is not in a list that it belongs to
	Stray     ProblemKind = "stray"           // a record that belongs to nothing
	Endless   ProblemKind = "endless"         // a record that is not due when it should be
	Miscount  ProblemKind = "wrong usage"     // an account's counters are not what its files add up to
	Damaged   ProblemKind = "damaged"         // a record that cannot be read
	Mislabel  ProblemKind = "wrong label"     // the contents are labelled as those of other records
)

// Checked is what a Check has looked at.
type Checked struct {
	Records  int64 `json:"records"`
	Blobs    int64 `json:"blobs"`
	Bytes    int64 `json:"bytes"` // of the blobs
	Problems int64 `json:"problems"`
	Repaired int64 `json:"repaired"`
}

// Check compares records and blobs with each other. It reads page by page, so that
// its memory grows with the number of accounts and with nothing else. Daemons
// may be at work meanwhile: whatever looks wrong is looked at once more, with a
// repair in the Update that mends it. Only the counters of accounts are left out
// then.
func Check(ctx context.Context, b Backend, o CheckOptions) (Checked, error) {
	if err := arrived(ctx, b.Records); err != nil {
		return Checked{}, err
	}
	c := newChecker(b, o)
	strange := paired(ctx, b)
	if strange != nil && (!errors.Is(strange, ErrForeign) || o.Repair && !o.Force) {
		return Checked{}, strange
	}
	if o.Repair && !o.Force {
		if err := c.belong(ctx); err != nil {
			return Checked{}, err
		}
	}
	err := c.run(ctx)
	if err == nil && strange != nil {
		err = c.labelled(ctx, strange)
	}
	return c.sum, err
}

func newChecker(b Backend, o CheckOptions) *checker {
	c := &checker{b: b, o: o, usage: map[string]usageRec{}}
	c.s = &Store{records: b.Records, blobs: b.Blobs, o: Options{Tombstones: o.Tombstones}.withDefaults()}
	if !b.Exclusive {
		c.s.o.LateWrites = o.MinAge
	}
	return c
}

func (c *checker) run(ctx context.Context) (err error) {
	if c.s.ids, err = readIDs(ctx, c.b.Records); err != nil {
		return err
	}
	if c.alone, err = c.resting(ctx); err != nil {
		return err
	}
	for _, p := range []struct {
		in    Collection
		judge judge
	}{
		{FileRecords, c.judgeFile}, {SessionRecords, c.judgeSession}, {TokenRecords, c.judgeToken}, {ShareRecords, c.judgeShare},
		{ContentRecords, c.judgeContent}, {UseRecords, c.judgeUses}, {IndexRecords, c.judgeIndex},
		{TrashRecords, c.judgeDue(TrashRecords)}, {OnceRecords, c.judgeDue(OnceRecords)}, {EventRecords, c.judgeDue(EventRecords)},
		{OutboxRecords, c.judgeDue(OutboxRecords)}, {LoginRecords, c.judgeDue(LoginRecords)}, {InviteRecords, c.judgeDue(InviteRecords)},
		{HoldRecords, c.judgeDue(HoldRecords)}, {SweepRecords, c.judgeDue(SweepRecords)},
	} {
		if err := c.collection(ctx, p.in, p.judge); err != nil {
			return fmt.Errorf("check the %s records: %w", p.in, err)
		}
	}
	if err := c.orphans(ctx); err != nil {
		return fmt.Errorf("check the blobs: %w", err)
	}
	if still, err := c.resting(ctx); err != nil || !still || !c.alone {
		return err
	}
	return c.counters(ctx)
}

// checker is one Check.
type checker struct {
	b     Backend
	o     CheckOptions
	s     *Store // that does what rules say of records; it is not at work
	sum   Checked
	alone bool
	usage map[string]usageRec // of the accounts, as the files have it
	lost  map[Key]lost        // files of this page whose content is not there; not changed while it is judged
	ended map[Key]bool        // files of this page that a repair has ended
}

// fault is what is wrong with a record.
type fault struct {
	kind    ProblemKind
	detail  string
	mending string
	mend    func(Tx) error // nil: nothing can be done
}

// lost is a content that is not what its file's record, as it was then, says.
type lost struct {
	fault fault
	doc   []byte
}

// judge looks at a record in the transaction that has it.
type judge func(tx Tx, item Item) ([]fault, error)

// resting tells whether no daemon is at work.
func (c *checker) resting(ctx context.Context) (bool, error) {
	busy := false
	err := c.b.Records.View(ctx, func(tx Tx) error {
		err := atRest(tx, c.b.Exclusive)
		busy = errors.Is(err, errAtWork)
		if busy {
			return nil
		}
		return err
	})
	return !busy, err
}

// collection judges all records of a collection.
func (c *checker) collection(ctx context.Context, in Collection, judge judge) error {
	var from []byte
	for more := true; more; {
		items, rest, err := page(ctx, c.b.Records, in, nil, from)
		if err != nil {
			return err
		}
		c.lost, c.ended = map[Key]lost{}, map[Key]bool{}
		if in == FileRecords {
			if err := c.contents(ctx, items); err != nil {
				return err
			}
		}
		suspects, err := c.suspects(ctx, items, judge)
		if err != nil {
			return err
		}
		for _, id := range suspects {
			if err := c.settle(ctx, in, id, judge); err != nil {
				return err
			}
		}
		if in == FileRecords {
			c.count(items)
		}
		c.sum.Records += int64(len(items))
		if c.o.Progress != nil {
			c.o.Progress(c.sum)
		}
		if more = rest; more {
			from = items[len(items)-1].ID
		}
	}
	return nil
}

// judges is how many Views a page is judged in at once: over a network that is
// what its time goes into.
const judges = 4

// suspects returns the ids of records that look wrong.
func (c *checker) suspects(ctx context.Context, items []Item, judge judge) (all [][]byte, err error) {
	var wg sync.WaitGroup
	var errs [judges]error
	var found [judges][][]byte
	for w := range judges {
		wg.Go(func() {
			errs[w] = c.b.Records.View(ctx, func(tx Tx) error {
				found[w] = nil
				for i := w; i < len(items); i += judges {
					faults, err := judge(tx, items[i])
					if err != nil {
						return err
					}
					if len(faults) > 0 {
						found[w] = append(found[w], items[i].ID)
					}
				}
				return nil
			})
		})
	}
	wg.Wait()
	for _, f := range found {
		all = append(all, f...)
	}
	return all, errors.Join(errs[:]...)
}

// settle judges a record once more, for good.
func (c *checker) settle(ctx context.Context, in Collection, id []byte, judge judge) error {
	var faults []fault
	look := func(tx Tx) error {
		faults = nil
		item, err := itemAt(tx, in, id)
		if err != nil || item.ID == nil {
			return err
		}
		if faults, err = judge(tx, item); err != nil || !c.o.Repair {
			return err
		}
		for _, f := range faults {
			if f.mend == nil {
				continue
			}
			if err := f.mend(tx); err != nil {
				return err
			}
		}
		return nil
	}
	var err error
	if c.o.Repair {
		err = c.b.Records.Update(ctx, look)
	} else {
		err = c.b.Records.View(ctx, look)
	}
	if err != nil {
		return err
	}
	for _, f := range faults {
		c.report(Problem{
			Kind: f.kind, Collection: in, ID: c.name(in, id), Detail: f.detail, Mending: f.mending, Repaired: c.o.Repair && f.mend != nil,
		})
	}
	return nil
}

func (c *checker) report(p Problem) {
	c.sum.Problems++
	if p.Repaired {
		c.sum.Repaired++
	}
	if c.o.Found != nil {
		c.o.Found(p)
	}
}

// name is what people call a record.
func (c *checker) name(in Collection, id []byte) string {
	key, ok := keyOf(id)
	switch in {
	case FileRecords, SessionRecords, TokenRecords, ShareRecords, ContentRecords, UseRecords:
		if ok {
			return c.s.ids.id(key)
		}
	}
	return fmt.Sprintf("%x", id)
}

// itemAt reads a record with its due time; its ID is nil if there is none. Like
// Scan it does not see what the transaction itself wrote.
func itemAt(tx Tx, in Collection, id []byte) (Item, error) {
	above := append(bytes.Clone(id), 0)
	for item, err := range tx.Scan(in, id, above) {
		return item, err
	}
	return Item{}, nil
}

// count adds up what the files of a page take.
func (c *checker) count(items []Item) {
	for _, item := range items {
		f, err := decodeFile(item.Doc)
		key, _ := keyOf(item.ID)
		if err != nil || f.reason != alive || c.ended[key] {
			continue
		}
		u := c.usage[f.owner]
		if u.bytes += f.bytes(); f.stored {
			u.files++
		}
		if u != (usageRec{}) {
			c.usage[f.owner] = u
		}
	}
}

// counters compares what accounts are said to have stored with what they have.
func (c *checker) counters(ctx context.Context) error {
	var from []byte
	for more := true; more; {
		items, rest, err := page(ctx, c.b.Records, UsageRecords, nil, from)
		if err != nil {
			return err
		}
		for _, item := range items {
			owner := string(item.ID[len(usageID("")):])
			if _, ok := c.usage[owner]; !ok {
				c.usage[owner] = usageRec{}
			}
		}
		c.sum.Records += int64(len(items))
		if more = rest; more {
			from = items[len(items)-1].ID
		}
	}
	for owner, want := range c.usage {
		if err := c.counter(ctx, owner, want); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) counter(ctx context.Context, owner string, want usageRec) error {
	var is usageRec
	same := false
	look := func(tx Tx) error {
		doc, err := tx.Get(UsageRecords, usageID(owner))
		if err != nil {
			return err
		}
		var unreadable error
		is, unreadable = decodeUsage(doc)
		same = unreadable == nil && is == want
		return nil
	}
	if err := c.b.Records.View(ctx, look); err != nil || same {
		return err
	}
	if c.o.Repair {
		err := c.b.Records.Update(ctx, func(tx Tx) error {
			if want == (usageRec{}) {
				return tx.Delete(UsageRecords, usageID(owner))
			}
			return tx.Put(UsageRecords, usageID(owner), want.encode(), time.Time{})
		})
		if err != nil {
			return err
		}
	}
	c.report(Problem{
		Kind: Miscount, Collection: UsageRecords, ID: c.name(UsageRecords, usageID(owner)),
		Detail:  fmt.Sprintf("%d files and %d bytes are counted, there are %d and %d", is.files, is.bytes, want.files, want.bytes),
		Mending: "the counters are corrected", Repaired: c.o.Repair,
	})
	return nil
}
