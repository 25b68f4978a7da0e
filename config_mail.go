package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"fileshare/notify"
)

// MailConfig is mail.
type MailConfig struct {
	Server       string   `mapstructure:"server"`
	TLS          string   `mapstructure:"tls"`
	User         string   `mapstructure:"user"`
	Password     string   `mapstructure:"password" secret:"all"`
	PasswordFile string   `mapstructure:"password_file"`
	From         string   `mapstructure:"from"`
	ReplyTo      string   `mapstructure:"reply_to"`
	Templates    string   `mapstructure:"templates"`
	Timeout      Duration `mapstructure:"timeout"`
}

// checkMail checks the settings of mail, if any is to be sent.
func (c *Config) checkMail(k *configCheck) {
	m := &c.Mail
	k.duration("mail.timeout", m.Timeout, time.Second)
	if m.Server == "" {
		return
	}
	k.want(c.Server.PublicURL != "" || k.failed["server.public_url"], "server.public_url", c.Server.PublicURL, "the address of the links in mail (mail.server is set)")
	k.want(m.Password == "" || m.PasswordFile == "", "mail.password_file", m.PasswordFile, "one of password and password_file")
	mail, err := c.mail()
	if err == nil {
		err = mail.Check()
	}
	if err != nil {
		k.problems = append(k.problems, fmt.Errorf("mail.%w", err))
	}
}

// mail is how mail goes out; the zero Mail: not at all.
func (c *Config) mail() (notify.Mail, error) {
	m := &c.Mail
	if m.Server == "" {
		return notify.Mail{}, nil
	}
	out := notify.Mail{Server: m.Server, TLS: m.TLS, User: m.User, Password: m.Password, From: m.From, ReplyTo: m.ReplyTo, Templates: m.Templates, Timeout: time.Duration(m.Timeout)}
	if m.PasswordFile == "" {
		return out, nil
	}
	b, err := os.ReadFile(m.PasswordFile)
	if err != nil {
		return out, fmt.Errorf("password_file: %w", err)
	}
	if out.Password = strings.TrimRight(string(b), "\r\n"); out.Password == "" {
		return out, errors.New("password_file: it is empty")
	}
	return out, nil
}
