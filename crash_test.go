package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"fileshare/api"
)

// e2eBytes is what contents are cut out of: random, the same in every run.
var e2eBytes = sync.OnceValue(func() []byte {
	b := make([]byte, 8<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return b
})

// TestCrash kills the daemon at random moments under load and looks after each
// restart whether everything that was acknowledged holds, and nothing else is
// there but, whole, what was under way. FILESHARE_CRASH_ROUNDS sets how often,
// FILESHARE_CRASH_SEED repeats a run as far as the machine does.
func TestCrash(t *testing.T) {
	rounds, seed := 8, rand.Uint64()
	for name, set := range map[string]func(uint64){
		"FILESHARE_CRASH_ROUNDS": func(n uint64) { rounds = int(n) },
		"FILESHARE_CRASH_SEED":   func(n uint64) { seed = n },
	} {
		if v := os.Getenv(name); v != "" {
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			set(n)
		}
	}
	t.Logf("FILESHARE_CRASH_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	m := &crashModel{t: t, files: map[string]*crashFile{}, gone: map[string]bool{}}
	for m.epoch = 1; m.epoch <= rounds && !t.Failed(); m.epoch++ {
		if rng.IntN(4) == 0 { // die while recovering from the last death
			d := e2eLaunch(t, dir, m.env()...)
			<-time.After(time.Duration(rng.IntN(60)) * time.Millisecond)
			d.kill()
		}
		d := e2eStart(t, dir, m.env()...)
		m.verify(d, rng)
		m.load(d, rng)
	}
	m.settle(dir, rng)
	t.Logf("%d rounds: %+v", m.epoch-1, m.count)
}

// crashModel is what must be there.
type crashModel struct {
	t     *testing.T
	epoch int // number of the daemon

	mu     sync.Mutex
	files  map[string]*crashFile // by name; guarded by mu
	gone   map[string]bool       // files that are gone and were looked for; not used under load
	tokens []*crashToken         // guarded by mu
	last   int                   // number of the last file; guarded by mu
	count  crashCount            // guarded by mu
}

// crashCount is for the reader of the log.
type crashCount struct {
	Uploads, Cut, CutWhole, Deletions, CutDeletions, Undone int // Cut: no answer; CutWhole: and yet done
	Tokens, Bodies, CutBodies, Again                        int // Again: the body came, the kill before its settlement
	Appends, CutAppends, Resumed                            int // Resumed: resumable uploads that outlived a daemon
}

type crashState int

const (
	crashTrying    crashState = iota // an upload without an answer
	crashNew                         // a session's file without content
	crashPutting                     // … and with a PUT without an answer
	crashResumable                   // a resumable upload that is not complete
	crashStored                      // acknowledged
	crashDeleting                    // a deletion without an answer
	crashGone                        // acknowledged, or found out after a restart
)

type crashFile struct {
	name    string
	content []byte
	path    string     // empty: not known
	state   crashState // guarded by the model's mu, like all below
	held    bool       // somebody works with it

	resource string // of a resumable upload; empty: it is none
	acked    int    // bytes of it that the daemon has told to have
	sent     int    // bytes of it that it may have
}

type crashToken struct {
	file *crashFile
	path string

	mu    sync.Mutex
	got   int // epoch of the last complete body, 0 = none; guarded by mu, as below
	gone  int // epoch of the first 410, 0 = none
	tried int // epoch of the last attempt
}

func (m *crashModel) env() []string { return []string{"REAPER_SCHEDULE=@every 1s"} }

func (m *crashModel) set(f *crashFile, s crashState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f.state = s
}

func (m *crashModel) add(c func(*crashCount)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c(&m.count)
}

// newFile invents a file, in two thirds a small one.
func (m *crashModel) newFile(rng *rand.Rand, s crashState) *crashFile {
	size := rng.IntN(64<<10 + 1)
	if rng.IntN(3) == 0 {
		size = rng.IntN(3 << 20)
	}
	at := rng.IntN(len(e2eBytes()) - size)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	f := &crashFile{name: fmt.Sprintf("file-%d.bin", m.last), content: e2eBytes()[at : at+size], state: s, held: true}
	m.files[f.name] = f
	return f
}

// load works on the daemon until it kills it.
func (m *crashModel) load(d *e2eDaemon, rng *rand.Rand) {
	var work sync.WaitGroup
	for w := range 8 {
		own := rand.New(rand.NewPCG(rng.Uint64(), uint64(w)))
		work.Go(func() {
			for ok := true; ok; {
				switch {
				case w < 2:
					ok = m.useToken(d, own)
				case own.IntN(100) < m.pressure():
					ok = m.delete(d)
				case w < 4:
					ok = m.resume(d, own)
				default:
					ok = m.upload(d, own)
				}
			}
		})
	}
	<-time.After(time.Duration(20+rng.IntN(700)) * time.Millisecond) // the moment is what is random here
	d.kill()
	work.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.files {
		f.held = false
	}
}

// pressure is the share of deletions in percent; it keeps the number of files small.
func (m *crashModel) pressure() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return min(m.count.Uploads-m.count.Deletions, 90)
}

// try is a request of the load; false: the daemon is dead.
func (m *crashModel) try(d *e2eDaemon, method, path string, body io.Reader, header ...string) (*e2eAnswer, bool) {
	a, err := d.try(context.Background(), method, path, body, header...)
	if a == nil && err == nil {
		m.t.Errorf("%s %s: no answer and no error", method, path)
	}
	return a, err == nil
}

func (m *crashModel) upload(d *e2eDaemon, rng *rand.Rand) bool {
	f := m.newFile(rng, crashTrying)
	var a *e2eAnswer
	var alive bool
	if rng.IntN(2) == 0 {
		body, kind := e2eForm(f.name, f.content)
		a, alive = m.try(d, "POST", "/uploads", body, "Content-Type", kind)
	} else {
		a, alive = m.try(d, "PUT", "/uploads/"+f.name, bytes.NewReader(f.content))
	}
	if a == nil {
		m.add(func(c *crashCount) { c.Cut++ })
		return false
	}
	if a.status != http.StatusCreated {
		m.t.Errorf("upload: %v", a)
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count.Uploads++
	f.path, f.state, f.held = e2eID(a), crashStored, false
	return alive
}

// delete removes some file.
func (m *crashModel) delete(d *e2eDaemon) bool {
	var f *crashFile
	m.mu.Lock()
	for _, f = range m.files { // the map's order is random enough
		if f.state == crashStored && !f.held {
			f.state, f.held = crashDeleting, true
			break
		}
		f = nil
	}
	m.mu.Unlock()
	if f == nil {
		return true
	}
	return m.remove(d, f)
}

func (m *crashModel) remove(d *e2eDaemon, f *crashFile) bool {
	m.set(f, crashDeleting)
	a, alive := m.try(d, "DELETE", f.path, nil)
	if a == nil {
		m.add(func(c *crashCount) { c.CutDeletions++ })
		return false
	}
	if a.status != http.StatusNoContent {
		m.t.Errorf("delete: %v", a)
		return false
	}
	m.set(f, crashGone)
	m.add(func(c *crashCount) { c.Deletions++ })
	return alive
}

// verify compares a daemon that has just started with the model, and the model
// learns what became of that which had no answer.
func (m *crashModel) verify(d *e2eDaemon, rng *rand.Rand) {
	listed := map[string]api.File{}
	for _, f := range d.list() {
		if _, twice := listed[f.Name]; twice {
			m.t.Errorf("%s is there twice", f.Name)
		}
		switch {
		case m.gone[f.Name]:
			m.t.Errorf("%s is there again", f.Name)
		case m.files[f.Name] == nil:
			m.t.Errorf("%s is there and nobody has uploaded it", f.Name)
		}
		listed[f.Name] = f
	}
	var files, size int64
	for _, f := range m.files {
		info, there := listed[f.name]
		m.verifyFile(d, f, info, there)
		switch f.state {
		case crashStored:
			files, size = files+1, size+int64(len(f.content))
		case crashResumable:
			size += int64(f.acked)
		}
	}
	if got := d.metric("fileshare_files"); got != files {
		m.t.Errorf("fileshare_files %d, want %d", got, files)
	}
	if got := d.metric("fileshare_stored_bytes"); got != size {
		m.t.Errorf("fileshare_stored_bytes %d, want %d", got, size)
	}
	for _, k := range m.tokens {
		m.verifyToken(d, k, rng)
	}
	m.tokens = nil
}

func (m *crashModel) verifyFile(d *e2eDaemon, f *crashFile, info api.File, there bool) {
	switch f.state {
	case crashGone:
		if there {
			m.t.Errorf("%s is there again", f.name)
		}
	case crashTrying, crashDeleting:
		if f.state == crashDeleting && there {
			m.count.Undone++
		}
		switch {
		case !there:
			f.state = crashGone
		case info.State == "NEW":
			f.path, f.state = e2ePath(info), crashNew
		case info.State == "UPLOADING":
			f.path, f.resource, f.state = e2ePath(info), "/tus/"+info.ID, crashResumable
		default:
			if f.state == crashTrying {
				m.count.CutWhole++
			}
			f.path, f.state = e2ePath(info), crashStored
		}
	case crashPutting:
		f.state = crashNew
		if info.State == "UPLOADED" {
			m.count.CutWhole++
			f.state = crashStored
		}
	}
	switch f.state {
	case crashGone:
		if f.path != "" {
			if a := d.do("GET", f.path, nil); a.status != http.StatusNotFound {
				m.t.Errorf("%s was deleted: %d", f.name, a.status)
			}
		}
		m.gone[f.name] = true
		delete(m.files, f.name)
	case crashResumable:
		m.verifyResumable(d, f, info, there)
	case crashNew:
		if !there || info.State != "NEW" || e2ePath(info) != f.path {
			m.t.Errorf("%s has no content, the list says: %v %+v", f.name, there, info)
		}
	case crashStored:
		sum := sha256.Sum256(f.content)
		if !there || info.State != "UPLOADED" || e2ePath(info) != f.path || info.Size != int64(len(f.content)) ||
			info.SHA256 == nil || *info.SHA256 != hex.EncodeToString(sum[:]) {
			m.t.Errorf("%s (%d bytes, %x, %s) is not in the list as it should be: %v %+v", f.name, len(f.content), sum, f.path, there, info)
		}
		d.want(f.path, f.content)
	}
}

func e2ePath(f api.File) string {
	if f.SessionID != nil {
		return "/sessions/" + *f.SessionID + "/files/" + f.ID
	}
	return "/uploads/" + f.ID
}

// settle lets a last daemon clean up, and looks for what remains.
func (m *crashModel) settle(dir string, rng *rand.Rand) {
	d := e2eStart(m.t, dir, "REAPER_SCHEDULE=@every 1s", "REAPER_SWEEP=@every 1s")
	m.verify(d, rng)
	var blobs int
	var size int64
	pieces := 0 // that a resumable upload may have beyond its first one
	for _, f := range m.files {
		if f.state == crashResumable && !m.append(d, f, len(f.content)-f.acked) {
			m.t.Errorf("%s cannot be completed", f.name)
		}
		if f.state == crashStored && len(f.content) > 64<<10 {
			blobs, size = blobs+1, size+int64(len(f.content))
			if f.resource != "" {
				pieces += len(f.content) >> 20
			}
		}
	}
	same := func() bool {
		n, bytes := e2eBlobs(m.t, dir)
		return n >= blobs && n <= blobs+pieces && bytes == size
	}
	e2eUntil(m.t, fmt.Sprintf("%d blobs of %d bytes and no orphan", blobs, size), same)
	d.stop()
	if !same() {
		m.t.Error("the blobs have changed while stopping")
	}
	m.epoch++
	d = e2eStart(m.t, dir)
	m.verify(d, rng)
	d.stop()
	if !same() {
		m.t.Error("a quiet daemon has changed the blobs")
	}
}
