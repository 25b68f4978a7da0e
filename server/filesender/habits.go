package filesender

import (
	"io"
	"sync"
)

// habits are the readings (see readings) that fitted the chunks of each account
// so far. An HMAC costs half a second per GB and core, and a client signs all its
// chunks in one way: so the other ways are only tried when that one does not fit.
type habits struct {
	mu sync.Mutex
	of map[string]uint32 // by name, a bit for each reading; guarded by mu
}

// expect leaves all but the usual readings of an account for later.
func (h *habits) expect(s *signed) {
	if !s.known {
		return
	}
	h.mu.Lock()
	usual := h.of[s.Account.Caller.Name]
	h.mu.Unlock()
	var now, later []mac
	for _, m := range s.macs {
		if usual>>m.reading&1 != 0 {
			now = append(now, m)
		} else {
			later = append(later, m)
		}
	}
	if len(now) > 0 {
		s.macs, s.others = now, later
	}
}

// check is that of a body from which expect left readings out: it reads it again
// for these if need be.
func (h *habits) check(s *signed, again io.Reader) error {
	err := s.check()
	if err != nil && len(s.others) > 0 {
		s.macs, s.others, s.body, s.began = s.others, nil, 0, false
		if _, err := io.Copy(s, again); err != nil {
			return err
		}
		err = s.check()
	}
	if err == nil && s.known {
		h.mu.Lock()
		h.of[s.Account.Caller.Name] |= 1 << s.fits
		h.mu.Unlock()
	}
	return err
}
