package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// mostHtpasswd is the largest htpasswd file that is read, in bytes.
const mostHtpasswd = 16 << 20

// passwordFile watches an htpasswd file by looking at it, at most once a second
// and only when somebody logs in.
type passwordFile struct {
	path   string
	log    *slog.Logger
	use    func(map[string]passwordHash) // called with what a changed file has
	looked atomic.Int64                  // Unix nanoseconds of the last look

	mu   sync.Mutex
	seen os.FileInfo // guarded by mu; nil: the file could not be looked at
}

// refresh reads the file if it has changed. A file that is gone or broken
// changes nothing; it is reported once per change.
func (f *passwordFile) refresh() {
	now := time.Now().UnixNano()
	last := f.looked.Load()
	if now-last < int64(time.Second) && now >= last || !f.looked.CompareAndSwap(last, now) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	switch {
	case err != nil:
		if f.seen != nil {
			f.log.Error("htpasswd file cannot be read, its old accounts stay valid", "err", err)
		}
		f.seen = nil
		return
	case f.seen != nil && os.SameFile(f.seen, info) && f.seen.Size() == info.Size() && f.seen.ModTime().Equal(info.ModTime()):
		return
	}
	accounts, err := f.readLocked()
	if err != nil {
		f.seen = info
		f.log.Error("htpasswd file is broken, its old accounts stay valid", "err", err)
		return
	}
	f.use(accounts)
	f.log.Info("htpasswd file read", "path", f.path, "accounts", len(accounts))
}

// readLocked reads the file and remembers the state in which it was read.
func (f *passwordFile) readLocked() (map[string]passwordHash, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	// Looked at before reading: a change in between is seen the next time.
	if f.seen, err = file.Stat(); err != nil {
		return nil, err
	}
	if !f.seen.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", f.path)
	}
	accounts, err := parseHtpasswd(io.LimitReader(file, mostHtpasswd))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return accounts, nil
}

// parseHtpasswd reads lines of name:hash. Blank lines and comments are skipped;
// anything else that is not understood is an error that names the line, not
// its content.
func parseHtpasswd(r io.Reader) (map[string]passwordHash, error) {
	accounts := make(map[string]passwordHash)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(line, ":")
		encoded, _, _ := strings.Cut(rest, ":") // further fields are somebody's remarks
		if err := checkName(name); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if _, twice := accounts[name]; twice {
			return nil, fmt.Errorf("line %d: user %q is there twice", n, name)
		}
		hash, err := parseHash(encoded)
		if err == nil && hash.matches == nil {
			err = errors.New("no hash in a known form; argon2id, bcrypt, sha-crypt or apr1 is expected")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d, user %q: %w", n, name, err)
		}
		accounts[name] = hash
	}
	return accounts, lines.Err()
}

// checkName tells what is wrong with the name of an account.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the user name is empty")
	case !utf8.ValidString(name):
		return errors.New("the user name is not UTF-8")
	case len(name) > 256:
		return errors.New("the user name is longer than 256 bytes")
	case strings.Contains(name, ":") || hasControl(name):
		return errors.New("the user name contains a colon or control characters")
	}
	return nil
}
