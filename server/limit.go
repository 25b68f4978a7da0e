package server

import (
	"net/netip"
	"sync"
	"time"
)

// throttle slows down guessing of passwords, by three token buckets that are
// charged before a password is looked at and given back when it was right:
// one for an account from an address, one for the address (many accounts
// tried from it), one for the account (tried from many addresses). An address
// from which the account has logged in lately is not held up by what others
// do to the account, so that nobody can lock its owner out.
type throttle struct {
	mu        sync.Mutex
	pairs     buckets[pair]
	addresses buckets[netip.Prefix]
	accounts  buckets[string]
	known     buckets[pair] // full ones: logged in from there; kept for knownFor
}

type pair struct {
	name string
	from netip.Prefix
}

// How much more an address and an account may fail than a pair.
const (
	addressFactor = 5
	accountFactor = 10
	mostBuckets   = 1 << 16 // of each kind
	knownFor      = 30 * 24 * time.Hour
)

// newThrottle allows failures per minute for each pair, and as many at once.
func newThrottle(failures int) *throttle {
	return &throttle{
		pairs:     newBuckets[pair](failures, time.Minute),
		addresses: newBuckets[netip.Prefix](failures*addressFactor, time.Minute),
		accounts:  newBuckets[string](failures*accountFactor, time.Minute),
		known:     newBuckets[pair](1, knownFor),
	}
}

// attempt is one look at a password.
type attempt struct {
	pair
	owner bool // exempt from the account's bucket
}

// take charges an attempt. If wait is not zero it was refused, nothing is
// charged, and wait is the time until another would be allowed.
func (t *throttle) take(name string, from netip.Addr) (a attempt, wait time.Duration) {
	now := time.Now()
	a.pair = pair{name, network(from)}
	t.mu.Lock()
	defer t.mu.Unlock()
	a.owner = t.known.wait(a.pair, now) > 0
	wait = t.pairs.wait(a.pair, now)
	if a.from.IsValid() { // requests over a unix socket have no address to share
		wait = max(wait, t.addresses.wait(a.from, now))
	}
	if !a.owner {
		wait = max(wait, t.accounts.wait(name, now))
	}
	if wait > 0 {
		return a, wait
	}
	t.chargeLocked(a, 1, now)
	return a, 0
}

// refund takes an attempt back that was no wrong guess.
func (t *throttle) refund(a attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.chargeLocked(a, -1, time.Now())
}

// succeed takes the attempt back and remembers where the owner comes from.
func (t *throttle) succeed(a attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.chargeLocked(a, -1, now)
	if t.known.wait(a.pair, now) == 0 {
		t.known.charge(a.pair, 1, now)
	}
}

func (t *throttle) chargeLocked(a attempt, n float64, now time.Time) {
	t.pairs.charge(a.pair, n, now)
	if a.from.IsValid() {
		t.addresses.charge(a.from, n, now)
	}
	if !a.owner {
		t.accounts.charge(a.name, n, now)
	}
}

// network is what counts as one address: of IPv6 the /64, because a single
// customer has at least that much. The zero Addr gives the zero Prefix.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // fails for the zero Addr only
	return p
}

// buckets are token buckets that hold size charges and drain steadily, size in
// each period. Empty ones need no entry. Not safe for concurrent use.
type buckets[K comparable] struct {
	size   float64
	period time.Duration
	m      map[K]level
}

// level is what was charged and not yet drained, at a time.
type level struct {
	charged float64
	at      time.Time
}

func newBuckets[K comparable](size int, period time.Duration) buckets[K] {
	return buckets[K]{float64(size), period, make(map[K]level)}
}

func (b *buckets[K]) levelAt(k K, now time.Time) float64 {
	l, ok := b.m[k]
	if !ok {
		return 0
	}
	return max(0, l.charged-b.size*float64(now.Sub(l.at))/float64(b.period))
}

// wait is the time until one more charge fits, 0 if it does now.
func (b *buckets[K]) wait(k K, now time.Time) time.Duration {
	over := b.levelAt(k, now) + 1 - b.size
	if over <= 1e-9 { // the rounding of draining in steps
		return 0
	}
	return max(time.Nanosecond, time.Duration(over/b.size*float64(b.period)))
}

func (b *buckets[K]) charge(k K, n float64, now time.Time) {
	charged := b.levelAt(k, now) + n
	if charged <= 0 {
		delete(b.m, k)
		return
	}
	if _, ok := b.m[k]; !ok && len(b.m) >= mostBuckets {
		b.evict(now)
	}
	b.m[k] = level{charged, now}
}

// evict makes room: of a few entries, met in the map's random order, the
// least charged goes. Somebody who comes under many names or addresses pushes
// out his own before those that are worth keeping.
func (b *buckets[K]) evict(now time.Time) {
	const sample = 8
	var least K
	seen, lowest := 0, 0.0
	for k := range b.m {
		charged := b.levelAt(k, now)
		if seen == 0 || charged < lowest {
			least, lowest = k, charged
		}
		if seen++; seen == sample {
			break
		}
	}
	delete(b.m, least)
}
