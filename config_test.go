package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func load(t testing.TB, yaml string, environ ...string) (*Config, error) {
	t.Helper()
	return parseConfig("test.yaml", []byte(yaml), environ)
}

func mustLoad(t testing.TB, yaml string, environ ...string) *Config {
	t.Helper()
	c, err := load(t, yaml, environ...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The embedded file is the documentation: it has every key of Config and no
// other, each with a sentence above it.
func TestEveryKeyIsDocumented(t *testing.T) {
	v, err := readYAML(defaultConfig)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range configFields(new(Config)) {
		want = append(want, f.key)
	}
	got := v.AllKeys()
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys of Config and config.yaml (-Config +file):\n%s", diff)
	}
	lines := strings.Split(string(defaultConfig), "\n")
	leaf := regexp.MustCompile(`^ +([a-z_]+): \S`)
	found := 0
	for i, line := range lines {
		if m := leaf.FindStringSubmatch(line); m != nil {
			found++
			if !strings.HasPrefix(strings.TrimSpace(lines[i-1]), "# ") {
				t.Errorf("config.yaml, line %d: %s has no sentence above it", i+1, m[1])
			}
		}
	}
	if found != len(want) {
		t.Errorf("%d keys found in the text, want %d", found, len(want))
	}
}

func TestDefaults(t *testing.T) {
	c := mustLoad(t, "")
	day := Duration(24 * time.Hour)
	for key, pair := range map[string][2]any{
		"server.listen":           {c.Server.Listen, "127.0.0.1:8080"},
		"server.prefixes":         {c.Server.Prefixes, []string{"/rtc/fileshare"}},
		"server.trusted_proxies":  {c.Server.TrustedProxies, []string{"127.0.0.1/32", "::1/128"}},
		"server.shutdown_grace":   {c.Server.ShutdownGrace, Duration(30 * time.Second)},
		"store.dir":               {c.Store.Dir, "./data"},
		"store.inline_size":       {c.Store.InlineSize, Size(64 << 10)},
		"models.upload.ttl":       {c.Models.Upload.TTL, Duration(time.Hour)},
		"models.upload.max_ttl":   {c.Models.Upload.MaxTTL, 30 * day},
		"models.session.ttl":      {c.Models.Session.TTL, 7 * day},
		"models.session.max_ttl":  {c.Models.Session.MaxTTL, 30 * day},
		"limits.file_size":        {c.Limits.FileSize, Size(10 << 30)},
		"limits.free_space":       {c.Limits.FreeSpace, Size(1 << 30)},
		"limits.user_quota":       {c.Limits.UserQuota, Size(0)},
		"tokens.lease":            {c.Tokens.Lease, Duration(15 * time.Minute)},
		"tokens.max_downloads":    {c.Tokens.MaxDownloads, int64(1)},
		"reaper.tombstones":       {c.Reaper.Tombstones, 30 * day},
		"reaper.audit":            {c.Reaper.Audit, 31 * day},
		"events.addresses":        {c.Events.Addresses, true},
		"reaper.schedule":         {c.Reaper.Schedule, "@every 10s"},
		"apis.filesender":         {c.APIs.FileSender, FileSenderConfig{Enabled: true, TTL: 10 * day, MaxTTL: 20 * day, Unfinished: 7 * day, Extensions: 1, ChunkSize: 5 << 20, Files: 100, Recipients: 50, Size: 100 << 30, Banned: []string{"exe", "bat"}}},
		"apis.extrahorizon":       {c.APIs.ExtraHorizon.Enabled, true},
		"auth.anonymous_uploads":  {c.Auth.AnonymousUploads, false},
		"auth.users":              {len(c.Auth.Users), 0},
		"downloads.inline_types":  {len(c.Downloads.InlineTypes), 5},
		"limits.idle_timeout":     {c.Limits.IdleTimeout, Duration(time.Minute)},
		"server.tls.cert and key": {c.Server.TLS.Cert + c.Server.TLS.Key, ""},
	} {
		if diff := cmp.Diff(pair[1], pair[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
}

func TestFileAndEnvironment(t *testing.T) {
	c := mustLoad(t, `
server:
  listen: 127.0.0.1:1
  prefixes:
  shutdown_grace: 5
store:
models.upload.ttl: 2h
auth:
  users:
    - {name: me@example.com, password: secret, admin: true, permissions: [VIEW_FILES, VIEW_FILE_SERVICE_SETTINGS]}
limits: {file_size: 1048576, user_quota: 2GiB}
apis: {tus: {enabled: false}}
`,
		"FILESHARE_SERVER_LISTEN=127.0.0.1:2", "FILESHARE_MODELS_UPLOAD_MAX_TTL=7d", "FILESHARE_SERVER_PREFIXES=/a, /b",
		`FILESHARE_SERVER_TRUSTED_PROXIES=["10.0.0.0/8","::1"]`, "FILESHARE_AUTH_OPEN_SESSIONS=true", "FILESHARE_TOKENS_MAX_DOWNLOADS=3",
		`FILESHARE_APIS_OPENTERA_DEVICES=[{"name":"d","token":"0123456789abcdef"}]`, "FILESHARE_DOWNLOADS_INLINE_TYPES=",
		"FILESHARE_URL=x", "FILESHARE_USER=x", "FILESHARE_PASSWORD=x", "PATH=/bin", "OTHERFILESHARE_X=1")
	want := mustLoad(t, "")
	want.Server.Listen = "127.0.0.1:2"
	want.Server.Prefixes = []string{"/a", "/b"}
	want.Server.TrustedProxies = []string{"10.0.0.0/8", "::1"}
	want.Server.ShutdownGrace = Duration(5 * time.Second)
	want.Models.Upload = ModelConfig{Duration(2 * time.Hour), Duration(7 * 24 * time.Hour)}
	want.Auth.Users = []UserConfig{{Name: "me@example.com", Password: "secret", Admin: true, Permissions: []string{"VIEW_FILES", "VIEW_FILE_SERVICE_SETTINGS"}}}
	want.Auth.OpenSessions = true
	want.Limits.FileSize, want.Limits.UserQuota = 1<<20, 2<<30
	want.Tokens.MaxDownloads = 3
	want.APIs.Tus.Enabled = false
	want.APIs.OpenTera.Devices = []OpenTeraDevice{{"d", "0123456789abcdef"}}
	want.Downloads.InlineTypes = []string{}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}

	users := mustLoad(t, "", `FILESHARE_AUTH_USERS=[{"name":"a","password":"0123"}]`).Auth.Users
	if diff := cmp.Diff([]UserConfig{{Name: "a", Password: "0123"}}, users); diff != "" {
		t.Errorf("auth.users from the environment (-want +got):\n%s", diff)
	}
}

// Each of these is one problem, named by key and value and with what is expected.
func TestProblems(t *testing.T) {
	for _, test := range []struct{ yaml, env, want string }{
		{"server: {lisen: x}", "", "server.lisen: unknown key"},
		{"mail: {server: 'mail.example.com:587', from: a@example.com}", "", "server.public_url: "},
		{"server: {public_url: 'https://a'}\nmail: {server: mail.example.com, from: a@example.com}", "", "mail.server: host:port is expected"},
		{"server: {public_url: 'https://a'}\nmail: {server: 'mail.example.com:587', from: nobody}", "", "mail.from: an address is expected"},
		{"server: {public_url: 'https://a'}\nmail: {server: 'mail.example.com:587', from: a@example.com, tls: ssl}", "", "mail.tls: starttls, tls or none is expected"},
		{"server: {public_url: 'https://a'}\nmail: {server: 'mail.example.com:587', from: a@example.com, tls: none, user: u, password: p}", "", "mail.tls: none would send the password"},
		{"server: {public_url: 'https://a'}\nmail: {server: 'mail.example.com:587', from: a@example.com, user: u}", "", "mail.user and password belong together"},
		{"server: {public_url: 'https://a'}\nmail: {server: 'mail.example.com:587', from: a@example.com, user: u, password_file: /nowhere}", "", "mail.password_file: "},
		{"server: {public_url: 'https://a'}\nmail: {server: 'mail.example.com:587', from: a@example.com, templates: /nowhere}", "", "mail.templates: "},
		{"mail: {timeout: 0}", "", "mail.timeout: 0s: at least 1s"},
		{"servr: {listen: x}", "", "servr.listen: unknown key"},
		{"'': 1", "", `"": unknown key`},
		{"':0': 1", "", `":0": unknown key`},
		{"server: 5", "", "server: a section"},
		{"server: {listen: {a: 1}}", "", "server.listen.a: unknown key"},
		{"server: {listen: 8080}", "", "server.listen: 8080: text"},
		{"server: {listen: localhost}", "", `server.listen: "localhost": host:port`},
		{"server: {listen: 'unix:'}", "", "server.listen: "},
		{"server: {public_url: example.com}", "", `server.public_url: "example.com": an absolute URL`},
		{"server: {public_url: 'ftp://a/'}", "", "server.public_url: "},
		{"server: {prefixes: [a]}", "", `server.prefixes: "a": a path`},
		{"server: {prefixes: [/a/]}", "", `server.prefixes: "/a/": a path`},
		{"server: {prefixes: [/a, /a]}", "", `server.prefixes: "/a": every prefix once`},
		{"server: {prefixes: /a}", "", `server.prefixes: "/a": a list`},
		{"server: {trusted_proxies: [10.0.0.0/33]}", "", `server.trusted_proxies: "10.0.0.0/33": an address`},
		{"server: {tls: {cert: a}}", "", `server.tls.key: "": a file`},
		{"server: {tls: {key: a}}", "", `server.tls.cert: "": a file`},
		{"server: {shutdown_grace: soon}", "", `server.shutdown_grace: "soon": whole seconds`},
		{"server: {shutdown_grace: -1}", "", "server.shutdown_grace: -1s: at least 0s"},
		{"server: {idle_timeout: 0}", "", "server.idle_timeout: 0s: at least 1s"},
		{"store: {dir: ''}", "", "store.dir: "},
		{"store: {records: 'mysql://u:TOPSECRET@h/d'}", "", "store.records: bolt or a URL like postgres://"},
		{"store: {records: 'postgres://u:TOPSECRET@h/d?sslmode=perhaps'}", "", "store.records: a URL like postgres://"},
		{"store: {postgres: {connections: 4}}", "", "store.postgres.connections: 4: 5 to 1000"},
		{"store: {postgres: {timeout: 0}}", "", "store.postgres.timeout: 0s: at least 1s"},
		{"store: {blobs: 'gs://b/p'}", "", "store.blobs: dir or a URL like s3://"},
		{"store: {blobs: 's3://u:TOPSECRET@b/p'}", "", "store.blobs: dir or a URL like s3://bucket/prefix?endpoint=https://host is expected: credentials do not belong there"},
		{"store: {blobs: 's3://bucket/p?endpoint=ftp://h'}", "", "store.blobs: dir or a URL like s3://bucket/prefix?endpoint=https://host is expected: endpoint must be http://"},
		{"store: {blobs: 's3://bucket?style=odd'}", "", "store.blobs: dir or a URL like s3://bucket/prefix?endpoint=https://host is expected: style must be path or virtual"},
		{"store: {s3: {segment: 1KiB}}", "", "store.s3.segment: 1024: 256KiB to 1GiB"},
		{"store: {s3: {memory: 8MiB}}", "", "store.s3.memory: 8388608: at least twice"},
		{"store: {s3: {encryption: 'aws:kms'}}", "", `store.s3.encryption: "aws:kms": AES256, or aws:kms with kms_key`},
		{"store: {s3: {redirect: -1}}", "", "store.s3.redirect: -1: "},
		{"store: {s3: {timeout: 0}}", "", "store.s3.timeout: 0s: at least 1s"},
		{"store: {inline_size: 2MiB}", "", "store.inline_size: 2097152: 0 to 1MiB"},
		{"store: {digest: md5}", "", `store.digest: "md5": sha256 or none`},
		{"models: {upload: {ttl: 31d}}", "", "models.upload.ttl: 744h0m0s: at most models.upload.max_ttl (720h0m0s)"},
		{"models: {session: {ttl: 0}}", "", "models.session.ttl: 0s: at least 1s"},
		{"models: {session: {max_ttl: 1h}}", "", "models.session.ttl: 168h0m0s: at most"},
		{"models: {session: {max_ttl: x}}", "", `models.session.max_ttl: "x": whole seconds`},
		{"auth: {users: [{name: a, pasword: TOPSECRET, password: b}]}", "", "auth.users[0]: "},
		{"auth: {users: [{name: a, password: 12345}]}", "", "auth.users[0].password: text"},
		{"auth: {users: [{name: a}]}", "", "auth.users[0].password: a hash"},
		{"auth: {users: [{name: a, password: '{SHA}TOPSECRET'}]}", "", "auth.users[0].password: this kind"},
		{"auth: {users: [{name: 'a:b', password: x}]}", "", `auth.users[0].name: "a:b": 1 to 256`},
		{"auth: {users: [{name: a, password: x}, {name: a, password: x}]}", "", `auth.users[1].name: "a": every name once`},
		{"apis: {filesender: {ttl: 21d}}", "", "apis.filesender.ttl: 504h0m0s: at most apis.filesender.max_ttl (480h0m0s)"},
		{"apis: {filesender: {max_ttl: x}}", "", `apis.filesender.max_ttl: "x": whole seconds`},
		{"apis: {filesender: {unfinished: 0}}", "", "apis.filesender.unfinished: 0s: at least 1s"},
		{"apis: {filesender: {extensions: -1}}", "", "apis.filesender.extensions: -1: 0 (none) to 1000"},
		{"apis: {filesender: {chunk_size: 1KiB}}", "", "apis.filesender.chunk_size: 1024: 64KiB to 64MiB"},
		{"apis: {filesender: {files: 0}}", "", "apis.filesender.files: 0: 1 to 1000"},
		{"apis: {filesender: {recipients: 1001}}", "", "apis.filesender.recipients: 1001: 1 to 1000"},
		{"apis: {filesender: {banned: [.exe]}}", "", `apis.filesender.banned: ".exe": an ending of file names`},
		{"apis: {opentera: {participants: [{name: 'a:b', password: x}]}}", "", `apis.opentera.participants[0].name: "a:b": 1 to 200`},
		{"apis: {opentera: {participants: [{name: a}]}}", "", `apis.opentera.participants[0]: "a": a password or a token`},
		{"apis: {opentera: {participants: [{name: a, password: '{SHA}TOPSECRET'}]}}", "", "apis.opentera.participants[0].password: this kind"},
		{"apis: {opentera: {devices: [{name: a}]}}", "", `apis.opentera.devices[0]: "a": a token`},
		{"apis: {opentera: {devices: [{name: a, token: TOPSECRET}]}}", "", "apis.opentera.devices[0].token: at least 16 characters are expected"},
		{"apis: {opentera: {participants: [{name: a, token: TOPSECRETTOPSECRET}], devices: [{name: b, token: TOPSECRETTOPSECRET}]}}", "", "apis.opentera.devices[0].token: every token once"},
		{"auth: {users: [{name: a, password: x, permissions: [VIEW]}]}", "", `auth.users[0]: unknown permission "VIEW"; there are VIEW_FILES`},
		{"auth: {users: [{name: a, password: x, api_key: TOPSECRET}]}", "", "auth.users[0]: api_key must have at least 16 characters"},
		{"auth: {users: [{name: a, password: x, api_key: TOPSECRETTOPSECRET}, {name: b, password: x, api_key: TOPSECRETTOPSECRET}]}", "", "auth.users[1].api_key: \"(not shown)\": every key once"},
		{"auth: {users: x}", "", "auth.users: a list"},
		{"auth: {users: [x]}", "", "auth.users[0]: an object"},
		{"auth: {forward: {url: 'http://u:TOPSECRET@host/'}}", "", "auth.forward.url: an absolute URL"},
		{"auth: {forward: {url: /TOPSECRET}}", "", "auth.forward.url: an absolute URL"},
		{"auth: {forward: {timeout: 1ms}}", "", "auth.forward.timeout: 1ms: at least 100ms"},
		{"auth: {forward: {cache: -1s}}", "", "auth.forward.cache: "},
		{"auth: {open_sessions: maybe}", "", `auth.open_sessions: "maybe": true or false`},
		{"limits: {file_size: 1XB}", "", `limits.file_size: "1XB": bytes or a size`},
		{"limits: {user_quota: -1}", "", "limits.user_quota: -1: 0"},
		{"limits: {auth_failures: 1.5}", "", "limits.auth_failures: 1.5: a whole number"},
		{"tokens: {max_downloads: 0}", "", "tokens.max_downloads: 0: 1 or more"},
		{"tokens: {burn: never}", "", `tokens.burn: "never": complete or start`},
		{"reaper: {schedule: TZ=0}", "", `reaper.schedule: "TZ=0": `},
		{"reaper: {sweep: '@every 10ms'}", "", `reaper.sweep: "@every 10ms": `},
		{"downloads: {inline_types: [image]}", "", `downloads.inline_types: "image": a media type`},
		{"log: {level: loud}", "", `log.level: "loud": debug or info`},
		{"log: {format: xml}", "", `log.format: "xml": text or json`},
		{"", "FILESHARE_SERVER_LISEN=x", "FILESHARE_SERVER_LISEN: unknown environment variable"},
		{"", "FILESHARE_TOKENS_LEASE=x", `tokens.lease: "x": whole seconds`},
		{"", `FILESHARE_AUTH_USERS=[{"name":"TOPSECRET`, "auth.users (FILESHARE_AUTH_USERS): a JSON array"},
		{"a: [", "", "test.yaml: "},
		{"- a", "", "test.yaml: "},
	} {
		var env []string
		if test.env != "" {
			env = []string{test.env}
		}
		c, err := load(t, test.yaml, env...)
		if err == nil {
			t.Errorf("%s%s: accepted: %+v", test.yaml, test.env, c)
			continue
		}
		if !isConfigError(err) || !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "TOPSECRET") {
			t.Errorf("%s%s:\n got %v\nwant %s…", test.yaml, test.env, err, test.want)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := load(t, "server: {listen: x, lisen: y}\nlog: {level: 1}\nmodels: {upload: {ttl: 60d}}", "FILESHARE_X=1")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"server.listen:", "server.lisen:", "log.level:", "models.upload.ttl:", "FILESHARE_X:", "5 problems"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
}

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for in, want := range map[any]time.Duration{
		3600: time.Hour, "3600": time.Hour, "1h": time.Hour, "7d": 7 * day, "1d12h": 36 * time.Hour, "90s": 90 * time.Second,
		0: 0, "500ms": 500 * time.Millisecond, float64(60): time.Minute, "65535d": 65535 * day,
	} {
		if got, err := ParseDuration(in); time.Duration(got) != want || err != nil {
			t.Errorf("ParseDuration(%v) = %v, %v; want %v", in, time.Duration(got), err, want)
		}
	}
	for _, bad := range []any{"", "d", "1d-1h", "-7d", "1dd", "99999999999d", "1w", "9999999999999999999", 1 << 62, 1.5, true, nil, "7 d", "65535d2400000h"} {
		if got, err := ParseDuration(bad); err == nil {
			t.Errorf("ParseDuration(%v) = %v; want an error", bad, time.Duration(got))
		}
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[any]Size{
		0: 0, 512: 512, "512": 512, "64KiB": 64 << 10, "2GiB": 2 << 30, "500MB": 500e6, "1 TiB": 1 << 40, "7B": 7, float64(1024): 1024,
	} {
		if got, err := ParseSize(in); got != want || err != nil {
			t.Errorf("ParseSize(%v) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, bad := range []any{"", "KiB", "1K", "1kB", "1.5GiB", "9223372036854775807KiB", "1KBi", "B1", true, 1.5, "iB", "1iB"} {
		if got, err := ParseSize(bad); err == nil {
			t.Errorf("ParseSize(%v) = %d; want an error", bad, got)
		}
	}
}

// What config prints can be read again and is the same but for the secrets (and
// keys that are too short then).
func TestWrite(t *testing.T) {
	c := mustLoad(t, `
auth: {users: [{name: a, password: TOPSECRET, api_key: TOPSECRETTOPSECRET}]}
apis:
  extrahorizon: {clients: [{id: i, secret: TOPSECRET, consumer_key: k, consumer_secret: TOPSECRET}]}
  opentera: {participants: [{name: p, password: TOPSECRET, token: TOPSECRETTOPSECRET}], devices: [{name: d, token: OTHERTOPSECRETTOP}]}
tokens: {lease: 90s}
`)
	var out bytes.Buffer
	if err := c.Write(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "TOPSECRET") {
		t.Errorf("secrets are shown:\n%s", out.String())
	}
	again := mustLoad(t, strings.ReplaceAll(out.String(), "api_key: (not shown)", "api_key: TOPSECRETTOPSECRET"))
	again.Auth.Users[0].Password = "TOPSECRET"
	again.APIs.ExtraHorizon.Clients = c.APIs.ExtraHorizon.Clients
	again.APIs.OpenTera = c.APIs.OpenTera
	again.Auth.Users[0].Permissions = nil
	if diff := cmp.Diff(c, again); diff != "" {
		t.Errorf("read again (-written +read):\n%s", diff)
	}
	out.Reset()
	forward := mustLoad(t, `auth: {users: [{name: a}], forward: {url: "http://h/?k=TOPSECRET"}}`) // a needs no password here
	if err := forward.Write(&out); err != nil || strings.Contains(out.String(), "TOPSECRET") {
		t.Errorf("%v, or a secret is shown:\n%s", err, out.String())
	}
	postgres := "postgres://u:TOPSECRET@host/db"
	if got := masked(reflect.ValueOf(postgres), `secret:"url"`); strings.Contains(got.(string), "TOPSECRET") {
		t.Errorf("a URL with a password is shown: %v", got)
	}
}

func TestLoadConfigFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if _, err := LoadConfig(path, nil); !isConfigError(err) {
		t.Errorf("a file that is not there: %v, want a configuration error", err)
	}
	if err := os.WriteFile(path, []byte("log: {level: debug}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := LoadConfig(path, nil); err != nil || c.Log.Level != "debug" {
		t.Errorf("LoadConfig: %v, %v", c, err)
	}
	t.Chdir(filepath.Dir(path))
	if err := os.Rename(path, "config.yaml"); err != nil {
		t.Fatal(err)
	}
	if found, err := findConfig(); found != "config.yaml" || err != nil {
		t.Errorf("findConfig = %q, %v", found, err)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(defaultConfig, "FILESHARE_TOKENS_LEASE=1h")
	for _, s := range []string{"", "a: [", "server: 5", "server: {listen: {a: 1}}", "1: 2", "? [a]\n: b", "auth: {users: [{name: a, password: b}, 3]}",
		"server: &a {tls: *a}", "server.listen: x", "store:\n  dir: !!binary aGk=", "limits: {file_size: .inf}", "models: {upload: {ttl: 2026-01-01}}"} {
		f.Add([]byte(s), "FILESHARE_AUTH_USERS=[{}]")
	}
	f.Fuzz(func(t *testing.T, yaml []byte, env string) {
		_, err := parseConfig("test.yaml", yaml, []string{env})
		if err == nil {
			return
		}
		if !isConfigError(err) {
			t.Fatalf("not a configuration error: %v", err)
		}
		for _, p := range err.(*configError).problems {
			if name, _, ok := strings.Cut(p.Error(), ":"); !ok || name == "" {
				t.Errorf("the problem names no key: %v", p)
			}
		}
	})
}
