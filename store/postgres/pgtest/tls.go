package pgtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// certFile and keyFile are in the server's directory.
const (
	certFile = "server.crt"
	keyFile  = "server.key"
)

// StartTLS is Start of a server that is reached over TCP on loopback, too, by
// TLS; see TLSURL.
func StartTLS(options ...string) (*Server, error) {
	return start(&Server{options: options}, func(s *Server, uid, gid int) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.addr = l.Addr().String()
		_, port, err := net.SplitHostPort(s.addr)
		cert, key := filepath.Join(s.dir, certFile), filepath.Join(s.dir, keyFile)
		s.options = append(s.options, "listen_addresses=127.0.0.1", "port="+port, "ssl=on", "ssl_cert_file="+cert, "ssl_key_file="+key)
		return errors.Join(err, l.Close(), makeCertificate(cert, key), os.Chown(cert, uid, gid), os.Chown(key, uid, gid))
	})
}

// makeCertificate writes a certificate for 127.0.0.1, signed by itself.
func makeCertificate(cert, key string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
}

// TLSURL is how one reaches the schema "public" over TCP; mode is libpq's
// sslmode. With trust the server's own certificate is trusted, else only those
// of the system.
func (s *Server) TLSURL(mode string, trust bool) string {
	args := url.Values{"sslmode": {mode}}
	if trust {
		args.Set("sslrootcert", filepath.Join(s.dir, certFile))
	}
	return "postgres://postgres@" + s.addr + "/postgres?" + args.Encode()
}
