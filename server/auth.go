package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fileshare/server/dialect"
	"fileshare/store"
)

// User is an account as the configuration names it.
type User struct {
	Name        string // UTF-8, no colon, no control characters
	Password    string // a hash (see HashPassword, CheckPassword) or plain text; empty: the htpasswd file has it
	Admin       bool
	APIKey      string
	Email       string
	Permissions []string
}

// Check tells what is wrong with the API key and the permissions, without
// repeating the key.
func (u User) Check() error {
	var problems []error
	if u.APIKey != "" && len(u.APIKey) < leastKey {
		problems = append(problems, fmt.Errorf("api_key must have at least %d characters", leastKey))
	}
	for _, name := range u.Permissions {
		if _, err := permission(name); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// caller is what the engine knows of the account.
func (u User) caller() store.Caller {
	c := store.Caller{Name: u.Name, Admin: u.Admin}
	for _, name := range u.Permissions {
		p, _ := permission(name)
		c.Permissions |= p
	}
	return c
}

// permission reads the name of a permission.
func permission(name string) (store.Permissions, error) {
	switch name {
	case "VIEW_FILES":
		return store.ViewFiles, nil
	case "VIEW_FILE_SERVICE_SETTINGS":
		return store.ViewSettings, nil
	case "UPDATE_FILE_SERVICE_SETTINGS":
		return store.UpdateSettings, nil
	}
	return 0, fmt.Errorf("unknown permission %q; there are VIEW_FILES, VIEW_FILE_SERVICE_SETTINGS, UPDATE_FILE_SERVICE_SETTINGS", name)
}

// AccountsOptions configures [NewAccounts]. The zero value has no account.
type AccountsOptions struct {
	Users []User
	// Htpasswd is the path of an htpasswd file (argon2id, bcrypt, sha-crypt,
	// apr1), read again within a second after it has changed. A password in
	// Users counts before one in the file.
	Htpasswd string
	// Remember is how long verified credentials need no verification;
	// default 5 min, negative: not at all.
	Remember time.Duration
	// RememberMost is how many of them are remembered; default 10,000.
	RememberMost int
	// Failures is how many wrong passwords per minute (and at once) are
	// looked at for an account from one address; 5 times as many from one
	// address, 10 times as many for one account. Default 10.
	Failures int
	// Hashes is how many passwords are hashed at the same time; default half
	// of the processors, 1 to 4, so that logins never take the machine away
	// from transfers, nor much of its memory.
	Hashes int
	// Forward judges the names that neither Users nor the file has a password of.
	Forward Forward
	// Address tells the client's address, behind trusted proxies too;
	// default: the peer's.
	Address func(*http.Request) netip.Addr
	Log     *slog.Logger // default: discards
}

// leastKey is the least length of an API key: unlike passwords they are not
// throttled, so they must not be guessed.
const leastKey = 16

// hashWait is how long a login waits for its turn to be hashed.
const hashWait = 10 * time.Second

// Accounts knows who may log in. It is an Authenticator, and safe for
// concurrent use.
type Accounts struct {
	o        AccountsOptions
	file     *passwordFile // nil: none
	forward  *forward      // nil: none
	table    atomic.Pointer[accountTable]
	memory   *memory
	throttle *throttle
	turns    chan struct{} // one element per running hash

	mu      sync.Mutex
	running map[flight]*verification // guarded by mu
}

// accountTable is immutable.
type accountTable struct {
	accounts map[string]*account
	emails   map[string]*account
	keys     map[[sha256.Size]byte]*account // by the hash of the API key
	names    []string                       // sorted
	seed     maphash.Seed
}

type account struct {
	User
	hash passwordHash // without matches: auth.forward judges
}

// flight identifies verifications that may share one run: the same
// credentials from the same network, which is also what is throttled.
type flight struct {
	digest
	encoded string // a changed hash is another question
	from    netip.Prefix
}

type verification struct {
	done chan struct{} // closed when the rest is set
	ok   bool
	err  error
}

// NewAccounts checks the users and reads the htpasswd file.
func NewAccounts(o AccountsOptions) (*Accounts, error) {
	if o.Remember == 0 {
		o.Remember = 5 * time.Minute
	}
	if o.RememberMost <= 0 {
		o.RememberMost = 10_000
	}
	if o.Failures <= 0 {
		o.Failures = 10
	}
	if o.Hashes <= 0 {
		o.Hashes = min(max(1, runtime.GOMAXPROCS(0)/2), 4)
	}
	if o.Address == nil {
		o.Address = peerAddress
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &Accounts{
		o:        o,
		memory:   newMemory(o.Remember, o.RememberMost),
		throttle: newThrottle(o.Failures),
		turns:    make(chan struct{}, o.Hashes),
		running:  make(map[flight]*verification),
	}
	var err error
	if a.forward, err = newForward(o.Forward, o.RememberMost, o.Log); err != nil {
		return nil, err
	}
	var fromFile map[string]passwordHash
	if o.Htpasswd != "" {
		a.file = &passwordFile{path: o.Htpasswd, log: o.Log}
		a.file.looked.Store(time.Now().UnixNano())
		if fromFile, err = a.file.readLocked(); err != nil {
			return nil, fmt.Errorf("reading htpasswd file: %w", err)
		}
	}
	configured, err := configuredAccounts(o)
	if err != nil {
		return nil, err
	}
	use := func(fromFile map[string]passwordHash) {
		a.table.Store(newTable(configured, fromFile, a.forward != nil))
	}
	if use(fromFile); a.file != nil {
		a.file.use = use
	}
	return a, nil
}

// configuredAccounts checks the users of the configuration and reports all
// that is wrong at once.
func configuredAccounts(o AccountsOptions) (map[string]*account, error) {
	configured, keys := make(map[string]*account), make(map[string]bool)
	var problems []error
	for i, u := range o.Users {
		acc := &account{User: u}
		err := checkName(u.Name)
		if err == nil && configured[u.Name] != nil {
			err = errors.New("is there twice")
		}
		if err == nil && (u.Password != "" || o.Htpasswd == "" && o.Forward.URL == "") {
			acc.hash, err = parsePassword(u.Password)
		}
		acc.Password = "" // nobody reads it from here on
		if err == nil {
			err = u.Check()
		}
		if err == nil && u.APIKey != "" {
			if keys[u.APIKey] {
				err = errors.New("api_key is another's, too")
			}
			keys[u.APIKey] = true
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("user %d (%q): %w", i+1, u.Name, err))
			continue
		}
		if acc.hash.plain {
			o.Log.Warn("password in plain text in the configuration; \"fileshare hash\" makes a hash of it", "user", u.Name)
		}
		configured[u.Name] = acc
	}
	return configured, errors.Join(problems...)
}

// newTable puts the accounts together. Those without a password count only if
// somebody else judges them.
func newTable(configured map[string]*account, fromFile map[string]passwordHash, forward bool) *accountTable {
	t := &accountTable{accounts: make(map[string]*account), emails: make(map[string]*account), keys: make(map[[sha256.Size]byte]*account), seed: maphash.MakeSeed()}
	for name, acc := range configured {
		if acc.hash.matches != nil || forward {
			t.accounts[name] = acc
		}
	}
	for name, hash := range fromFile {
		switch acc := configured[name]; {
		case acc == nil:
			t.accounts[name] = &account{User: User{Name: name}, hash: hash}
		case acc.hash.matches == nil:
			t.accounts[name] = &account{User: acc.User, hash: hash}
		}
	}
	for name, acc := range t.accounts {
		t.names = append(t.names, name)
		if acc.APIKey != "" {
			t.keys[sha256.Sum256([]byte(acc.APIKey))] = acc
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.accounts)) { // of two with one address the first
		acc := t.accounts[name]
		if _, taken := t.emails[acc.Email]; !taken && acc.Email != "" {
			t.emails[acc.Email] = acc
		}
	}
	slices.Sort(t.names)
	return t
}

// Authenticate tells who sends a request: nobody (the zero Caller) if it has no
// Authorization header, else the account whose name and password it carries.
// Errors are of kind Unauthenticated, or RateLimited with RetryAfter, or the
// request's context's.
func (a *Accounts) Authenticate(r *http.Request) (store.Caller, error) {
	name, password, found, err := basicCredentials(r)
	if err != nil || !found {
		return store.Caller{}, err
	}
	u, err := a.login(r.Context(), name, password, func() netip.Addr { return a.o.Address(r) })
	if err != nil {
		return store.Caller{}, err
	}
	return u.caller(), nil
}

// Verify checks a name and a password that came from an address, for faces
// with a login of their own; errors as for Authenticate. The User has no Password.
func (a *Accounts) Verify(ctx context.Context, name, password string, from netip.Addr) (User, error) {
	return a.login(ctx, name, password, func() netip.Addr { return from })
}

// login is Verify; from is asked only when the credentials are not remembered.
func (a *Accounts) login(ctx context.Context, name, password string, from func() netip.Addr) (User, error) {
	if a.file != nil {
		a.file.refresh()
	}
	if checkName(name) != nil || len(password) > mostPassword || hasControl(password) {
		// No account can look like this: nothing to find out by trying.
		return User{}, wrongCredentials()
	}
	table := a.table.Load()
	acc, known := table.accounts[name]
	memory := a.memory
	switch {
	case a.forward != nil && !known: // how long names take shows which are ours, and no more
		acc, known = &account{User: User{Name: name}}, true
		fallthrough
	case a.forward != nil && acc.hash.matches == nil:
		memory = a.forward.memory
	case !known:
		acc = table.standIn(name)
	}
	sum := memory.digest(name, password)
	if known && memory.has(sum, acc.hash.encoded) {
		return acc.User, nil
	}
	addr := from()
	ok, err := a.verify(ctx, flight{sum, acc.hash.encoded, network(addr)}, func() (bool, error) {
		return a.check(ctx, memory, sum, acc, known, name, password, addr)
	})
	switch {
	case err != nil:
		return User{}, err
	case !ok:
		return User{}, wrongCredentials()
	}
	return acc.User, nil
}

// Account implements [Directory].
func (a *Accounts) Account(name string) (dialect.Account, bool) {
	if acc := a.find(name); acc != nil && acc.Name == name {
		return acc.directory()
	}
	return a.unlisted(name).directory()
}

// Find implements [Directory].
func (a *Accounts) Find(name string) (dialect.Account, bool) { return a.find(name).directory() }

// Key implements [Directory].
func (a *Accounts) Key(name string) (dialect.Account, string, bool) {
	acc := a.find(name)
	found, ok := acc.directory()
	if !ok {
		return found, "", false
	}
	return found, acc.APIKey, true
}

// find returns an account by its name or email address, nil if there is none.
func (a *Accounts) find(name string) *account {
	if a.file != nil {
		a.file.refresh()
	}
	t := a.table.Load()
	acc := t.accounts[name]
	if acc == nil {
		acc = t.emails[name]
	}
	if acc == nil {
		acc = a.unlisted(name)
	}
	return acc
}

// unlisted is an account that auth.forward judges, which alone knows whether
// there is one; nil where nobody is asked.
func (a *Accounts) unlisted(name string) *account {
	if a.forward == nil || checkName(name) != nil {
		return nil
	}
	return &account{User: User{Name: name}}
}

// Keyed implements [Directory]. Keys are found by their hash, so that the time
// it takes tells nothing.
func (a *Accounts) Keyed(key string) (dialect.Account, bool) {
	if a.file != nil {
		a.file.refresh() // who was taken out of it has no key
	}
	return a.table.Load().keys[sha256.Sum256([]byte(key))].directory()
}

func (acc *account) directory() (dialect.Account, bool) {
	if acc == nil {
		return dialect.Account{}, false
	}
	return dialect.Account{Caller: acc.caller(), Email: acc.Email}, true
}

// User returns an account by its name, without its password.
func (a *Accounts) User(name string) (User, bool) {
	if acc, ok := a.table.Load().accounts[name]; ok {
		return acc.User, true
	}
	return User{}, false
}

func wrongCredentials() error {
	return store.Refuse(store.Unauthenticated, "wrong user name or password")
}

// verify runs check once for all who ask the same at the same time.
func (a *Accounts) verify(ctx context.Context, f flight, check func() (bool, error)) (bool, error) {
	for {
		a.mu.Lock()
		v := a.running[f]
		if v == nil {
			v = &verification{done: make(chan struct{})}
			a.running[f] = v
			a.mu.Unlock()
			defer func() { // also when check panics: nobody may wait for ever
				a.mu.Lock()
				delete(a.running, f)
				a.mu.Unlock()
				close(v.done)
			}()
			v.err = context.Canceled // what the others see of a panic
			v.ok, v.err = check()
			return v.ok, v.err
		}
		a.mu.Unlock()
		select {
		case <-v.done:
			if errors.Is(v.err, context.Canceled) || errors.Is(v.err, context.DeadlineExceeded) {
				continue // the one who ran it went away, not we
			}
			return v.ok, v.err
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// check looks at the password: allowed by the throttle, when it is its turn, and
// for unknown names at the same cost as for known ones.
func (a *Accounts) check(ctx context.Context, memory *memory, sum digest, acc *account, known bool, name, password string, from netip.Addr) (bool, error) {
	try, wait := a.throttle.take(name, from)
	if wait > 0 {
		return false, tooMany("too many failed logins", wait)
	}
	patience := time.NewTimer(hashWait)
	defer patience.Stop()
	turns := a.turns
	if acc.hash.matches == nil {
		turns = a.forward.turns
	}
	select {
	case turns <- struct{}{}:
		defer func() { <-turns }()
	case <-ctx.Done():
		a.throttle.refund(try)
		return false, ctx.Err()
	case <-patience.C:
		a.throttle.refund(try)
		return false, tooMany("too many logins at once", hashWait)
	}
	if known && memory.has(sum, acc.hash.encoded) { // meanwhile, from elsewhere
		a.throttle.succeed(try)
		return true, nil
	}
	ok, err := true, error(nil)
	if acc.hash.matches != nil {
		ok = acc.hash.matches(password) && known
	} else if ok, err = a.forward.ask(ctx, name, password, from); err != nil {
		a.throttle.refund(try)
	}
	if err != nil || !ok {
		return false, err
	}
	a.throttle.succeed(try)
	memory.put(sum, acc.hash.encoded)
	return true, nil
}

func tooMany(message string, wait time.Duration) error {
	err := store.Refuse(store.RateLimited, message)
	err.RetryAfter = wait
	return err
}

// standIn is the account whose hash an unknown name is held against: always the
// same for one name, so that in a table of different hashes unknown names take
// as long as known ones, one by one.
func (t *accountTable) standIn(name string) *account {
	if len(t.names) == 0 {
		return &account{hash: passwordHash{matches: func(string) bool { return false }}}
	}
	return t.accounts[t.names[maphash.String(t.seed, name)%uint64(len(t.names))]]
}

// peerAddress is the address of the connection's other end.
func peerAddress(r *http.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr) // "@" on unix sockets
	return ap.Addr()
}
