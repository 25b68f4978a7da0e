package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func noActivation(string) string { return "" }

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	open := func() (net.Listener, error) {
		l, err := listen(t.Context(), "unix:"+path, activation{getenv: noActivation})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { l[0].Close() })
		return l[0], nil
	}
	l, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeSocket|0o660 {
		t.Errorf("mode %v, %v; want a socket, 0660", info.Mode(), err)
	}
	if _, err := open(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("while somebody listens: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close() // as after a crash: the file is there, nobody listens
	if l, err = open(); err != nil {
		t.Fatalf("over an old socket: %v", err)
	}
	l.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("over a file: %v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file is gone: %q, %v", b, err)
	}
}

func TestListenName(t *testing.T) {
	names := map[string][]string{
		"both":   {"127.0.0.2", "127.0.0.1", "127.0.0.1"},
		"absent": {"192.0.2.1", "127.0.0.1"}, // RFC 5737: nobody has it
		"none":   {"192.0.2.1"},
	}
	lookup := func(_ context.Context, host string) ([]string, error) { return names[host], nil }
	open := func(address string) (addrs []string, err error) {
		all, err := listenTCP(t.Context(), address, lookup)
		for _, l := range all {
			addrs = append(addrs, l.Addr().String())
			defer l.Close()
		}
		return addrs, err
	}
	got, err := open("both:0")
	if err != nil || len(got) != 2 {
		t.Fatalf("both: %q, %v", got, err)
	}
	_, port, _ := net.SplitHostPort(got[0])
	if want := []string{"127.0.0.1:" + port, "127.0.0.2:" + port}; port == "0" || !slices.Equal(got, want) {
		t.Errorf("both: %q", got)
	}
	if got, err := open("absent:0"); err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "127.0.0.1:") {
		t.Errorf("absent: %q, %v", got, err)
	}
	if got, err := open("none:0"); err == nil {
		t.Errorf("none: %q", got)
	}
	if got, err := open(":0"); err != nil || len(got) != 1 {
		t.Errorf("every address: %q, %v", got, err)
	}
}

func TestServeOnUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	d := startDaemon(t, t.TempDir(), "unix:"+path, "")
	if d.addr != "unix:"+path || !strings.Contains(d.output(), "curl --unix-socket "+path+" --user admin:") {
		t.Errorf("it says:\n%s", d.output())
	}
	password := d.wait(t, `--user admin:(\w+)`)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	if status, body := upload(t, "http://localhost", "admin", password, transport); status != http.StatusCreated {
		t.Errorf("upload: %d %s", status, body)
	}
	d.stop(t)
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// writeCertificate makes a self-signed key pair for 127.0.0.1.
func writeCertificate(t *testing.T, dir string, serial int64) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		// Each writing is another second, however coarse the clock of the disk is.
		at := time.Unix(1_700_000_000+serial, 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestServeTLS(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir(), 1)
	d := startDaemon(t, t.TempDir(), "127.0.0.1:0", "server: {tls: {cert: "+cert+", key: "+key+"}}")
	password := d.wait(t, `curl --insecure --user admin:(\w+) --form file=@/etc/hosts https://127\.0\.0\.1:`)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if status, body := upload(t, "https://"+d.addr, "admin", password, transport); status != http.StatusCreated {
		t.Errorf("upload: %d %s", status, body)
	}
	d.stop(t)
}

func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, 1)
	c, err := newCertificate(cert, key, newLog(mustLoad(t, ""), t.Output(), 0))
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		c.looked = time.Time{} // the next look is due
		pair, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.Int64()
	}
	if n := serial(); n != 1 {
		t.Errorf("certificate %d, want 1", n)
	}
	writeCertificate(t, dir, 2)
	if n := serial(); n != 2 {
		t.Errorf("certificate %d, want 2", n)
	}
	if err := os.WriteFile(key, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := serial(); n != 2 {
		t.Errorf("with a broken file: certificate %d, want the old one", n)
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	if n := serial(); n != 2 {
		t.Errorf("without the file: certificate %d, want the old one", n)
	}
	if _, err := newCertificate(cert, key, nil); err == nil {
		t.Error("starting without a certificate is accepted")
	}
}
