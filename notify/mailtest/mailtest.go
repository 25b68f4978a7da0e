// Package mailtest is a mail server for tests: it takes mail by SMTP and keeps
// it, parsed. What it answers can be chosen.
package mailtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Options configures [Start]. The zero value is a server without encryption and
// authentication on a port of the system's choice.
type Options struct {
	Addr           string // default 127.0.0.1:0
	TLS            *tls.Config
	Direct         bool // TLS from the first byte, not by STARTTLS
	User, Password string
	// Answer is asked at each step ("mail", "rcpt", "data") of a mail to an
	// address (empty at "mail"), n counting the calls for this step and address
	// from 1; nil accepts.
	Answer func(step, to string, n int) error
}

// Refuse is an answer that refuses.
func Refuse(code int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 7, 1}, Message: text}
}

// Mail is a mail that was accepted.
type Mail struct {
	From, To   string // of the envelope
	Header     mail.Header
	Subject    string // decoded
	Text, HTML string
}

// Server is a running server.
type Server struct {
	Addr string
	o    Options
	smtp *smtp.Server
	work sync.WaitGroup

	mu    sync.Mutex
	mails []Mail            // guarded by mu
	calls map[string]int    // guarded by mu
	open  map[net.Conn]bool // guarded by mu
}

// Start starts a server on this machine. Stop it.
func Start(o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: l.Addr().String(), o: o, calls: map[string]int{}, open: map[net.Conn]bool{}}
	s.smtp = smtp.NewServer(smtp.BackendFunc(s.session))
	s.smtp.Domain, s.smtp.AllowInsecureAuth, s.smtp.EnableSMTPUTF8 = "localhost", true, true
	s.smtp.ErrorLog = silent{}
	if o.Direct {
		l = tls.NewListener(l, o.TLS)
	} else {
		s.smtp.TLSConfig = o.TLS
	}
	s.work.Go(func() { _ = s.smtp.Serve(l) })
	return s, nil
}

// Cut breaks all connections.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Close()
	}
}

// Stop ends it and its connections.
func (s *Server) Stop() {
	_ = s.smtp.Close()
	s.work.Wait()
}

// Mails are those accepted so far.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.mails...)
}

// Calls tells how often a step was reached for an address.
func (s *Server) Calls(step, to string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[step+" "+to]
}

func (s *Server) answer(step, to string) error {
	s.mu.Lock()
	s.calls[step+" "+to]++
	n := s.calls[step+" "+to]
	s.mu.Unlock()
	if s.o.Answer == nil {
		return nil
	}
	return s.o.Answer(step, to, n)
}

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// session is one connection.
type session struct {
	server   *Server
	conn     net.Conn
	in       bool // authenticated
	from, to string
}

func (s *Server) session(c *smtp.Conn) (smtp.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c.Conn()] = true
	return &session{server: s, conn: c.Conn(), in: s.o.User == ""}, nil
}

func (c *session) AuthMechanisms() []string {
	if c.server.o.User == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (c *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if c.in = user == c.server.o.User && password == c.server.o.Password; !c.in {
			return Refuse(535, "wrong password")
		}
		return nil
	}), nil
}

func (c *session) Mail(from string, _ *smtp.MailOptions) error {
	if !c.in {
		return smtp.ErrAuthRequired
	}
	c.from = from
	return c.server.answer("mail", "")
}

func (c *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.to = to
	return c.server.answer("rcpt", to)
}

func (c *session) Data(r io.Reader) error {
	m, err := parse(r)
	if err != nil {
		return Refuse(554, err.Error())
	}
	if err := c.server.answer("data", c.to); err != nil {
		return err
	}
	m.From, m.To = c.from, c.to
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.server.mails = append(c.server.mails, m)
	return nil
}

func (c *session) Reset() {}

func (c *session) Logout() error {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	delete(c.server.open, c.conn)
	return nil
}

// parse reads a mail with a text and an HTML alternative.
func parse(r io.Reader) (m Mail, err error) {
	msg, err := mail.ReadMessage(r)
	if err != nil {
		return m, err
	}
	m.Header = msg.Header
	if m.Subject, err = new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject")); err != nil {
		return m, err
	}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		return m, fmt.Errorf("content type %q: %w", kind, err)
	}
	for parts := multipart.NewReader(msg.Body, params["boundary"]); ; {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return m, err
		}
		if got := p.Header.Get("Content-Transfer-Encoding"); got != "quoted-printable" {
			return m, errors.New("encoding " + got)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			return m, err
		}
		text := strings.ReplaceAll(string(b), "\r\n", "\n")
		switch kind := strings.ToLower(p.Header.Get("Content-Type")); kind {
		case "text/plain; charset=utf-8":
			m.Text = text
		case "text/html; charset=utf-8":
			m.HTML = text
		default:
			return m, errors.New("part of type " + kind)
		}
	}
}

// Certificate makes a certificate for this machine, and a pool that vouches for
// it.
func Certificate() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(made)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool, nil
}
