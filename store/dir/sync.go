package dir

import (
	"os"
	"sync"
)

// dirSync syncs one directory; those who ask while a sync runs share the next.
type dirSync struct {
	f    *os.File
	turn sync.Mutex // held while a sync runs

	mu   sync.Mutex
	next *syncRound // guarded by mu; the round that has not begun, nil if none waits
}

type syncRound struct {
	done chan struct{} // closed after the sync
	err  error         // read after done
}

func newDirSync(f *os.File) *dirSync { return &dirSync{f: f} }

// sync makes every entry made before the call durable.
func (d *dirSync) sync() error {
	d.mu.Lock()
	if round := d.next; round != nil {
		d.mu.Unlock()
		<-round.done
		return round.err
	}
	round := &syncRound{done: make(chan struct{})}
	d.next = round
	d.mu.Unlock()

	d.turn.Lock()
	d.mu.Lock()
	d.next = nil // who comes from now on may have an entry that this sync misses
	d.mu.Unlock()
	round.err = d.f.Sync()
	d.turn.Unlock()
	close(round.done)
	return round.err
}

// persist makes a new file and its directory entry durable.
func persist(f *os.File, parent *dirSync) error {
	if err := syncData(f); err != nil {
		return err
	}
	return parent.sync()
}
