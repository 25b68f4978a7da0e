package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// mostWorkers is the largest concurrency of any row, and so the number of
// idle connections that the client keeps.
const mostWorkers = 256

// tooManyErrors ends a measurement whose answers are wrong anyway.
const tooManyErrors = 100

// login is the account that the daemon is configured with.
type login struct{ name, password, hash, header, key string }

func newLogin() (login, error) {
	const name, password = "bench@example.com", "correct horse battery staple"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return login{}, fmt.Errorf("hashing the password: %w", err)
	}
	return login{name, password, string(hash), "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password)), "the key of the bench, long enough"}, nil
}

// client is the one load generator of all small operations.
type client struct {
	http    *http.Client
	buffers sync.Pool // of *[]byte, to drain answers
}

func newClient() *client {
	return &client{
		http: &http.Client{
			Transport: &http.Transport{MaxIdleConnsPerHost: mostWorkers, DisableCompression: true},
			Timeout:   time.Minute,
		},
		buffers: sync.Pool{New: func() any { return new(make([]byte, 64<<10)) }},
	}
}

// call is a prepared request. Its header is shared by all uses and not changed.
type call struct {
	method, url string
	host        string // in the header; empty = that of url
	header      http.Header
	body        []byte
	want        int   // status
	length      int64 // of the answer's body; -1 = any
}

// do sends the request, drains the answer and checks its status and length.
func (c *client) do(ctx context.Context, q call) error {
	answer, err := c.send(ctx, q)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	buf := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buf)
	var n int64
	for {
		k, err := answer.Body.Read(*buf)
		n += int64(k)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading an answer: %w", err)
		}
	}
	if q.length >= 0 && n != q.length {
		return fmt.Errorf("%s: %d bytes, expected %d", q.method, n, q.length)
	}
	return nil
}

// fetch is do for answers that are needed.
func (c *client) fetch(ctx context.Context, q call) ([]byte, error) {
	answer, err := c.send(ctx, q)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}

func (c *client) send(ctx context.Context, q call) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, q.method, q.url, bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	if q.header != nil {
		req.Header = q.header
	}
	req.Host = q.host
	answer, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != q.want {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 300))
		answer.Body.Close()
		return nil, fmt.Errorf("%s: status %d, expected %d: %s", q.method, answer.StatusCode, q.want, text)
	}
	return answer, nil
}

// form makes a multipart body around content and its media type.
func form(content []byte) (body []byte, contentType string, err error) {
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	part, err := w.CreateFormFile("file", "bench.bin")
	if err != nil {
		return nil, "", err
	}
	if _, err := part.Write(content); err != nil {
		return nil, "", err
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return buf.Bytes(), w.FormDataContentType(), nil
}

// load is how an operation is repeated: by workers goroutines, until the
// first of the bounds that are set.
type load struct {
	workers int
	during  time.Duration
	count   int
	until   <-chan struct{}
	times   bool // keep each operation's timing
}

// timing is when an operation began and how long it took.
type timing struct {
	at   time.Time
	took time.Duration
}

// sample is what a load did.
type sample struct {
	ops     int
	elapsed time.Duration
	times   []timing
}

func (s sample) rate() float64 { return float64(s.ops) / s.elapsed.Seconds() }

// run repeats op, which is passed the number of the operation from 0 on. An
// operation that fails makes the whole sample fail.
func (l load) run(ctx context.Context, op func(ctx context.Context, i int) error) (sample, error) {
	var (
		next, done, wrong atomic.Int64
		mu                sync.Mutex
		first             error    // guarded by mu
		times             []timing // guarded by mu
		wg                sync.WaitGroup
	)
	begun := time.Now()
	for range l.workers {
		wg.Go(func() {
			var mine []timing
			for at := begun; ; {
				if ctx.Err() != nil || wrong.Load() >= tooManyErrors || l.over(at.Sub(begun)) {
					break
				}
				i := int(next.Add(1) - 1)
				if l.count > 0 && i >= l.count {
					break
				}
				from := at
				if l.times {
					from = time.Now()
				}
				err := op(ctx, i)
				at = time.Now()
				if err != nil {
					if wrong.Add(1) == 1 {
						mu.Lock()
						first = err
						mu.Unlock()
					}
					continue
				}
				done.Add(1)
				if l.times {
					mine = append(mine, timing{from, at.Sub(from)})
				}
			}
			mu.Lock()
			times = append(times, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	s := sample{ops: int(done.Load()), elapsed: time.Since(begun), times: times}
	switch {
	case ctx.Err() != nil:
		return s, ctx.Err()
	case wrong.Load() > 0:
		return s, fmt.Errorf("%d of %d answers wrong, the first: %w", wrong.Load(), wrong.Load()+done.Load(), first)
	case s.ops == 0:
		return s, errors.New("no operation was done")
	}
	return s, nil
}

func (l load) over(elapsed time.Duration) bool {
	if l.during > 0 && elapsed >= l.during {
		return true
	}
	select {
	case <-l.until: // a nil channel never is ready
		return true
	default:
		return false
	}
}

// turn is what one side of a row does in each round.
type turn struct {
	warm    func(context.Context) error // once, before the first round; nil = nothing
	measure func(context.Context) (float64, error)
}

// only is a turn without warm-up.
func only(measure func(context.Context) (float64, error)) turn { return turn{measure: measure} }

// broken is the turn of a side that could not even start.
func broken(err error) turn {
	return turn{warm: func(context.Context) error { return err }}
}

// small is a turn of small operations: their rate.
func (b *bench) small(workers int, op func(ctx context.Context, i int) error) turn {
	return turn{
		warm: func(ctx context.Context) error {
			// One alone first: it is the one that verifies the password.
			if _, err := (load{workers: 1, count: 1}).run(ctx, op); err != nil {
				return err
			}
			_, err := load{workers: workers, during: b.sizes.warm}.run(ctx, op)
			return err
		},
		measure: func(ctx context.Context) (float64, error) {
			s, err := load{workers: workers, during: b.sizes.measure}.run(ctx, op)
			return s.rate(), err
		},
	}
}

// compete lets the sides take turns, round by round, each over a disk at
// rest. A side that fails is left out from then on.
func (b *bench) compete(ctx context.Context, turns ...turn) []series {
	all := make([]series, len(turns))
	for i, t := range turns {
		if t.warm != nil {
			all[i].err = t.warm(ctx)
		}
	}
	for range b.rounds {
		for i, t := range turns {
			if all[i].err != nil {
				continue
			}
			if all[i].err = b.settle(); all[i].err != nil {
				continue
			}
			x, err := t.measure(ctx)
			if err != nil {
				all[i] = series{err: err}
				continue
			}
			all[i].values = append(all[i].values, x)
		}
	}
	return all
}
