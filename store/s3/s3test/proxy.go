package s3test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Fault is what becomes of a request; the zero value is none.
type Fault struct {
	Status    int   // is answered with SlowDown, and the server hears nothing
	CutBody   int64 // the connection breaks when so many bytes of the request's body are there
	CutAnswer int64 // the connection breaks after so many bytes of the answer's body
	Lost      bool  // the server does its work, and the connection breaks without an answer
	Silent    bool  // nothing more is heard where the connection would break, or at once
}

// Proxy is a line to a server on which requests go wrong as it is told, and that
// knows lifecycle rules.
type Proxy struct {
	to     *Server
	http   http.Server
	addr   string
	line   http.Transport
	work   sync.WaitGroup
	closed context.Context
	close  context.CancelFunc

	mu     sync.Mutex
	decide func(*http.Request) Fault // guarded by mu, as rules; nil: none
	rules  []byte                    // the lifecycle of all buckets
}

// NewProxy starts a line to the server. Close ends it.
func (s *Server) NewProxy() (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{to: s, addr: l.Addr().String(), line: http.Transport{DisableCompression: true, DisableKeepAlives: true, DialContext: dial}}
	p.closed, p.close = context.WithCancel(context.Background())
	p.http = http.Server{Handler: p, ReadHeaderTimeout: patience}
	p.work.Go(func() { _ = p.http.Serve(l) }) // until Close
	return p, nil
}

// dial makes connections that are reset at their end: what a client gives up, the
// server is to notice.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = tcp.SetLinger(0)
	}
	return conn, err
}

// Close ends the line with all connections.
func (p *Proxy) Close() error {
	p.close()
	err := p.http.Close()
	p.work.Wait()
	return err
}

// Decide has every request from now on judged, by many goroutines at once; nil:
// none goes wrong.
func (p *Proxy) Decide(decide func(*http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = decide
}

// NewURL is [Server.NewURL] over the line.
func (p *Proxy) NewURL(prefix string) (string, error) { return p.to.newURL(prefix, p.addr) }

// Rules is the lifecycle that was set over the line, as XML; nil: none.
func (p *Proxy) Rules() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rules
}

// SetRules sets what Rules returns.
func (p *Proxy) SetRules(rules []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = rules
}

// lifecycle answers what versitygw does not know.
func (p *Proxy) lifecycle(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case r.Method == http.MethodPut:
		p.rules = body
	case r.Method == http.MethodDelete:
		p.rules = nil
		w.WriteHeader(http.StatusNoContent)
	case p.rules == nil:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<Error><Code>NoSuchLifecycleConfiguration</Code><Message>The lifecycle configuration does not exist</Message></Error>")
	default:
		_, _ = w.Write(p.rules)
	}
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("lifecycle") {
		p.lifecycle(w, r)
		return
	}
	p.mu.Lock()
	decide := p.decide
	p.mu.Unlock()
	var f Fault
	if decide != nil {
		f = decide(r)
	}
	switch {
	case f.Status != 0:
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(f.Status)
		_, _ = io.WriteString(w, "<Error><Code>SlowDown</Code><Message>of the test</Message></Error>") // whoever is gone is gone
		return
	case f.Silent && f.CutBody == 0 && f.CutAnswer == 0:
		p.breaks(r, f)
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = "http", p.to.addr, ""
	if f.CutBody > 0 {
		_, _ = io.CopyN(io.Discard, r.Body, f.CutBody)
		p.breaks(r, f)
	}
	answer, err := p.line.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer answer.Body.Close()
	if f.Lost {
		p.breaks(r, f)
	}
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	if f.CutAnswer > 0 {
		_, err = io.CopyN(w, answer.Body, f.CutAnswer)
		if err = errors.Join(err, http.NewResponseController(w).Flush()); err == nil {
			p.breaks(r, f)
		}
		return // it was shorter
	}
	if _, err := io.Copy(w, answer.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// breaks ends the connection, or keeps it without a word until the client, or
// the line, ends it.
func (p *Proxy) breaks(r *http.Request, f Fault) {
	if f.Silent {
		select {
		case <-p.closed.Done():
		case <-r.Context().Done():
		case <-time.After(patience):
		}
	}
	panic(http.ErrAbortHandler)
}
