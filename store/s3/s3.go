// Package s3 keeps blobs as objects of a bucket, on any server that speaks the
// core of the S3 protocol: PUT, GET with Range, HEAD, DELETE, DeleteObjects and
// ListObjectsV2. Multipart uploads are not used: the engine cuts long bodies
// into blobs (see [store.Segmented]), and every blob is one object that is
// written once.
//
// A key names the object PREFIX<shard>/<key>; the shard is two hex digits of
// the key's CRC-32. The engine's keys begin with the time, and S3 servers spread
// their load by the beginnings of names.
package s3

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/encrypt"

	"fileshare/store"
)

// Options configures [Open]. The zero value works.
type Options struct {
	// CredentialsFile is a file as the AWS tools write it, with the profile of
	// AWS_PROFILE or "default". Empty: the credentials come from the
	// environment (AWS_ACCESS_KEY_ID and so on), from the file of the AWS
	// tools, or from the role of the machine, whichever has some first.
	CredentialsFile string
	// Encryption asks the server to encrypt what it stores: empty (as the
	// bucket has it), "AES256", or "aws:kms" with KMSKey.
	Encryption string
	KMSKey     string
	// Segment is how many bytes of a body of unknown length become an object;
	// they wait in memory. 256 KiB to 1 GiB; default 8 MiB.
	Segment int64
	// Memory bounds what waits in memory, of all such bodies together;
	// default 128 MiB, at least two segments.
	Memory int64
	// Timeout bounds every wait for the server, and for memory; default 15 s.
	// A transfer may take longer, as long as bytes move.
	Timeout time.Duration
	// Unconditional leaves out If-None-Match: *, for servers that do not know
	// it. Keys are random, so the condition is a second safety only.
	Unconditional bool
	// Transport replaces the HTTP transport, for tests.
	Transport http.RoundTripper
}

// Limits of the options.
const (
	defaultSegment = 8 << 20
	MinSegment     = block
	MaxSegment     = 1 << 30
	defaultMemory  = 128 << 20
	defaultTimeout = 15 * time.Second
)

// largest is how many bytes one object may have whose length is known; servers
// take 5 GiB.
const largest = 4 << 30

// tries is how often a request is sent that does nothing twice.
const tries = 3

// Bucket is a [store.Blobs] in a bucket. It is safe for concurrent use, also by
// several processes.
type Bucket struct {
	core   *minio.Core
	t      Target
	o      Options
	sse    encrypt.ServerSide
	memory *memory
	idle   func() // closes idle connections
}

// Open connects to a bucket and checks that it is there and may be listed.
func Open(ctx context.Context, t Target, o Options) (*Bucket, error) {
	if o.Segment <= 0 {
		o.Segment = defaultSegment
	}
	if o.Segment < MinSegment || o.Segment > MaxSegment {
		return nil, fmt.Errorf("a segment of %d bytes: %d to %d are possible", o.Segment, MinSegment, int64(MaxSegment))
	}
	if o.Memory <= 0 {
		o.Memory = defaultMemory
	}
	o.Memory = max(o.Memory, 2*o.Segment)
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	b := &Bucket{t: t, o: o, memory: newMemory(o.Memory, o.Timeout), idle: func() {}}
	if err := b.encryption(); err != nil {
		return nil, err
	}
	if o.Transport == nil {
		transport := newTransport(o.Timeout)
		b.idle, o.Transport = transport.CloseIdleConnections, transport
	}
	lookup := minio.BucketLookupAuto
	switch t.Style {
	case PathStyle:
		lookup = minio.BucketLookupPath
	case VirtualHostStyle:
		lookup = minio.BucketLookupDNS
	}
	var err error
	b.core, err = minio.NewCore(t.Endpoint, &minio.Options{
		Creds: newCredentials(o), Secure: t.TLS, Transport: o.Transport, Region: t.Region, BucketLookup: lookup, MaxRetries: tries,
	})
	if err != nil {
		return nil, err
	}
	if err := b.check(ctx); err != nil {
		b.idle()
		return nil, err
	}
	return b, nil
}

func (b *Bucket) encryption() error {
	switch {
	case b.o.Encryption == "" && b.o.KMSKey == "":
		return nil
	case b.o.Encryption == "AES256" && b.o.KMSKey == "":
		b.sse = encrypt.NewSSE()
		return nil
	case b.o.Encryption == "aws:kms":
		var err error
		b.sse, err = encrypt.NewSSEKMS(b.o.KMSKey, nil)
		return err
	}
	return fmt.Errorf("encryption %q with key %q: AES256, or aws:kms with a key, is possible", b.o.Encryption, b.o.KMSKey)
}

// newTransport is HTTP/1.1 without compression: contents come as they are, and
// each transfer has a connection of its own. Connections that are given up are
// reset: there are servers that take a body whose connection is closed in the
// middle for a whole one.
func newTransport(timeout time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: min(timeout, 5*time.Second), KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if tcp, ok := conn.(*net.TCPConn); ok {
				err = tcp.SetLinger(0)
			}
			return conn, err
		},
		TLSHandshakeTimeout:   min(timeout, 10*time.Second),
		ResponseHeaderTimeout: timeout,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConns:          256,
		MaxIdleConnsPerHost:   256,
		DisableCompression:    true,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
}

// check tells at the start what would fail later.
func (b *Bucket) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*b.o.Timeout)
	defer cancel()
	ok, err := b.core.BucketExists(ctx, b.t.Bucket)
	switch {
	case err != nil:
		return fmt.Errorf("the bucket %s at %s: %w", b.t.Bucket, b.t.Endpoint, explain(err))
	case !ok:
		return fmt.Errorf("there is no bucket %s at %s", b.t.Bucket, b.t.Endpoint)
	}
	return nil
}

// Close gives back idle connections. No method may run or follow.
func (b *Bucket) Close() error {
	b.idle()
	return nil
}

// Segment implements [store.Segmented]: an object whose length is known is sent
// as it comes.
func (b *Bucket) Segment(int64) int64 { return largest }

// Reserve implements [store.Segmented]. An object whose length is not known waits
// in memory until it is whole; objects are smaller when memory is short.
func (b *Bucket) Reserve(ctx context.Context, most int64) (store.Cut, error) {
	return b.memory.reserve(ctx, b.o.Segment, most)
}

// object is the name of a key's object.
func (b *Bucket) object(key string) (string, error) {
	if len(key) < 3 || len(key) > 120 {
		return "", errors.New("key of a wrong length")
	}
	slash := false
	for i := range len(key) {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		case c == '/' && !slash && i > 0 && i < len(key)-1:
			slash = true
		default:
			return "", errors.New("key with a wrong character")
		}
	}
	return b.t.Prefix + shardName(shardOf(key)) + "/" + key, nil
}

func shardOf(key string) int { return int(crc32.ChecksumIEEE([]byte(key)) % store.Shards) }

func shardName(i int) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[i>>4], digits[i&15]})
}
