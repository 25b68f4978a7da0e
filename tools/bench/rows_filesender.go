package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const rowChunks = "FileSender: 1 GiB, 16 chunks at once"

const (
	chunkSize    = 5 << 20
	chunkWorkers = 16
	chunkHost    = "files.example.com" // a site has no port: with one, there are two texts that may have been signed
)

// chunks: a large file as FileSender's clients send it, in signed chunks, beside
// the same file by one request.
func (b *bench) chunks(ctx context.Context) error {
	d, err := b.daemon(ctx, "chunks", settings{reaper: "@every 1s"})
	if err != nil {
		return err
	}
	b.atEnd(d.remove)
	var cpu series
	s := b.compete(ctx, b.largeTurn(d, d.put(b.sizes.large), &cpu), b.chunkTurn(d))
	b.report.compare(rowChunks, "MB/s", s[1], "by one PUT", s[0], leastRatio(0.5), "signing and checking signatures included")
	return nil
}

// chunkTurn uploads a file in chunks once per round.
func (b *bench) chunkTurn(d *daemon) turn {
	content := noise(chunkSize)
	once := func(ctx context.Context, size int64) (float64, error) {
		if err := touchMemory(size); err != nil {
			return 0, err
		}
		rate, transfer, err := d.sendChunks(ctx, content, size)
		if err != nil {
			return 0, err
		}
		err = b.client.do(ctx, d.signed("DELETE", "/rest.php/transfer/"+transfer, nil, http.StatusOK))
		return rate, errors.Join(err, d.emptied(ctx, size))
	}
	return turn{
		warm: func(ctx context.Context) error {
			_, err := once(ctx, min(b.sizes.large, 64<<20))
			return err
		},
		measure: func(ctx context.Context) (float64, error) { return once(ctx, b.sizes.large) },
	}
}

// signed is a request that is signed as FileSender's clients do it.
func (d *daemon) signed(method, path string, body []byte, want int) call {
	user, at := d.b.login.name, strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha1.New, []byte(d.b.login.key))
	fmt.Fprintf(mac, "%s&%s%s?remote_user=%s&timestamp=%s", strings.ToLower(method), chunkHost, path, user, at)
	if len(body) > 0 {
		_, _ = mac.Write([]byte{'&'})
		_, _ = mac.Write(body)
	}
	query := fmt.Sprintf("?remote_user=%s&timestamp=%s&signature=%x", url.QueryEscape(user), at, mac.Sum(nil))
	return call{method: method, url: d.url + path + query, host: chunkHost, body: body, want: want, length: -1}
}

// sendChunks uploads a transfer of one file and returns its rate, without the
// time that it takes to announce it, and its number.
func (d *daemon) sendChunks(ctx context.Context, content []byte, size int64) (rate float64, transfer string, err error) {
	ask, err := json.Marshal(map[string]any{"files": []any{map[string]any{"name": "large.bin", "size": size}}, "recipients": []string{"bob@example.net"}})
	if err != nil {
		return 0, "", err
	}
	answer, err := d.b.client.fetch(ctx, d.signed("POST", "/rest.php/transfer", ask, http.StatusCreated))
	if err != nil {
		return 0, "", err
	}
	var made struct {
		ID    int64
		Files []struct{ ID int64 }
	}
	if err := json.Unmarshal(answer, &made); err != nil || len(made.Files) != 1 {
		return 0, "", fmt.Errorf("the answer: %w: %.300s", err, answer)
	}
	transfer, file := strconv.FormatInt(made.ID, 10), "/rest.php/file/"+strconv.FormatInt(made.Files[0].ID, 10)
	begun := time.Now()
	offsets := make(chan int64)
	go func() {
		defer close(offsets)
		for at := int64(0); at < size; at += chunkSize {
			select {
			case offsets <- at:
			case <-ctx.Done():
				return
			}
		}
	}()
	var errs [chunkWorkers]error
	var wg sync.WaitGroup
	for w := range chunkWorkers {
		wg.Go(func() {
			for at := range offsets {
				if errs[w] != nil {
					continue // the others are not to wait for a place that nobody takes
				}
				q := d.signed("PUT", file+"/chunk/"+strconv.FormatInt(at, 10), content[:min(chunkSize, size-at)], http.StatusOK)
				errs[w] = d.b.client.do(ctx, q)
			}
		})
	}
	wg.Wait()
	complete := []byte(`{"complete":true}`)
	err = errors.Join(errs[:]...)
	for _, path := range []string{file, "/rest.php/transfer/" + transfer} {
		if err == nil {
			err = d.b.client.do(ctx, d.signed("PUT", path, complete, http.StatusOK))
		}
	}
	return megabytes(size, time.Since(begun)), transfer, errors.Join(err, ctx.Err())
}
