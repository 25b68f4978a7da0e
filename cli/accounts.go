package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// accounts is the file login.json in the user's configuration directory, for the
// user's eyes only.
type accounts struct {
	Default string             `json:"default"` // server of the last login
	Servers map[string]account `json:"servers"` // by the server's address
}

type account struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// configDir is where things are kept, as a whole for the user's eyes only.
func configDir() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "fileshare"), nil
}

func loadAccounts() (*accounts, error) {
	a := &accounts{Servers: map[string]account{}}
	dir, err := configDir()
	if err != nil {
		return a, nil // no home, no logins
	}
	path := filepath.Join(dir, "login.json")
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, a)
	}
	if err != nil {
		return nil, usage("%s: %w", path, err)
	}
	if a.Servers == nil {
		a.Servers = map[string]account{}
	}
	return a, nil
}

func (a *accounts) save() (path string, err error) {
	raw, err := json.MarshalIndent(a, "", "\t")
	if err != nil {
		return "", err
	}
	dir, err := configDir()
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "login.json")
	return path, writeSecret(path, append(raw, '\n'))
}

// writeSecret replaces a file in one step by one that only the user may read.
func writeSecret(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// choose finds the server to talk to, and the account there. A link goes to its
// own server; passwords only to the servers they are for.
func (a *accounts) choose(flag, link string) (base, user, password string, err error) {
	mine := flag
	if mine == "" {
		mine = os.Getenv("FILESHARE_URL")
	}
	if mine == "" {
		mine = a.Default
	}
	if base = link; base == "" {
		base = mine
	}
	if base == "" {
		return "", "", "", usage(`which server? "fileshare login URL" keeps one, FILESHARE_URL and --server name one`)
	}
	u, err := url.Parse(base)
	if err != nil {
		return "", "", "", usageError{err}
	}
	if u.User != nil { // of the command line or the environment
		password, _ = u.User.Password()
		return base, u.User.Username(), password, nil
	}
	if m, merr := url.Parse(mine); merr == nil && origin(m) == origin(u) {
		if m.User != nil {
			password, _ = m.User.Password()
			return base, m.User.Username(), password, nil
		}
		if user = os.Getenv("FILESHARE_USER"); user != "" {
			return base, user, os.Getenv("FILESHARE_PASSWORD"), nil
		}
	}
	if got, ok := a.Servers[strings.TrimRight(base, "/")]; ok {
		return base, got.User, got.Password, nil
	}
	for server, got := range a.Servers {
		if s, err := url.Parse(server); err == nil && origin(s) == origin(u) {
			return base, got.User, got.Password, nil
		}
	}
	path := os.Getenv("NETRC")
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return base, "", "", nil
		}
		path = filepath.Join(home, ".netrc")
	}
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", "", "", fmt.Errorf("netrc: %w", err)
	}
	user, password = netrc(string(raw), u.Hostname())
	return base, user, password, nil
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// netrc finds the account for a host, as curl and ftp have it. A default entry
// is for no one: passwords do not go to whoever has a link.
func netrc(text, host string) (user, password string) {
	var words []string
	macro := false
	for line := range strings.Lines(text) {
		if macro { // to the next empty line
			macro = strings.TrimSpace(line) != ""
			continue
		}
		for _, w := range strings.Fields(line) {
			if strings.HasPrefix(w, "#") {
				break
			}
			if macro = w == "macdef"; macro {
				break
			}
			words = append(words, w)
		}
	}
	here := false
	for i := 0; i < len(words); i++ {
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		switch words[i] {
		case "machine":
			if here && user != "" {
				return user, password
			}
			here = strings.EqualFold(value, host)
			user, password = "", ""
			i++
		case "default":
			if here {
				return user, password
			}
		case "login":
			if i++; here {
				user = value
			}
		case "password":
			if i++; here {
				password = value
			}
		case "account":
			i++
		}
	}
	if !here {
		return "", ""
	}
	return user, password
}
