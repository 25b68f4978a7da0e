package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fileshare/notify"
	"fileshare/server"
	"fileshare/store"
)

// hooks are webhooks.endpoints, checked before.
func (c *Config) hooks() []notify.Webhook {
	var all []notify.Webhook
	for _, h := range c.Webhooks.Endpoints {
		all = append(all, notify.Webhook(h))
	}
	return all
}

// newNotifier makes what delivers the messages of the outbox.
func newNotifier(c *Config, engine *store.Store, registry *prometheus.Registry, log *slog.Logger) (*notify.Notifier, error) {
	attempts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fileshare_notifications_total", Help: "Attempts to tell a recipient of an event, by channel and outcome.",
	}, []string{"channel", "outcome"})
	registry.MustRegister(attempts)
	mail, err := c.mail()
	if err != nil {
		return nil, &configError{[]error{fmt.Errorf("mail.%w", err)}}
	}
	return notify.New(engine, notify.Options{
		Mail: mail, Webhooks: c.hooks(), AllowPrivate: c.Webhooks.AllowPrivate,
		Timeout: time.Duration(c.Webhooks.Timeout), GiveUp: time.Duration(c.Webhooks.GiveUp),
		Payload: func(e *store.Event) ([]byte, error) { return json.Marshal(server.Event(e)) },
		Observe: func(channel, outcome string) { attempts.WithLabelValues(channel, outcome).Inc() },
		Log:     log,
	})
}

// notices is who is told what by mail; nil without a mail server.
func (c *Config) notices(accounts *server.Accounts) func(*store.About) ([]store.Notice, error) {
	if c.Mail.Server == "" {
		return nil
	}
	return server.Notices(server.NoticesOptions{Base: c.Server.PublicURL, Channel: notify.MailChannel, Accounts: accounts})
}
