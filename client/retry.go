package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"fileshare/api"
)

const (
	slowestPause = 30 * time.Second // that a client chooses
	longestPause = 10 * time.Minute // that a server may ask for
)

// fatal is an error that no repetition mends.
type fatal struct{ error }

func (e *fatal) Unwrap() error { return e.error }

// persist calls try until it succeeds, fails for good or has not got on for
// Attempts times. repeat tells whether a request may be sent again of which
// nobody knows what became of it.
func (c *Client) persist(ctx context.Context, repeat bool, try func(context.Context) error) error {
	p := c.patience()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if _, answered := errors.AsType[*Error](err); !repeat && !answered {
			return last(ctx, err)
		}
		if err := p.wait(ctx, err); err != nil {
			return err
		}
	}
}

// patience counts attempts that did not get on.
type patience struct {
	c      *Client
	failed int
}

func (c *Client) patience() *patience { return &patience{c: c} }

// reset is called when something got on.
func (p *patience) reset() { p.failed = 0 }

// wait waits before the next attempt, or returns why there shall be none.
func (p *patience) wait(ctx context.Context, err error) error {
	p.failed++
	if ctx.Err() != nil || !p.c.passing(err) || p.failed >= p.c.o.Attempts {
		return last(ctx, err)
	}
	pause := min(p.c.o.Pause<<min(p.failed-1, 16), slowestPause)
	pause = pause/2 + rand.N(pause/2+1)
	if e, ok := errors.AsType[*Error](err); ok {
		pause = max(pause, e.RetryAfter)
	}
	if p.c.o.OnRetry != nil {
		p.c.o.OnRetry(err, pause)
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return last(ctx, err)
	}
}

// last is the error that is told in the end: that the caller gave up, or err.
func last(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if f, ok := err.(*fatal); ok {
		return f.error
	}
	return err
}

// passing tells whether it makes sense to try again after an error.
func (c *Client) passing(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		switch e.Status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusTooEarly,
			http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return e.Kind == api.CodeBusy || e.Kind == api.CodeIncomplete
	}
	if _, ok := errors.AsType[*fatal](err); ok {
		return false
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return e.Conn == nil // else it speaks no TLS
	}
	// A server that has never been there is not expected to come.
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return c.reached.Load()
	}
	return true
}

// errIdle is why a connection is given up that moves no byte.
var errIdle = errors.New("the connection has moved no byte for too long")

// idle is a context that ends when nothing moves. moved must be called now and
// then, stop in the end.
type idle struct {
	context.Context
	c     *Client
	timer *time.Timer
	end   context.CancelCauseFunc
}

func (c *Client) idle(ctx context.Context) *idle {
	i := &idle{c: c}
	i.Context, i.end = context.WithCancelCause(ctx)
	if c.o.Idle > 0 {
		i.timer = time.AfterFunc(c.o.Idle, func() { i.end(errIdle) })
	}
	return i
}

func (i *idle) moved() {
	if i.timer != nil {
		i.timer.Reset(i.c.o.Idle)
	}
}

// rest is called when all is sent: the answer has a time of its own.
func (i *idle) rest() {
	if i.timer != nil {
		i.timer.Reset(max(i.c.o.Idle, answerTimeout))
	}
}

func (i *idle) stop() {
	if i.timer != nil {
		i.timer.Stop()
	}
	i.end(nil)
}

// why says what ended a request: cancelled by moved's absence, say so.
func (i *idle) why(err error) error {
	if err != nil && errors.Is(context.Cause(i), errIdle) {
		return fmt.Errorf("%w", errIdle)
	}
	return err
}
