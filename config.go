package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"

	"fileshare/server"
)

// defaultConfig is config.yaml: every key, its default and a sentence about it.
//
//go:embed config.yaml
var defaultConfig []byte

// Config is the configuration; config.yaml says what its keys mean. Fields
// with the tag secret are never shown.
type Config struct {
	Server struct {
		Listen         string   `mapstructure:"listen"`
		PublicURL      string   `mapstructure:"public_url"`
		Prefixes       []string `mapstructure:"prefixes"`
		TrustedProxies []string `mapstructure:"trusted_proxies"`
		TLS            struct {
			Cert string `mapstructure:"cert"`
			Key  string `mapstructure:"key"`
		} `mapstructure:"tls"`
		ShutdownGrace     Duration `mapstructure:"shutdown_grace"`
		ReadHeaderTimeout Duration `mapstructure:"read_header_timeout"`
		IdleTimeout       Duration `mapstructure:"idle_timeout"`
	} `mapstructure:"server"`
	Store struct {
		Dir        string `mapstructure:"dir"`
		Records    string `mapstructure:"records" secret:"url"`
		Blobs      string `mapstructure:"blobs" secret:"url"`
		InlineSize Size   `mapstructure:"inline_size"`
		Digest     string `mapstructure:"digest"`
		Postgres   struct {
			Connections int64    `mapstructure:"connections"`
			Timeout     Duration `mapstructure:"timeout"`
		} `mapstructure:"postgres"`
		S3 struct {
			Credentials string   `mapstructure:"credentials"`
			Encryption  string   `mapstructure:"encryption"`
			KMSKey      string   `mapstructure:"kms_key"`
			Segment     Size     `mapstructure:"segment"`
			Memory      Size     `mapstructure:"memory"`
			Timeout     Duration `mapstructure:"timeout"`
			Conditional bool     `mapstructure:"conditional"`
			Redirect    Size     `mapstructure:"redirect"`
		} `mapstructure:"s3"`
	} `mapstructure:"store"`
	Models struct {
		Upload     ModelConfig `mapstructure:"upload"`
		Session    ModelConfig `mapstructure:"session"`
		Unfinished struct {
			TTL Duration `mapstructure:"ttl"`
		} `mapstructure:"unfinished"`
	} `mapstructure:"models"`
	Auth struct {
		Users            []UserConfig `mapstructure:"users"`
		Htpasswd         string       `mapstructure:"htpasswd"`
		AnonymousUploads bool         `mapstructure:"anonymous_uploads"`
		PrivateDownloads bool         `mapstructure:"private_downloads"`
		OpenSessions     bool         `mapstructure:"open_sessions"`
		Forward          struct {
			URL     string   `mapstructure:"url" secret:"url"`
			Timeout Duration `mapstructure:"timeout"`
			Cache   Duration `mapstructure:"cache"`
		} `mapstructure:"forward"`
	} `mapstructure:"auth"`
	Limits struct {
		FileSize     Size     `mapstructure:"file_size"`
		UserQuota    Size     `mapstructure:"user_quota"`
		FreeSpace    Size     `mapstructure:"free_space"`
		IdleTimeout  Duration `mapstructure:"idle_timeout"`
		AuthFailures int64    `mapstructure:"auth_failures"`
	} `mapstructure:"limits"`
	Tokens struct {
		MaxDownloads int64    `mapstructure:"max_downloads"`
		Burn         string   `mapstructure:"burn"`
		Lease        Duration `mapstructure:"lease"`
	} `mapstructure:"tokens"`
	Reaper struct {
		Schedule   string   `mapstructure:"schedule"`
		Sweep      string   `mapstructure:"sweep"`
		Tombstones Duration `mapstructure:"tombstones"`
		Audit      Duration `mapstructure:"audit"`
	} `mapstructure:"reaper"`
	Downloads struct {
		InlineTypes []string `mapstructure:"inline_types"`
	} `mapstructure:"downloads"`
	Events struct {
		Keep      Duration `mapstructure:"keep"`
		Addresses bool     `mapstructure:"addresses"`
	} `mapstructure:"events"`
	Webhooks struct {
		Endpoints    []WebhookConfig `mapstructure:"endpoints"`
		AllowPrivate bool            `mapstructure:"allow_private"`
		Timeout      Duration        `mapstructure:"timeout"`
		GiveUp       Duration        `mapstructure:"give_up"`
	} `mapstructure:"webhooks"`
	Mail MailConfig `mapstructure:"mail"`
	APIs struct {
		FileSender   FileSenderConfig `mapstructure:"filesender"`
		ExtraHorizon struct {
			Enabled bool                 `mapstructure:"enabled"`
			Clients []ExtraHorizonClient `mapstructure:"clients"`
		} `mapstructure:"extrahorizon"`
		OpenTera struct {
			Enabled      bool                  `mapstructure:"enabled"`
			Participants []OpenTeraParticipant `mapstructure:"participants"`
			Devices      []OpenTeraDevice      `mapstructure:"devices"`
		} `mapstructure:"opentera"`
		Molgenis APIConfig `mapstructure:"molgenis"`
		Tus      APIConfig `mapstructure:"tus"`
	} `mapstructure:"apis"`
	Log struct {
		Level  string `mapstructure:"level"`
		Format string `mapstructure:"format"`
	} `mapstructure:"log"`
}

// ModelConfig is models.upload and models.session.
type ModelConfig struct {
	TTL    Duration `mapstructure:"ttl"`
	MaxTTL Duration `mapstructure:"max_ttl"`
}

// APIConfig is what every apis.<name> has.
type APIConfig struct {
	Enabled bool `mapstructure:"enabled"`
}

// UserConfig is an entry of auth.users.
type UserConfig struct {
	Name        string   `mapstructure:"name"`
	Password    string   `mapstructure:"password" secret:"all"`
	Admin       bool     `mapstructure:"admin"`
	APIKey      string   `mapstructure:"api_key" secret:"all"`
	Email       string   `mapstructure:"email"`
	Permissions []string `mapstructure:"permissions"`
}

// WebhookConfig is an entry of webhooks.endpoints.
type WebhookConfig struct {
	Name   string   `mapstructure:"name"`
	URL    string   `mapstructure:"url" secret:"url"`
	Secret string   `mapstructure:"secret" secret:"all"`
	Events []string `mapstructure:"events"`
	Owner  string   `mapstructure:"owner"`
}

// ExtraHorizonClient is an entry of apis.extrahorizon.clients.
type ExtraHorizonClient struct {
	ID             string `mapstructure:"id"`
	Secret         string `mapstructure:"secret" secret:"all"`
	ConsumerKey    string `mapstructure:"consumer_key"`
	ConsumerSecret string `mapstructure:"consumer_secret" secret:"all"`
}

// OpenTeraParticipant is an entry of apis.opentera.participants.
type OpenTeraParticipant struct {
	Name     string `mapstructure:"name"`
	Password string `mapstructure:"password" secret:"all"`
	Token    string `mapstructure:"token" secret:"all"`
}

// OpenTeraDevice is an entry of apis.opentera.devices.
type OpenTeraDevice struct {
	Name  string `mapstructure:"name"`
	Token string `mapstructure:"token" secret:"all"`
}

// configError is a wrong configuration: exit code 2.
type configError struct{ problems []error }

func (e *configError) Error() string {
	if len(e.problems) == 1 {
		return e.problems[0].Error()
	}
	return fmt.Sprintf("%d problems:\n%v", len(e.problems), errors.Join(e.problems...))
}

func (e *configError) Unwrap() []error { return e.problems }

// findConfig is the file that is used when none is named: ./config.yaml, else
// /etc/fileshare/config.yaml, else none ("").
func findConfig() (string, error) {
	for _, path := range []string{"config.yaml", "/etc/fileshare/config.yaml"} {
		switch _, err := os.Stat(path); {
		case err == nil:
			return path, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", &configError{[]error{fmt.Errorf("looking for a configuration file: %w", err)}}
		}
	}
	return "", nil
}

// LoadConfig reads the file (none if path is empty) and the environment (as
// os.Environ has it) over the defaults, and checks the result. Its errors are
// *configError and hold all problems.
func LoadConfig(path string, environ []string) (*Config, error) {
	var file []byte
	if path != "" {
		f, err := os.Open(path)
		if err != nil {
			return nil, &configError{[]error{fmt.Errorf("reading the configuration: %w", err)}}
		}
		defer f.Close()
		const most = 8 << 20
		if file, err = io.ReadAll(io.LimitReader(f, most+1)); err == nil && len(file) > most {
			err = errors.New("longer than 8 MiB")
		}
		if err != nil {
			return nil, &configError{[]error{fmt.Errorf("reading the configuration %s: %w", path, err)}}
		}
	}
	return parseConfig(path, file, environ)
}

func parseConfig(path string, file []byte, environ []string) (*Config, error) {
	c := new(Config)
	fields := configFields(c)
	all, err := readYAML(defaultConfig)
	if err != nil {
		return nil, fmt.Errorf("embedded configuration: %w", err)
	}
	given, err := readYAML(file)
	if err != nil {
		return nil, &configError{[]error{fmt.Errorf("%s: %w", path, err)}}
	}
	problems := overlay(all, given, fields)
	problems = append(problems, overlayEnvironment(all, environ, fields)...)

	// Key by key, and not all at once, so that every problem is found and
	// named by its key.
	failed := make(map[string]bool)
	for _, f := range fields {
		if err := all.UnmarshalKey(f.key, f.value.Addr().Interface(), strict); err != nil {
			failed[f.key] = true
			for _, e := range flatten(err) {
				problems = append(problems, problem(f, e, all.Get(f.key)))
			}
		}
	}
	problems = append(problems, c.check(failed)...)
	if len(problems) > 0 {
		return nil, &configError{problems}
	}
	return c, nil
}

func readYAML(b []byte) (*viper.Viper, error) {
	v := viper.New()
	v.SetConfigType("yaml")
	return v, v.ReadConfig(bytes.NewReader(b))
}

// overlay sets what a file says. viper's own merging would pass over a plain
// value where a section belongs, and take an empty value for a setting.
func overlay(all, given *viper.Viper, fields []configField) (problems []error) {
	keys := given.AllKeys()
	slices.Sort(keys)
	for _, key := range keys {
		value := given.Get(key)
		known := slices.ContainsFunc(fields, func(f configField) bool { return f.key == key })
		section := slices.ContainsFunc(fields, func(f configField) bool { return strings.HasPrefix(f.key, key+".") })
		switch {
		case known && value != nil:
			all.Set(key, value)
		case known, section && value == nil: // nothing behind the colon
		case section:
			problems = append(problems, fmt.Errorf("%s: a section with keys of its own is expected", key))
		default:
			problems = append(problems, fmt.Errorf("%s: unknown key", printable(key)))
		}
	}
	return problems
}

// printable quotes a key that is not just a word.
func printable(key string) string {
	if key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" {
		return strconv.Quote(key)
	}
	return key
}

// overlayEnvironment sets what FILESHARE_… variables say. Those of the client
// are not ours; others that name no key are typing errors.
func overlayEnvironment(all *viper.Viper, environ []string, fields []configField) (problems []error) {
	byName := make(map[string]configField)
	for _, f := range fields {
		byName["FILESHARE_"+strings.ToUpper(strings.ReplaceAll(f.key, ".", "_"))] = f
	}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, "FILESHARE_") || slices.Contains([]string{"FILESHARE_URL", "FILESHARE_USER", "FILESHARE_PASSWORD"}, name) {
			continue
		}
		f, ok := byName[name]
		if !ok {
			problems = append(problems, fmt.Errorf("%s: unknown environment variable; FILESHARE_ and a key with _ for the dots is expected", printable(name)))
			continue
		}
		parsed, err := fromEnvironment(f.value.Type(), value)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s (%s): %w", f.key, name, err))
			continue
		}
		all.Set(f.key, parsed)
	}
	return problems
}

// fromEnvironment makes of a variable what YAML would have made of the value.
// Errors do not repeat it: lists of objects hold secrets.
func fromEnvironment(t reflect.Type, s string) (any, error) {
	switch {
	case t.Kind() == reflect.Slice && (strings.HasPrefix(strings.TrimSpace(s), "[") || t.Elem().Kind() == reflect.Struct && s != ""):
		var list []any
		if json.Unmarshal([]byte(s), &list) != nil {
			return nil, errors.New("a JSON array is expected")
		}
		return list, nil
	case t.Kind() == reflect.Slice:
		list := []any{}
		for part := range strings.SplitSeq(s, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		return list, nil
	}
	return s, nil
}

// configField is a leaf of Config.
type configField struct {
	key   string
	value reflect.Value
	tag   reflect.StructTag
}

func configFields(c *Config) []configField {
	var fields []configField
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key := prefix + f.Tag.Get("mapstructure")
			if f.Type.Kind() == reflect.Struct {
				walk(key+".", v.Field(i))
				continue
			}
			fields = append(fields, configField{key, v.Field(i), f.Tag})
		}
	}
	walk("", reflect.ValueOf(c).Elem())
	return fields
}

// problem words an error of decoding: key, value, what is expected.
func problem(f configField, err error, value any) error {
	key := f.key
	if e, ok := errors.AsType[*mapstructure.DecodeError](err); ok {
		key += e.Name() // [1].name of a list
		err = e.Unwrap()
	}
	if f.secret() {
		return fmt.Errorf("%s: %w", key, err)
	}
	return fmt.Errorf("%s: %s: %w", key, show(value), err)
}

// secret tells whether the value holds something that must not be shown.
func (f configField) secret() bool {
	return f.tag.Get("secret") != "" || f.value.Kind() == reflect.Slice && f.value.Type().Elem().Kind() == reflect.Struct
}

func show(value any) string {
	text := fmt.Sprint(value)
	if s, ok := value.(string); ok {
		text = strconv.Quote(s)
	}
	if len(text) > 100 {
		text = strings.ToValidUTF8(text[:100], "") + "…"
	}
	return text
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		if inner := errors.Unwrap(err); inner != nil {
			if _, ok := inner.(interface{ Unwrap() []error }); ok {
				return flatten(inner)
			}
		}
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

// users is auth.users as the server takes it.
func (c *Config) users() []server.User {
	var users []server.User
	for _, u := range c.Auth.Users {
		users = append(users, server.User(u))
	}
	return users
}

// forward is auth.forward as the server takes it.
func (c *Config) forward() server.Forward {
	f := c.Auth.Forward
	return server.Forward{URL: f.URL, Timeout: time.Duration(f.Timeout), Cache: time.Duration(f.Cache)}
}

// extraHorizon is apis.extrahorizon as the server takes it; nil: switched off.
func (c *Config) extraHorizon() *server.ExtraHorizon {
	if !c.APIs.ExtraHorizon.Enabled {
		return nil
	}
	o := new(server.ExtraHorizon)
	for _, client := range c.APIs.ExtraHorizon.Clients {
		o.Clients = append(o.Clients, server.ExtraHorizonClient(client))
	}
	return o
}

// Write prints the configuration as YAML, secrets masked.
func (c *Config) Write(w io.Writer) error {
	v := viper.New()
	v.SetConfigType("yaml")
	for _, f := range configFields(c) {
		v.Set(f.key, masked(f.value, f.tag))
	}
	return v.WriteConfigTo(w)
}

// notShown stands in the place of a secret.
const notShown = "(not shown)"

func masked(v reflect.Value, tag reflect.StructTag) any {
	secret := tag.Get("secret")
	switch x := v.Interface().(type) {
	case Duration:
		return time.Duration(x).String()
	case string:
		if x != "" && (secret == "all" || secret == "url" && strings.Contains(x, "://")) {
			return notShown
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		m := make(map[string]any)
		for i := range v.NumField() {
			f := v.Type().Field(i)
			m[f.Tag.Get("mapstructure")] = masked(v.Field(i), f.Tag)
		}
		return m
	case reflect.Slice:
		list := []any{}
		for i := range v.Len() {
			list = append(list, masked(v.Index(i), tag))
		}
		return list
	}
	return v.Interface()
}
