package server

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"hash"
	"sync"
	"time"
)

// digest stands for a name and a password: HMAC-SHA-256 under a key that only
// this process has, so that its memory is worth nothing elsewhere.
type digest [sha256.Size]byte

// memory remembers credentials that were verified a short time ago. Reading it
// takes no lock.
type memory struct {
	ttl  time.Duration
	most int
	macs sync.Pool // of hash.Hash

	entries sync.Map // digest → remembered

	mu    sync.Mutex
	count int // guarded by mu: entries, never less than there are
}

type remembered struct {
	encoded string // the hash against which it was verified
	until   time.Time
}

func newMemory(ttl time.Duration, most int) *memory {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	m := &memory{ttl: ttl, most: most}
	m.macs.New = func() any { return hmac.New(sha256.New, key) }
	return m
}

// digest is unique per pair: neither contains NUL.
func (m *memory) digest(name, password string) digest {
	mac := m.macs.Get().(hash.Hash)
	defer m.macs.Put(mac)
	mac.Reset()
	var room [256]byte
	mac.Write(append(append(append(room[:0], name...), 0), password...))
	var d digest
	mac.Sum(d[:0])
	return d
}

// has tells whether the credentials were verified against this very hash and
// not too long ago.
func (m *memory) has(d digest, encoded string) bool {
	found, ok := m.entries.Load(d)
	if !ok {
		return false
	}
	entry := found.(remembered)
	return entry.encoded == encoded && time.Now().Before(entry.until)
}

// put remembers a verified pair. Only right credentials get here, so strangers
// cannot push others out; when it is full, what is over goes, and then
// whatever comes first.
func (m *memory) put(d digest, encoded string) {
	if m.ttl <= 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if _, known := m.entries.Swap(d, remembered{encoded, now.Add(m.ttl)}); known {
		return
	}
	if m.count++; m.count <= m.most {
		return
	}
	m.count = 0
	m.entries.Range(func(key, value any) bool {
		// A tenth is made free at once: the walk is paid for by many.
		if key != d && (m.count >= m.most*9/10 || !now.Before(value.(remembered).until)) {
			m.entries.Delete(key)
		} else {
			m.count++
		}
		return true
	})
}
