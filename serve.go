package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fileshare/notify"
	"fileshare/reaper"
	"fileshare/server"
	"fileshare/store"
)

// ballast is counted by the garbage collector and never touched, so that it
// costs no memory: with a live heap of a few MiB, however large the files are,
// the collector would otherwise run some 30 times a second under load. Unlike a
// higher GOGC it adds the same few MiB whatever the load.
const ballast = 6 << 20

// serve runs the daemon until the first of the signals (nil error), or until it
// cannot go on. What is started from top to bottom is stopped from bottom to top.
func serve(ctx context.Context, c *Config, stderr io.Writer, signals <-chan os.Signal) (err error) {
	weight := make([]byte, ballast)
	defer runtime.KeepAlive(weight)
	log := newLog(c, stderr, c.logLevel())
	stopping := func(name string, stop func() error) {
		if e := stop(); e != nil {
			err = errors.Join(err, fmt.Errorf("closing %s: %w", name, e))
		}
	}

	// Backends.
	b, err := openBackends(ctx, c, log)
	if err != nil {
		return err
	}
	defer stopping("the backends", b.close)

	// Accounts, before the engine: it asks whose address is which.
	accounts, admin, err := newAccounts(c, log)
	if err != nil {
		return err
	}

	// Engine.
	o := c.storeOptions(log)
	o.Notices = c.notices(accounts)
	o.Free = b.free
	engine, err := store.New(ctx, b.records, b.blobs, o)
	if err != nil {
		return fmt.Errorf("starting the engine on %s: %w", b.where, b.explain(err))
	}
	defer stopping("the engine", engine.Close)

	// Handler.
	registry := prometheus.NewRegistry()
	handler, err := newHandler(c, engine, accounts, registry, log)
	if err != nil {
		return err
	}

	// Listener, before the reaper: a wrong address should end us at once.
	listeners, err := listen(ctx, c.Server.Listen, activation{os.Getenv, os.Getpid(), 3})
	if err != nil {
		return err
	}
	web, err := newWeb(c, handler, listeners, log)
	if err != nil {
		return err
	}
	defer web.close()

	// Reaper.
	chores := reaper.Options{
		Schedule: c.Reaper.Schedule, Purge: engine.Purge, SweepSchedule: c.Reaper.Sweep,
		Compact: b.compact, Log: log,
	}
	if c.shared() {
		chores.SweepDue = engine.SweepDue
	} else {
		chores.Sweep = engine.Sweep
	}
	watched := server.NewReaperMetrics(registry)
	chores.Observe, chores.ObserveSweep = watched.Observe, watched.ObserveSweep
	housekeeping, err := reaper.New(chores)
	if err != nil {
		return err
	}
	defer housekeeping.Stop()

	// Notifier: what the events of requests and reaper are for.
	notifier, err := newNotifier(c, engine, registry, log)
	if err != nil {
		return err
	}
	defer notifier.Stop()

	options, url := web.curl()
	if err := admin.announce(stderr, options, url); err != nil {
		return err
	}
	failed := web.start()
	housekeeping.Start()
	notifier.Start()
	notice := newLog(c, stderr, min(c.logLevel(), slog.LevelInfo)) // whoever started us waits for this line
	for _, l := range listeners {
		notice.Info("listening", "addr", addrOf(l))
	}
	tell := func(state string) {
		if err := notifySystemd(os.Getenv, state); err != nil {
			log.Error("systemd may think that the daemon hangs", "err", err)
		}
	}
	tell("READY=1")

	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	case s := <-signals:
		log.Info("stopping", "signal", s.String(), "grace", time.Duration(c.Server.ShutdownGrace).String())
	}
	tell(systemdStops(time.Duration(c.Server.ShutdownGrace)))
	web.stop(time.Duration(c.Server.ShutdownGrace), signals, log)
	return nil
}

// newAccounts makes the accounts, and that of a first start.
func newAccounts(c *Config, log *slog.Logger) (*server.Accounts, *firstAccount, error) {
	users, admin, err := c.accounts()
	if err != nil {
		return nil, nil, err
	}
	accounts, err := server.NewAccounts(server.AccountsOptions{
		Users: users, Htpasswd: c.Auth.Htpasswd, Forward: c.forward(), Failures: int(c.Limits.AuthFailures),
		Address: server.ClientAddress(c.trustedProxies()), Log: log,
	})
	if err != nil {
		return nil, nil, &configError{[]error{fmt.Errorf("auth: %w", err)}}
	}
	return accounts, admin, nil
}

// newHandler makes the whole face of the engine.
func newHandler(c *Config, engine *store.Store, accounts *server.Accounts, registry *prometheus.Registry, log *slog.Logger) (http.Handler, error) {
	openTera, err := c.openTera(log)
	if err != nil {
		return nil, err
	}
	docs, err := server.Docs()
	if err != nil {
		return nil, err
	}
	return server.New(engine, server.Options{
		Prefixes: c.Server.Prefixes, PublicURL: c.Server.PublicURL, TrustedProxies: c.trustedProxies(), Addresses: c.Events.Addresses,
		IdleTimeout: time.Duration(c.Limits.IdleTimeout), InlineTypes: c.Downloads.InlineTypes,
		Tus: c.APIs.Tus.Enabled, Molgenis: c.APIs.Molgenis.Enabled, ExtraHorizon: c.extraHorizon(), FileSender: c.fileSender(), OpenTera: openTera,
		Auth: accounts, Docs: docs, Log: log, Registerer: registry, Gatherer: registry, Version: buildVersion(),
	}), nil
}

// makeDir creates the data directory, for us only.
func makeDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("creating the data directory: %w", err)
	}
	return nil
}

// storeOptions is the engine's part of the configuration.
func (c *Config) storeOptions(log *slog.Logger) store.Options {
	o := store.Options{
		UploadTTL:        time.Duration(c.Models.Upload.TTL),
		MaxUploadTTL:     time.Duration(c.Models.Upload.MaxTTL),
		UnfinishedTTL:    time.Duration(c.Models.Unfinished.TTL),
		SessionTTL:       time.Duration(c.Models.Session.TTL),
		MaxSessionTTL:    time.Duration(c.Models.Session.MaxTTL),
		AnonymousUploads: c.Auth.AnonymousUploads,
		PrivateDownloads: c.Auth.PrivateDownloads,
		OpenSessions:     c.Auth.OpenSessions,
		FileSize:         int64(c.Limits.FileSize),
		UserQuota:        int64(c.Limits.UserQuota),
		FreeSpace:        int64(c.Limits.FreeSpace),
		TokenDownloads:   int(c.Tokens.MaxDownloads),
		BurnAtStart:      c.Tokens.Burn == "start",
		Lease:            time.Duration(c.Tokens.Lease),
		Tombstones:       time.Duration(c.Reaper.Tombstones),
		Audit:            time.Duration(c.Reaper.Audit),
		Inline:           cmp.Or(int64(c.Store.InlineSize), -1), // 0 would be the engine's default
		NoDigest:         c.Store.Digest == "none",
		Exclusive:        !c.shared(), // bolt's are locked
		Redirect:         int64(c.Store.S3.Redirect),
		EventKeep:        time.Duration(c.Events.Keep),
		Recipients:       notify.Recipients(c.hooks()),
		Log:              log,
	}
	if c.shared() || c.remoteBlobs() {
		o.LateWrites = lateWrites
	}
	return o
}

// web is the HTTP server over its listeners.
type web struct {
	http.Server
	listeners []net.Listener
	tls       bool
	cancel    context.CancelFunc // ends the contexts of all requests
	serving   sync.WaitGroup
	open      atomic.Int64 // connections
}

func newWeb(c *Config, handler http.Handler, listeners []net.Listener, log *slog.Logger) (*web, error) {
	w := &web{listeners: listeners, tls: c.Server.TLS.Cert != ""}
	base, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.Server = http.Server{
		Handler:           handler,
		ReadHeaderTimeout: time.Duration(c.Server.ReadHeaderTimeout),
		IdleTimeout:       time.Duration(c.Server.IdleTimeout),
		MaxHeaderBytes:    64 << 10,
		ConnContext:       server.ConnContext,
		ConnState:         w.count,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	if w.tls {
		certificate, err := newCertificate(c.Server.TLS.Cert, c.Server.TLS.Key, log)
		if err != nil {
			w.close()
			return nil, &configError{[]error{err}}
		}
		w.TLSConfig = &tls.Config{GetCertificate: certificate.get, MinVersion: tls.VersionTLS12}
	}
	for i, l := range w.listeners {
		w.listeners[i] = server.Listener(l, time.Duration(c.Limits.IdleTimeout))
	}
	return w, nil
}

// start accepts; what ends accepting too early comes out of the channel.
func (w *web) start() <-chan error {
	failed := make(chan error, len(w.listeners))
	for _, l := range w.listeners {
		w.serving.Go(func() {
			var err error
			if w.tls {
				err = w.ServeTLS(l, "", "")
			} else {
				err = w.Serve(l)
			}
			if !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	return failed
}

// stop accepts no more and lets transfers finish for grace, or until another signal.
func (w *web) stop(grace time.Duration, signals <-chan os.Signal, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	})
	for _, l := range w.listeners {
		_ = l.Close() // Shutdown closes it again
	}
	w.serving.Wait()
	w.settle(ctx)
	if err := w.Shutdown(ctx); err != nil {
		log.Warn("running transfers are ended", "why", context.Cause(ctx))
	}
	cancel()
	watch.Wait()
}

// settle waits, not for long, until nobody is connected any more. net/http drops
// requests whose header it reads when Shutdown has begun, and whoever has just
// come is to be answered: systemd may hold the socket, so that he would not
// have been refused by anybody.
func (w *web) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	w.SetKeepAlivesEnabled(false) // who is idle goes, the others after their answers
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for w.open.Load() > 0 && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// count is for http.Server.ConnState.
func (w *web) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		w.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		w.open.Add(-1)
	}
}

// close ends what is still running and gives the listeners back.
func (w *web) close() {
	w.cancel()
	_ = w.Server.Close()
	for _, l := range w.listeners {
		_ = l.Close() // those that were never served
	}
	w.serving.Wait()
}

// curl is the options and the URL with which curl on this machine reaches us.
func (w *web) curl() (options, url string) {
	url = "http://"
	if w.tls {
		url = "https://"
		options += " --insecure" // the name is ours, or the certificate of our own making
	}
	addr, ok := w.listeners[0].Addr().(*net.TCPAddr)
	if !ok {
		return options + " --unix-socket " + w.listeners[0].Addr().String(), url + "localhost"
	}
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "localhost"
	}
	return options, url + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

func (c *Config) logLevel() slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Log.Level)) // checked with the configuration
	return level
}

// newLog makes the logger; its handlers write each line in one piece.
func newLog(c *Config, w io.Writer, level slog.Level) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// addrOf is the address of a listener as server.listen has it.
func addrOf(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + strings.TrimPrefix(l.Addr().String(), "unix:")
	}
	return l.Addr().String()
}
