package main

import (
	"errors"
	"fmt"
	"mime"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"fileshare/reaper"
	"fileshare/server"
	"fileshare/store/postgres"
	"fileshare/store/s3"
)

// configCheck collects problems; keys that could not even be read are left out.
type configCheck struct {
	failed   map[string]bool
	problems []error
}

// want reports a problem unless ok.
func (k *configCheck) want(ok bool, key string, value any, expected string) {
	if !ok && !k.failed[key] {
		k.problems = append(k.problems, fmt.Errorf("%s: %s: %s is expected", key, show(value), expected))
	}
}

func (k *configCheck) oneOf(key, value string, allowed ...string) {
	k.want(slices.Contains(allowed, value), key, value, strings.Join(allowed, " or "))
}

func (k *configCheck) duration(key string, d Duration, least time.Duration) {
	k.want(time.Duration(d) >= least, key, time.Duration(d), "at least "+least.String())
}

// check finds values that cannot be, and contradictions.
func (c *Config) check(failed map[string]bool) []error {
	k := &configCheck{failed: failed}
	c.checkServer(k)
	c.checkStore(k)
	c.checkAuth(k)
	c.checkClients(k)
	c.checkOpenTera(k)
	c.checkWebhooks(k)
	c.checkMail(k)
	c.checkFileSender(k)

	k.duration("server.shutdown_grace", c.Server.ShutdownGrace, 0)
	k.duration("server.read_header_timeout", c.Server.ReadHeaderTimeout, time.Second)
	k.duration("server.idle_timeout", c.Server.IdleTimeout, time.Second)
	k.duration("limits.idle_timeout", c.Limits.IdleTimeout, time.Second)
	k.duration("tokens.lease", c.Tokens.Lease, time.Second)
	k.duration("reaper.tombstones", c.Reaper.Tombstones, time.Second)
	k.duration("reaper.audit", c.Reaper.Audit, 0)
	for name, m := range map[string]ModelConfig{"models.upload": c.Models.Upload, "models.session": c.Models.Session} {
		k.duration(name+".ttl", m.TTL, time.Second)
		k.duration(name+".max_ttl", m.MaxTTL, time.Second)
		k.want(failed[name+".max_ttl"] || m.TTL <= m.MaxTTL, name+".ttl", time.Duration(m.TTL), "at most "+name+".max_ttl ("+time.Duration(m.MaxTTL).String()+")")
	}
	k.duration("models.unfinished.ttl", c.Models.Unfinished.TTL, time.Second)
	k.want(c.Limits.FileSize >= 0, "limits.file_size", c.Limits.FileSize, "0 (no limit) or more")
	k.want(c.Limits.UserQuota >= 0, "limits.user_quota", c.Limits.UserQuota, "0 (no limit) or more")
	k.want(c.Limits.FreeSpace >= 0, "limits.free_space", c.Limits.FreeSpace, "0 or more")
	k.want(c.Limits.AuthFailures >= 1 && c.Limits.AuthFailures <= 1_000_000, "limits.auth_failures", c.Limits.AuthFailures, "1 to 1000000")
	k.want(c.Tokens.MaxDownloads >= 1, "tokens.max_downloads", c.Tokens.MaxDownloads, "1 or more")
	k.oneOf("tokens.burn", c.Tokens.Burn, "complete", "start")
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", c.Log.Format, "text", "json")
	for key, schedule := range map[string]string{"reaper.schedule": c.Reaper.Schedule, "reaper.sweep": c.Reaper.Sweep} {
		if err := reaper.Check(schedule); err != nil {
			k.want(false, key, schedule, fmt.Sprintf("(%v) a cron expression like */5 * * * *, or @every 10s", err))
		}
	}
	for _, t := range c.Downloads.InlineTypes {
		parsed, parameters, err := mime.ParseMediaType(t)
		kind, sub, _ := strings.Cut(parsed, "/")
		k.want(err == nil && kind != "" && kind != "*" && sub != "" && len(parameters) == 0, "downloads.inline_types", t, "a media type like text/plain or image/*")
	}
	slices.SortFunc(k.problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return k.problems
}

func (c *Config) checkServer(k *configCheck) {
	s := &c.Server
	if socket, ok := strings.CutPrefix(s.Listen, "unix:"); ok {
		k.want(socket != "" && len(socket) <= 107, "server.listen", s.Listen, "unix: and a path of at most 107 bytes")
	} else {
		_, port, err := net.SplitHostPort(s.Listen)
		_, err2 := strconv.ParseUint(port, 10, 16)
		k.want(err == nil && err2 == nil, "server.listen", s.Listen, "host:port or unix:PATH")
	}
	if s.PublicURL != "" {
		u, err := url.Parse(s.PublicURL)
		k.want(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.RawQuery == "" && u.Fragment == "" && u.User == nil,
			"server.public_url", s.PublicURL, "an absolute URL (http or https) without user, query and fragment")
	}
	for i, p := range s.Prefixes {
		k.want(len(p) > 1 && p[0] == '/' && path.Clean(p) == p && !strings.ContainsAny(p, "?#%{}\\ ") && !hasControl(p),
			"server.prefixes", p, "a path that begins with / and does not end with it, without ? # % { } \\ and blanks")
		k.want(!slices.Contains(s.Prefixes[:i], p), "server.prefixes", p, "every prefix once")
	}
	for _, p := range s.TrustedProxies {
		_, err := parseNetwork(p)
		k.want(err == nil, "server.trusted_proxies", p, "an address or a network like 10.0.0.0/8")
	}
	k.want(s.TLS.Cert == "" || s.TLS.Key != "" || k.failed["server.tls.key"], "server.tls.key", s.TLS.Key, "a file (server.tls.cert is set)")
	k.want(s.TLS.Key == "" || s.TLS.Cert != "" || k.failed["server.tls.cert"], "server.tls.cert", s.TLS.Cert, "a file (server.tls.key is set)")
}

func (c *Config) checkStore(k *configCheck) {
	s := &c.Store
	k.want(s.Dir != "", "store.dir", s.Dir, "a directory")
	// The values may be URLs with passwords, so they are not repeated.
	if s.Records != "bolt" && !k.failed["store.records"] {
		if err := checkRecords(s.Records); err != nil {
			k.problems = append(k.problems, fmt.Errorf("store.records: %w", err))
		}
	}
	if c.remoteBlobs() && !k.failed["store.blobs"] {
		if _, err := s3.ParseURL(s.Blobs); err != nil {
			k.problems = append(k.problems, fmt.Errorf("store.blobs: dir or a URL like s3://bucket/prefix?endpoint=https://host is expected: %w", err))
		}
	}
	k.want(s.S3.Encryption == "" && s.S3.KMSKey == "" || s.S3.Encryption == "AES256" && s.S3.KMSKey == "" || s.S3.Encryption == "aws:kms" && s.S3.KMSKey != "",
		"store.s3.encryption", s.S3.Encryption, "AES256, or aws:kms with kms_key, or nothing")
	k.want(s.S3.Segment >= s3.MinSegment && s.S3.Segment <= s3.MaxSegment, "store.s3.segment", s.S3.Segment, "256KiB to 1GiB")
	k.want(s.S3.Memory >= 2*s.S3.Segment || k.failed["store.s3.segment"], "store.s3.memory", s.S3.Memory, "at least twice store.s3.segment")
	k.want(s.S3.Redirect >= 0, "store.s3.redirect", s.S3.Redirect, "0 (none) or more")
	k.duration("store.s3.timeout", s.S3.Timeout, time.Second)
	k.want(s.Postgres.Connections >= 5 && s.Postgres.Connections <= 1000, "store.postgres.connections", s.Postgres.Connections, "5 to 1000")
	k.duration("store.postgres.timeout", s.Postgres.Timeout, time.Second)
	k.want(s.InlineSize >= 0 && s.InlineSize <= 1<<20, "store.inline_size", s.InlineSize, "0 to 1MiB")
	k.oneOf("store.digest", s.Digest, "sha256", "none")
}

// checkRecords checks a store.records that is not bolt.
func checkRecords(text string) error {
	if !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") {
		return errors.New("bolt or a URL like postgres://user:password@host/database?sslmode=verify-full is expected")
	}
	return postgres.Check(text)
}

func (c *Config) checkAuth(k *configCheck) {
	k.duration("auth.forward.timeout", c.Auth.Forward.Timeout, 100*time.Millisecond)
	k.duration("auth.forward.cache", c.Auth.Forward.Cache, 0)
	if f := c.forward(); f.URL != "" {
		if err := f.Check(); err != nil { // the value is not repeated
			k.problems = append(k.problems, fmt.Errorf("auth.forward.url: %w", err))
		}
	}
	if k.failed["auth.users"] {
		return
	}
	seen, keys := make(map[string]bool), make(map[string]bool)
	for i, u := range c.Auth.Users {
		key := fmt.Sprintf("auth.users[%d]", i)
		k.want(u.Name != "" && len(u.Name) <= 256 && !strings.Contains(u.Name, ":") && !hasControl(u.Name),
			key+".name", u.Name, "1 to 256 bytes without colon and control characters")
		k.want(!seen[u.Name], key+".name", u.Name, "every name once")
		seen[u.Name] = true
		var err error
		if u.Password != "" {
			_, err = server.CheckPassword(u.Password)
		} else if c.Auth.Htpasswd == "" && c.Auth.Forward.URL == "" {
			err = errors.New("a hash or a password is expected")
		}
		if err != nil {
			k.problems = append(k.problems, fmt.Errorf("%s.password: %w", key, err))
		}
		if err := server.User(u).Check(); err != nil {
			k.problems = append(k.problems, fmt.Errorf("%s: %w", key, err))
		}
		k.want(u.APIKey == "" || !keys[u.APIKey], key+".api_key", "(not shown)", "every key once")
		keys[u.APIKey] = true
	}
}

func (c *Config) checkClients(k *configCheck) {
	if k.failed["apis.extrahorizon.clients"] {
		return
	}
	seen := make(map[string]bool)
	for i, client := range c.APIs.ExtraHorizon.Clients {
		key := fmt.Sprintf("apis.extrahorizon.clients[%d]", i)
		k.want(client.ID != "" || client.ConsumerKey != "", key, "", "an id or a consumer_key")
		k.want((client.ConsumerKey == "") == (client.ConsumerSecret == ""), key, client.ConsumerKey, "consumer_key and consumer_secret together")
		for name, id := range map[string]string{"id": client.ID, "consumer_key": client.ConsumerKey} {
			k.want(id == "" || !seen[name+id], key+"."+name, id, "every one once")
			seen[name+id] = true
		}
	}
}

func (c *Config) checkWebhooks(k *configCheck) {
	k.duration("events.keep", c.Events.Keep, 0)
	k.duration("webhooks.timeout", c.Webhooks.Timeout, time.Second)
	k.duration("webhooks.give_up", c.Webhooks.GiveUp, time.Second)
	if k.failed["webhooks.endpoints"] {
		return
	}
	seen := make(map[string]bool)
	for i, h := range c.hooks() {
		key := fmt.Sprintf("webhooks.endpoints[%d]", i)
		if err := h.Check(); err != nil { // the values are secrets and not repeated
			k.problems = append(k.problems, fmt.Errorf("%s: %w", key, err))
		}
		k.want(!seen[h.Name], key+".name", h.Name, "every name once")
		seen[h.Name] = true
	}
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}

// parseNetwork reads a network in CIDR notation, or one address.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Prefix(a.BitLen())
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// trustedProxies is server.trusted_proxies, checked before.
func (c *Config) trustedProxies() []netip.Prefix {
	var all []netip.Prefix
	for _, s := range c.Server.TrustedProxies {
		if p, err := parseNetwork(s); err == nil {
			all = append(all, p)
		}
	}
	return all
}
