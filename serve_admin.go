package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"fileshare/server"
)

// firstAccount is the administrator that exists while no account is configured.
type firstAccount struct {
	path     string // of the file that keeps its hash
	hash     string
	password string // known at the first start only
}

// accounts is who may log in. Where the configuration names nobody and anonymous
// uploads are off, nobody could do anything: there is an account admin then,
// whose hash is kept in the data directory; nil if it is not needed.
func (c *Config) accounts() ([]server.User, *firstAccount, error) {
	if len(c.Auth.Users) > 0 || c.Auth.Htpasswd != "" || c.Auth.Forward.URL != "" || c.Auth.AnonymousUploads {
		return c.users(), nil, nil
	}
	first := &firstAccount{path: filepath.Join(c.Store.Dir, "admin.htpasswd")}
	line, err := os.ReadFile(first.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		first.password = rand.Text()
		first.hash, err = server.HashPassword(first.password)
	case err == nil:
		var ok bool
		if first.hash, ok = strings.CutPrefix(strings.TrimSpace(string(line)), "admin:"); ok {
			var plain bool
			plain, err = server.CheckPassword(first.hash)
			ok = err == nil && !plain
		}
		if !ok {
			err = fmt.Errorf("%s: admin: and a hash is expected; remove the file to get a new password", first.path)
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the account admin: %w", err)
	}
	return []server.User{{Name: "admin", Password: first.hash, Admin: true}}, first, nil
}

// announce keeps the hash of a new account and only then prints its password,
// once, with a line that works; of an old one it says that it exists.
func (a *firstAccount) announce(w io.Writer, options, url string) error {
	if a == nil {
		return nil
	}
	text := fmt.Sprintf("No account is configured: admin can log in with the password of the first start (remove %s to get a new one).\n", a.path)
	if a.password != "" {
		if err := writeDurably(a.path, "admin:"+a.hash+"\n"); err != nil {
			return fmt.Errorf("keeping the account admin: %w", err)
		}
		text = fmt.Sprintf(`No account is configured, so one was made. Its password is shown only now:

    user      admin
    password  %[1]s

    curl%[2]s --user admin:%[1]s --form file=@/etc/hosts %[3]s/uploads

`, a.password, options, url)
	}
	_, err := io.WriteString(w, text)
	return err
}

// writeDurably creates a file, for us only, that is there whole or not at all.
func writeDurably(path, content string) (err error) {
	parent := filepath.Dir(path)
	f, err := os.CreateTemp(parent, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = io.WriteString(f, content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
