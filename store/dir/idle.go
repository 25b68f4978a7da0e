package dir

import (
	"os"
	"slices"
	"sync"
	"time"
)

// idle keeps files open for a moment after their reader is done, for the next one
// of the same blob: who fetches a content range by range opens it once. A file has
// one reader at a time. What is deleted meanwhile keeps its blocks for idleFor at
// most, and is not read any more.
type idle struct {
	mu     sync.Mutex
	files  []idleFile  // guarded by mu, in the order of their ends
	timer  *time.Timer // guarded by mu; nil: nothing is kept
	closed bool        // guarded by mu
}

type idleFile struct {
	name string
	file *os.File
	end  time.Time
}

const (
	idleFor  = time.Second
	mostIdle = 64 // files; the oldest goes
)

// take returns a file that was kept, nil if there is none.
func (i *idle) take(name string) *os.File {
	i.mu.Lock()
	defer i.mu.Unlock()
	for at, f := range slices.Backward(i.files) {
		if f.name == name {
			i.files = slices.Delete(i.files, at, at+1)
			return f.file
		}
	}
	return nil
}

// put keeps a file that nobody reads any more.
func (i *idle) put(name string, file *os.File) error {
	var full []idleFile
	defer func() { closeAll(full) }()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return file.Close()
	}
	if len(i.files) == mostIdle {
		full = i.firstLocked(1)
	}
	i.files = append(i.files, idleFile{name, file, time.Now().Add(idleFor)})
	if i.timer == nil {
		i.timer = time.AfterFunc(idleFor, i.sweep)
	}
	return nil
}

// drop closes what is kept of a blob.
func (i *idle) drop(name string) {
	for f := i.take(name); f != nil; f = i.take(name) {
		f.Close() // only read from
	}
}

// sweep closes what has been kept for long enough.
func (i *idle) sweep() {
	var old []idleFile
	defer func() { closeAll(old) }()
	i.mu.Lock()
	defer i.mu.Unlock()
	now, n := time.Now(), 0
	for n < len(i.files) && !now.Before(i.files[n].end) {
		n++
	}
	old = i.firstLocked(n)
	if i.timer = nil; len(i.files) > 0 && !i.closed {
		i.timer = time.AfterFunc(i.files[0].end.Sub(now), i.sweep)
	}
}

// close closes what is kept, and from now on whatever is given back.
func (i *idle) close() {
	var all []idleFile
	defer func() { closeAll(all) }()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	all = i.firstLocked(len(i.files))
	if i.timer != nil {
		i.timer.Stop()
	}
}

// firstLocked takes out the first n.
func (i *idle) firstLocked(n int) []idleFile {
	first := slices.Clone(i.files[:n])
	i.files = slices.Delete(i.files, 0, n)
	return first
}

// closeAll closes files, without mu: of what has been deleted the blocks are given
// back only now, which takes a second for a few GiB.
func closeAll(files []idleFile) {
	for _, f := range files {
		f.file.Close() // only read from
	}
}

// reader is a file that is kept when its reader closes it.
type reader struct {
	*os.File // sendfile needs its descriptor
	idle     *idle
	name     string
}

// Close implements [io.Closer]; it is called once.
func (r *reader) Close() error { return r.idle.put(r.name, r.File) }
