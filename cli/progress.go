package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows how a transfer gets on: a bar with rate and time left on a
// terminal, nothing elsewhere.
type progress struct {
	w        io.Writer
	terminal bool

	mu  sync.Mutex
	bar *progressbar.ProgressBar // guarded by mu; nil = nothing is shown
	n   int64                    // guarded by mu
}

func newProgress(w io.Writer) *progress { return &progress{w: w, terminal: isTerminal(w)} }

// start begins a bar; total is -1 if nobody knows it, there are bytes that are
// done already.
func (p *progress) start(name string, total, there int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n = there
	if !p.terminal {
		return
	}
	if r := []rune(name); len(r) > 24 {
		name = string(r[:23]) + "…"
	}
	p.bar = progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(p.w),
		progressbar.OptionSetDescription(name),
		progressbar.OptionShowBytes(true),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetWidth(20),
		progressbar.OptionThrottle(100*time.Millisecond),
	)
	if there > 0 {
		_ = p.bar.Set64(there)
	}
}

// add tells that more bytes are done.
func (p *progress) add(more int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n += more
	if p.bar != nil {
		_ = p.bar.Set64(max(p.n, 0))
	}
}

// end takes the bar away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Exit() // from here on it draws nothing
		p.clear()
		p.bar = nil
	}
}

// clear wipes the line of the bar: back to its beginning, and erase it.
func (p *progress) clear() { _, _ = io.WriteString(p.w, "\r\x1b[2K") }

// retry tells why something takes longer.
func (p *progress) retry(err error, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.clear()
	}
	_, _ = fmt.Fprintf(p.w, "fileshare: %v; again in %v\n", err, max(pause, 100*time.Millisecond).Round(100*time.Millisecond))
}
