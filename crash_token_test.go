package main

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
)

// The part of TestCrash that is about one-time links.

// useToken goes the way of a one-time link: session, file, content, token,
// three who want it at once, and one who comes too late.
func (m *crashModel) useToken(d *e2eDaemon, rng *rand.Rand) bool {
	a, _ := m.try(d, "POST", "/sessions", nil)
	if a == nil {
		return false
	}
	f := m.newFile(rng, crashTrying)
	a, alive := m.try(d, "POST", e2eID(a)+"/files", strings.NewReader(`{"name":"`+f.name+`"}`), "Content-Type", "application/json")
	if a == nil || a.status != http.StatusCreated {
		return false
	}
	m.mu.Lock()
	f.path, f.state = e2eID(a), crashNew
	m.mu.Unlock()
	if !alive {
		return false
	}
	m.set(f, crashPutting)
	if a, alive = m.try(d, "PUT", f.path, bytes.NewReader(f.content)); a == nil {
		m.add(func(c *crashCount) { c.Cut++ })
		return false
	}
	if a.status != http.StatusOK {
		m.t.Errorf("PUT of a session's file: %v", a)
		return false
	}
	m.set(f, crashStored)
	m.add(func(c *crashCount) { c.Uploads++ })
	if !alive {
		return false
	}
	if a, alive = m.try(d, "POST", f.path+"/tokens", nil); a == nil {
		return false
	}
	k := &crashToken{file: f, path: e2eID(a)}
	m.mu.Lock()
	m.tokens = append(m.tokens, k)
	m.count.Tokens++
	m.mu.Unlock()
	if !alive || rng.IntN(4) == 0 {
		return alive // left for after the restart
	}
	var three sync.WaitGroup
	for range 3 {
		three.Go(func() { m.fetch(d, k) })
	}
	three.Wait()
	if !m.used(d, k) {
		return false
	}
	if rng.IntN(2) == 0 {
		return m.remove(d, f)
	}
	return true
}

// fetch downloads by a token and books what came; false: the daemon is dead.
func (m *crashModel) fetch(d *e2eDaemon, k *crashToken) bool {
	k.mu.Lock()
	k.tried = m.epoch
	k.mu.Unlock()
	a, alive := m.try(d, "GET", k.path, nil)
	if a == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case a.status == http.StatusOK && alive:
		if !bytes.Equal(a.body, k.file.content) {
			m.t.Errorf("token of %s: %d bytes that are not the content", k.file.name, len(a.body))
		}
		if k.got == m.epoch {
			m.t.Errorf("token of %s: a second body from the same daemon", k.file.name)
		}
		if k.gone != 0 && k.gone < m.epoch {
			m.t.Errorf("token of %s: a body after 410", k.file.name)
		}
		m.add(func(c *crashCount) {
			if c.Bodies++; k.got > 0 {
				c.Again++
			}
		})
		k.got = m.epoch
	case a.status == http.StatusOK:
		m.add(func(c *crashCount) { c.CutBodies++ })
	case a.status == http.StatusGone:
		if k.gone == 0 {
			k.gone = m.epoch
		}
	case a.status != http.StatusConflict:
		m.t.Errorf("token of %s: %v", k.file.name, a)
	}
	return alive
}

// used waits until a token that has given its body is used up.
func (m *crashModel) used(d *e2eDaemon, k *crashToken) bool {
	alive := true
	e2eUntil(m.t, "410 of a token that was downloaded", func() bool {
		k.mu.Lock()
		gone := k.gone != 0
		k.mu.Unlock()
		if !gone && alive {
			alive = m.fetch(d, k)
		}
		return gone || !alive
	})
	return alive
}

// verifyToken asks what a token has to say after its daemon was killed.
func (m *crashModel) verifyToken(d *e2eDaemon, k *crashToken, rng *rand.Rand) {
	if k.file.state == crashGone {
		if a := d.do("HEAD", k.path, nil); a.status != http.StatusNotFound {
			m.t.Errorf("token of %s, which is deleted: %d", k.file.name, a.status)
		}
		return
	}
	if k.gone != 0 {
		if a := d.do("GET", k.path, nil); a.status != http.StatusGone {
			m.t.Errorf("token of %s was used up: %d", k.file.name, a.status)
		}
		if k.got == 0 {
			m.t.Errorf("token of %s is used up and nobody has got the body", k.file.name)
		}
		return
	}
	if k.got == 0 {
		if a := d.do("HEAD", k.path, nil); a.status != http.StatusOK {
			m.t.Errorf("token of %s has given no body (tried: %v): %d", k.file.name, k.tried != 0, a.status)
		}
	}
	had := k.got
	m.fetch(d, k)
	if had == 0 && k.got == 0 {
		m.t.Errorf("token of %s gives no body at all", k.file.name)
	}
	m.used(d, k)
	if rng.IntN(2) == 0 {
		m.remove(d, k.file)
	}
}
