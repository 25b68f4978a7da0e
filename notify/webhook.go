package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fileshare/store"
)

// Webhook is an address that is told of events.
type Webhook struct {
	Name string // for the log and the outbox; one each
	URL  string // http or https
	// Secret signs what is sent: "whsec_" and the base64 of 24 to 64 bytes.
	Secret string
	// Events are the types it wants ("file.uploaded", "file.*"); none = all.
	Events []string
	// Owner limits it to the events of one account; empty: of all.
	Owner string
}

const webhookChannel = "webhook"

// Recipients returns what store.Options.Recipients needs: which of the webhooks
// want an event. It is nil without webhooks.
func Recipients(hooks []Webhook) func(*store.Event) []store.Recipient {
	if len(hooks) == 0 {
		return nil
	}
	return func(e *store.Event) (out []store.Recipient) {
		for _, h := range hooks {
			if h.wants(e) {
				out = append(out, store.Recipient{Channel: webhookChannel, Name: h.Name})
			}
		}
		return out
	}
}

func (h *Webhook) wants(e *store.Event) bool {
	if h.Owner != "" && h.Owner != e.Owner {
		return false
	}
	for _, pattern := range h.Events {
		if ok, _ := path.Match(pattern, string(e.Type)); ok {
			return true
		}
	}
	return len(h.Events) == 0
}

// Check says what is wrong with a webhook.
func (h *Webhook) Check() error {
	if h.Name == "" {
		return errors.New("name is missing")
	}
	u, err := url.Parse(h.URL)
	switch {
	case err != nil:
		return errors.New("url is malformed")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return errors.New("url must begin with http:// or https:// and name a host")
	}
	if _, err := h.key(); err != nil {
		return err
	}
	for _, pattern := range h.Events {
		if !slices.ContainsFunc(store.EventTypes(), func(t store.EventType) bool { ok, _ := path.Match(pattern, string(t)); return ok }) {
			return fmt.Errorf("events: nothing that happens is called %q", pattern)
		}
	}
	return nil
}

// key decodes the secret.
func (h *Webhook) key() ([]byte, error) {
	s, ok := strings.CutPrefix(h.Secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(s)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New(`secret must be "whsec_" and the base64 of 24 to 64 bytes`)
	}
	return key, nil
}

// webhooks is the channel of webhooks, as Standard Webhooks 1.0.0 has them.
type webhooks struct {
	hooks   map[string]Webhook
	keys    map[string][]byte
	client  http.Client
	payload func(*store.Event) ([]byte, error)
	most    time.Duration // of one attempt
}

func (w *webhooks) place(to store.Recipient) store.Recipient { return to }

func newWebhooks(o Options) (*webhooks, error) {
	if len(o.Webhooks) > 0 && o.Payload == nil {
		return nil, errors.New("webhooks: no payload function")
	}
	w := &webhooks{hooks: map[string]Webhook{}, keys: map[string][]byte{}, payload: o.Payload, most: o.Timeout}
	for _, h := range o.Webhooks {
		key, err := h.key()
		if err == nil {
			err = h.Check()
		}
		if err != nil {
			return nil, fmt.Errorf("webhook %q: %w", h.Name, err)
		}
		if _, ok := w.hooks[h.Name]; ok {
			return nil, fmt.Errorf("webhook %q: the name is given twice", h.Name)
		}
		w.hooks[h.Name], w.keys[h.Name] = h, key
	}
	dialer := &net.Dialer{Timeout: o.Timeout}
	if !o.AllowPrivate {
		dialer.Control = refusePrivate
	}
	w.client = http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: perPlace, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: o.Timeout, ResponseHeaderTimeout: o.Timeout, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w, nil
}

// refusePrivate keeps webhooks away from private networks. It looks at the
// address that is about to be dialled, after the name was resolved.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !public(ap.Addr().Unmap()) {
		return fmt.Errorf("%w: %s is in a private range, see webhooks.allow_private", errGiveUp, ap.Addr())
	}
	return nil
}

// public tells whether an address is one of the Internet's.
func public(a netip.Addr) bool {
	// What of IPv6 lies outside of 2000::/3 is local, a translator's, or obsolete.
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() && !netip.MustParsePrefix("2000::/3").Contains(a) {
		return false
	}
	for _, p := range special() {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// special are ranges of the IANA special-purpose registries (RFC 6890) that
// netip does not know.
func special() [13]netip.Prefix {
	return [...]netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
		netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"),
	}
}

func (w *webhooks) deliver(ctx context.Context, m *store.Message) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, w.most)
	defer cancel()
	h, ok := w.hooks[m.To.Name]
	if !ok {
		return 0, fmt.Errorf("%w: it is not configured any more", errGiveUp)
	}
	e := m.Event
	body, err := w.payload(e)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errGiveUp, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errGiveUp, withoutURL(err))
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "fileshare")
	r.Header.Set("Webhook-Id", e.ID)
	r.Header.Set("Webhook-Timestamp", now)
	r.Header.Set("Webhook-Signature", "v1,"+sign(w.keys[h.Name], e.ID, now, body))
	res, err := w.client.Do(r)
	if err != nil {
		return 0, withoutURL(err)
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection serves again
	switch {
	case res.StatusCode/100 == 2:
		return 0, nil
	case res.StatusCode == http.StatusGone:
		return 0, fmt.Errorf("%w: the receiver answers %s", errGiveUp, res.Status)
	}
	return retryAfter(res.Header), errors.New("the receiver answers " + res.Status)
}

// retryAfter is how long the receiver wants to be left alone, an hour at most (RFC 9110
// §10.2.3: seconds, or a date).
func retryAfter(h http.Header) time.Duration {
	said := h.Get("Retry-After")
	if at, err := http.ParseTime(said); err == nil {
		return min(max(time.Until(at), 0), time.Hour)
	}
	seconds, _ := strconv.Atoi(said)
	return time.Duration(min(max(seconds, 0), 3600)) * time.Second
}

// withoutURL is an error without the address that was called, which may have a
// secret in it, and errors are logged.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// sign is the signature of Standard Webhooks 1.0.0, "Signature scheme":
// HMAC-SHA256 over id, time and body, joined by dots.
func sign(key []byte, id, at string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", id, at)
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
