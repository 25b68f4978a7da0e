package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"fileshare/store"
)

// Mail is the server that takes our mail, by SMTP (RFC 5321).
type Mail struct {
	Server   string // host:port; empty: no mail
	TLS      string // TLSNone, StartTLS or TLSDirect
	User     string // empty: without authentication
	Password string
	From     string // "Name <address>" or an address
	ReplyTo  string // likewise, of letters without a sender to be answered; empty: none
	// Templates is a directory of templates that stand in for ours; empty: none.
	Templates string
	Timeout   time.Duration  // of one attempt; default 30 s
	RootCAs   *x509.CertPool // nil: those of the system
}

// How a connection to the mail server is encrypted.
const (
	TLSNone   = "none"
	StartTLS  = "starttls" // RFC 3207, required
	TLSDirect = "tls"      // RFC 8314 §3
)

// MailChannel is the channel of notices that go by mail; their names are addresses.
const MailChannel = "mail"

// Check says what is wrong with the settings, as far as that can be seen without
// the server.
func (m *Mail) Check() error {
	host, port, err := net.SplitHostPort(m.Server)
	if err != nil || host == "" || port == "" {
		return errors.New("server: host:port is expected")
	}
	switch m.TLS {
	case StartTLS, TLSDirect:
	case TLSNone:
		if m.User != "" && !loopback(host) {
			return errors.New("tls: none would send the password for all to read")
		}
	default:
		return errors.New("tls: starttls, tls or none is expected")
	}
	if _, err := mail.ParseAddress(m.From); err != nil {
		return errors.New("from: an address is expected")
	}
	if _, err := mail.ParseAddress(m.ReplyTo); m.ReplyTo != "" && err != nil {
		return errors.New("reply_to: an address is expected")
	}
	if (m.User == "") != (m.Password == "") {
		return errors.New("user and password belong together")
	}
	_, err = parseTemplates(m.Templates)
	return err
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// mailer is the channel of mail.
type mailer struct {
	Mail
	host          string
	from, replyTo *mail.Address // replyTo may be nil
	words         *templates
	outbox        Outbox
}

func newMailer(m Mail, outbox Outbox) (*mailer, error) {
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	r := &mailer{Mail: m, outbox: outbox}
	r.host, _, _ = net.SplitHostPort(m.Server)
	r.from, _ = mail.ParseAddress(m.From) // checked
	if m.ReplyTo != "" {
		r.replyTo, _ = mail.ParseAddress(m.ReplyTo)
	}
	words, err := parseTemplates(m.Templates)
	r.words = words
	return r, err
}

// place is the server, to which all mail goes.
func (r *mailer) place(store.Recipient) store.Recipient { return store.Recipient{Channel: MailChannel} }

// deliver hands a letter to the server. Whether it took one of which it did not
// say so cannot be known, and nobody is to get a letter twice: before the dot
// that ends it this is noted, and a message that comes with the note is given up.
func (r *mailer) deliver(ctx context.Context, m *store.Message) (time.Duration, error) {
	if m.Begun {
		return 0, fmt.Errorf("%w: it may have been sent before we were interrupted", errGiveUp)
	}
	if m.Letter == nil {
		return 0, fmt.Errorf("%w: it has no letter", errGiveUp)
	}
	to, err := mail.ParseAddress(m.To.Name)
	if err != nil {
		return 0, fmt.Errorf("%w: the address is malformed", errGiveUp)
	}
	body, err := r.compose(m, to.Address)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errGiveUp, err)
	}
	attempt, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(attempt, "tcp", r.Server)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	// Up to the dot the attempt ends in time; what came of the dot we want to know.
	stay := context.AfterFunc(attempt, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stay()
	c, err := r.hello(conn)
	if err != nil {
		return 0, err
	}
	leave := func() bool { return true }
	dot := func() error {
		if err := r.outbox.Begin(attempt, m); err != nil {
			return refusedError{err} // the server has nothing to do with that
		}
		if !stay() {
			return context.Cause(attempt)
		}
		_ = conn.SetDeadline(time.Now().Add(verdict))
		leave = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now().Add(r.Timeout)) }) // the daemon ends
		return nil
	}
	err = r.submit(c, to.Address, body, dot)
	leave()
	if err == nil {
		_ = conn.SetDeadline(time.Now().Add(farewell))
		_ = c.Quit()
	}
	return 0, err
}

// verdict is how long the server may take to say whether it takes a letter that has
// ended (RFC 5321 §4.5.3.2.6): it may have to be looked through.
const verdict = 10 * time.Minute

// farewell is how long it may take to say goodbye, of which nothing depends.
const farewell = 2 * time.Second

// hello makes a connection one on which mail can be sent.
func (r *mailer) hello(conn net.Conn) (c *smtp.Client, err error) {
	secure := &tls.Config{ServerName: r.host, RootCAs: r.RootCAs, MinVersion: tls.VersionTLS12}
	if r.TLS == TLSDirect {
		conn = tls.Client(conn, secure)
	}
	if c, err = smtp.NewClient(conn, r.host); err != nil {
		return nil, err
	}
	_, domain, _ := strings.Cut(r.from.Address, "@")
	if err := c.Hello(domain); err != nil {
		return nil, err
	}
	if r.TLS == StartTLS {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return nil, errors.New("the mail server offers no STARTTLS")
		}
		if err := c.StartTLS(secure); err != nil {
			return nil, err
		}
	}
	if r.User != "" {
		if err := r.login(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// login authenticates by what the server offers, the best first.
func (r *mailer) login(c *smtp.Client) error {
	_, offered := c.Extension("AUTH")
	for _, how := range strings.Fields("SCRAM-SHA-256 PLAIN LOGIN") {
		if !strings.Contains(" "+offered+" ", " "+how+" ") {
			continue
		}
		plain := r.TLS == TLSNone // only to this machine, see Check
		switch how {
		case "SCRAM-SHA-256":
			return c.Auth(smtp.ScramSHA256Auth(r.User, r.Password))
		case "PLAIN":
			return c.Auth(smtp.PlainAuth("", r.User, r.Password, r.host, plain))
		}
		return c.Auth(smtp.LoginAuth(r.User, r.Password, r.host, plain))
	}
	return errors.New("the mail server offers no way to authenticate that we know")
}

// submit is one transaction (RFC 5321 §3.3). dot is called before the dot that
// ends the letter: without that it is none.
func (r *mailer) submit(c *smtp.Client, to string, body []byte, dot func() error) error {
	if ascii(to) && ascii(r.from.Address) {
		c.SkipSMTPUTF8(true)
	} else if ok, _ := c.Extension("SMTPUTF8"); !ok {
		return fmt.Errorf("%w: the mail server takes no address with letters beyond ASCII", errGiveUp)
	}
	if err := c.Mail("<" + r.from.Address + ">"); err != nil {
		return err // whoever it is for: it takes nothing from us
	}
	if err := c.Rcpt("<" + to + ">"); err != nil {
		return ofMessage(err)
	}
	w, err := c.Data()
	if err != nil {
		return ofMessage(err)
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	if err := dot(); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		if _, answered := errors.AsType[*textproto.Error](err); answered {
			return ofMessage(err)
		}
		return fmt.Errorf("%w: the mail server did not say whether it took it: %w", errInDoubt, err)
	}
	return nil
}

// refusedError is what the server has against one letter; it takes others.
type refusedError struct{ error }

func (e refusedError) Unwrap() error { return e.error }

// ofMessage sorts what the server answers (RFC 5321 §4.2.1): 5yz is for ever, 421
// of the server itself, other 4yz of this letter for now.
func ofMessage(err error) error {
	reply, ok := errors.AsType[*textproto.Error](err)
	switch {
	case !ok || reply.Code == 421:
		return err
	case reply.Code >= 500:
		err = fmt.Errorf("%w: %w", errGiveUp, err)
	}
	return refusedError{err}
}

func ascii(s string) bool { return strings.IndexFunc(s, func(c rune) bool { return c > 0x7e }) < 0 }

// compose makes the text of a message (RFC 5322) to an address.
func (r *mailer) compose(m *store.Message, to string) ([]byte, error) {
	subject, text, html, err := r.words.render(m.Letter)
	if err != nil {
		return nil, err
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(r.from)
	msg.ToMailAddress(&mail.Address{Address: to})
	if sender, err := mail.ParseAddress(m.Letter.Sender); err == nil {
		msg.ReplyToMailAddress(&mail.Address{Address: sender.Address})
	} else if r.replyTo != nil {
		msg.ReplyToMailAddress(r.replyTo)
	}
	msg.Subject(subject)
	msg.SetDateWithValue(m.Event.Time)
	_, domain, _ := strings.Cut(r.from.Address, "@")
	msg.SetMessageIDWithValue(fmt.Sprintf("%x@%s", m.ID, domain)) // the same at each attempt
	msg.SetGenHeader("Auto-Submitted", "auto-generated")          // RFC 3834 §5
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")
	msg.SetBodyString(gomail.TypeTextPlain, text)
	msg.AddAlternativeString(gomail.TypeTextHTML, html)
	var b bytes.Buffer
	if _, err := msg.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("writing a mail: %w", err)
	}
	return b.Bytes(), nil
}
