package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fileshare/store"
)

const (
	annKey = "the API key of ann"
	bobKey = "the API key of bob"
)

func TestKeys(t *testing.T) {
	a := newAccounts(t, AccountsOptions{Users: []User{
		{Name: "ann", Email: "ann@example.com", Password: cheap(t, "x"), APIKey: annKey, Permissions: []string{"VIEW_FILES", "UPDATE_FILE_SERVICE_SETTINGS"}},
		{Name: "bob", Email: "ann@example.com", Password: cheap(t, "x"), APIKey: bobKey, Admin: true},
		{Name: "eve", Email: "ann", Password: cheap(t, "x")},
	}})
	ann := store.Caller{Name: "ann", Permissions: store.ViewFiles | store.UpdateSettings}
	for key, want := range map[string]store.Caller{annKey: ann, bobKey: {Name: "bob", Admin: true}, "": {}, annKey + "x": {}, annKey[1:]: {}} {
		got, ok := a.Keyed(key)
		if got.Caller != want || ok != (want.Name != "") {
			t.Errorf("key %q: %+v, %v", key, got, ok)
		}
	}
	if c, err := a.Authenticate(request("ann", "x", "192.0.2.1")); err != nil || c != ann {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := a.Authenticate(request("ann", annKey, "192.0.2.1")); store.KindOf(err) != store.Unauthenticated {
		t.Errorf("a key is no password: %v", err)
	}
	for _, c := range []struct{ name, who, key string }{
		{"ann", "ann", annKey}, // a name comes before an address
		{"ann@example.com", "ann", annKey},
		{"bob", "bob", bobKey},
		{"eve", "eve", ""},
		{"nobody", "", ""},
		{"", "", ""},
	} {
		if who, key, ok := a.Key(c.name); who.Name != c.who || key != c.key || ok != (c.who != "") {
			t.Errorf("%q: %q, %q, %v", c.name, who.Name, key, ok)
		}
	}
}

// What was written down names an account exactly: an address that is the name of
// one that has gone, or of one that is judged elsewhere, is not taken for it.
func TestAccountIsNoAddress(t *testing.T) {
	users := []User{{Name: "bob", Email: "sub@example.com", Password: cheap(t, "x"), Admin: true}}
	a := newAccounts(t, AccountsOptions{Users: users})
	if acc, ok := a.Account("sub@example.com"); ok {
		t.Errorf("%+v", acc)
	}
	if acc, ok := a.Find("sub@example.com"); !ok || acc.Name != "bob" {
		t.Errorf("%+v, %v", acc, ok)
	}
	if acc, ok := a.Account("bob"); !ok || !acc.Admin {
		t.Errorf("%+v, %v", acc, ok)
	}
	a = newAccounts(t, AccountsOptions{Users: users, Forward: Forward{URL: "http://127.0.0.1:1/"}})
	if acc, ok := a.Account("sub@example.com"); !ok || acc.Caller != (store.Caller{Name: "sub@example.com"}) {
		t.Errorf("%+v, %v", acc, ok)
	}
	if acc, ok := a.Find("sub@example.com"); !ok || acc.Name != "bob" {
		t.Errorf("%+v, %v", acc, ok)
	}
}

// Who is taken out of the htpasswd file has no key any more.
func TestKeyGoesWithThePassword(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(path, []byte("ann:"+cheap(t, "x")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		a := newAccounts(t, AccountsOptions{Users: []User{{Name: "ann", APIKey: annKey}}, Htpasswd: path})
		if _, ok := a.Keyed(annKey); !ok {
			t.Fatal("no key")
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // of the bubble: the next look is due
		if _, ok := a.Keyed(annKey); ok {
			t.Error("the key is good without the password")
		}
		if _, key, ok := a.Key("ann"); ok || key != "" {
			t.Error("the key signs without the password")
		}
	})
}

func TestUserCheck(t *testing.T) {
	for want, u := range map[string]User{
		"at least 16":              {APIKey: "TOPSECRET"},
		`unknown permission "all"`: {APIKey: annKey, Permissions: []string{"VIEW_FILES", "all"}},
	} {
		if err := u.Check(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "TOPSECRET") {
			t.Errorf("%+v: %v", u, err)
		}
	}
	if err := (User{APIKey: annKey, Permissions: []string{"VIEW_FILE_SERVICE_SETTINGS"}}).Check(); err != nil {
		t.Error(err)
	}
	_, err := NewAccounts(AccountsOptions{Users: []User{{Name: "a", Password: "x", APIKey: annKey}, {Name: "b", Password: "x", APIKey: annKey}}})
	if err == nil || !strings.Contains(err.Error(), "user 2") || strings.Contains(err.Error(), annKey) {
		t.Errorf("one key twice: %v", err)
	}
}
