package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// peak watches the memory of its own that a daemon holds (RssAnon: without
// the mapped database) until stop, which returns the most it was, in kB.
func (d *e2eDaemon) peak() (stop func() int64) {
	end := make(chan struct{})
	peak := make(chan int64)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		var most int64
		for {
			most = max(most, d.proc("RssAnon"))
			select {
			case <-tick.C:
			case <-end:
				peak <- most
				return
			}
		}
	}()
	return func() int64 {
		close(end)
		return <-peak
	}
}

// e2eStream is a body of size bytes: e2eBytes over and over.
type e2eStream struct{ at, size int64 }

func (s *e2eStream) Read(p []byte) (int, error) {
	if s.at == s.size {
		return 0, io.EOF
	}
	from := e2eBytes()[s.at%int64(len(e2eBytes())):]
	n := copy(p[:min(int64(len(p)), s.size-s.at)], from)
	s.at += int64(n)
	return n, nil
}

// same reads r and compares it with the stream.
func (s *e2eStream) same(r io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := r.Read(buf)
		for p := buf[:n]; len(p) > 0; {
			want := e2eBytes()[s.at%int64(len(e2eBytes())):]
			m := min(len(p), len(want))
			if !bytes.Equal(p[:m], want[:m]) {
				return fmt.Errorf("other bytes at %d", s.at)
			}
			p, s.at = p[m:], s.at+int64(m)
		}
		if err == io.EOF && s.at == s.size {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", s.at, s.size, err)
		}
	}
}

// TestMemory moves large files and many small ones at once and bounds the
// memory of the daemon. FILESHARE_MEMORY_MB sets the size of the large ones.
func TestMemory(t *testing.T) {
	size := int64(256 << 20)
	if v := os.Getenv("FILESHARE_MEMORY_MB"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		size = n << 20
	}
	const (
		most  = 60 << 10 // kB
		large = 4
		small = 256
	)
	dir := t.TempDir()
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		t.Fatal(err)
	}
	if free := int64(disk.Bavail) * disk.Bsize; free < (large+1)*size {
		t.Fatalf("%s: %d bytes are free, %d are needed", dir, free, (large+1)*size)
	}
	d := e2eStart(t, dir)

	paths := make([]string, large)
	measure := func(what string, n int, do func(i int) error) {
		stop := d.peak()
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				if err := do(i); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		all.Wait()
		peak := stop()
		t.Logf("%s: RssAnon %.1f MB at most, %d threads", what, float64(peak)/1024, d.proc("Threads"))
		if peak > most || peak == 0 {
			t.Errorf("%s: RssAnon %d kB, want at most %d", what, peak, most)
		}
	}
	measure("256 small uploads", small, func(i int) error {
		_, err := d.send("PUT", "small-"+strconv.Itoa(i), 16<<10)
		return err
	})
	measure("large uploads", large, func(i int) (err error) {
		paths[i], err = d.send([]string{"PUT", "POST"}[i%2], "large-"+strconv.Itoa(i), size)
		return err
	})
	if t.Failed() {
		return
	}
	measure("large downloads", large, func(i int) error {
		res, err := d.client.Get("http://" + d.addr + paths[i])
		if err != nil {
			return err
		}
		defer res.Body.Close()
		return (&e2eStream{size: size}).same(res.Body)
	})
	measure("256 small uploads by form", small, func(i int) error {
		_, err := d.send("POST", "small-"+strconv.Itoa(i), 60<<10)
		return err
	})
}

// send uploads a stream raw or (POST) as a form and returns its path.
func (d *e2eDaemon) send(method, name string, size int64) (string, error) {
	path, kind := "/uploads/"+name, ""
	var body io.Reader = &e2eStream{size: size}
	length := size
	if method == http.MethodPost {
		form, formType := e2eForm(name, nil) // the head, and the tail from the line break on
		whole, err := io.ReadAll(form)
		if err != nil {
			return "", err
		}
		at := strings.Index(string(whole), "\r\n\r\n") + 4
		path, kind = "/uploads", formType
		body = io.MultiReader(bytes.NewReader(whole[:at]), body, bytes.NewReader(whole[at:]))
		length += int64(len(whole))
	}
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+d.addr+path, body)
	if err != nil {
		return "", err
	}
	req.ContentLength = length
	req.SetBasicAuth(e2eUser, e2ePassword)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := d.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	a := &e2eAnswer{status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(res.Body); err == nil && a.status != http.StatusCreated {
		err = fmt.Errorf("%v", a)
	}
	return e2eID(a), err
}
