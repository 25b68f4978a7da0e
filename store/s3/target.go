package s3

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// Style is how a bucket is addressed.
type Style int

// The styles.
const (
	AutoStyle        Style = iota // as the provider of the endpoint wants it
	PathStyle                     // https://endpoint/bucket/object
	VirtualHostStyle              // https://bucket.endpoint/object
)

// Target says where the blobs are.
type Target struct {
	Endpoint string // host, or host:port
	TLS      bool
	Bucket   string
	Prefix   string // of the objects: empty, or it ends in /
	Region   string // empty: asked for, where the provider has regions
	Style    Style
}

// ParseURL reads s3://BUCKET[/PREFIX][?endpoint=URL&region=R&style=path|virtual].
// Without an endpoint it is that of Amazon; one without a scheme means https.
func ParseURL(text string) (t Target, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return t, fmt.Errorf("malformed: %w", err)
	}
	switch {
	case u.Scheme != "s3":
		return t, fmt.Errorf("the scheme must be s3")
	case u.Host == "":
		return t, fmt.Errorf("the bucket is missing: s3://BUCKET")
	case u.Port() != "":
		return t, fmt.Errorf("a bucket has no port: endpoint=https://HOST:PORT says where it is")
	case u.User != nil:
		return t, fmt.Errorf("credentials do not belong there: they come from the environment or a file")
	case u.Fragment != "":
		return t, fmt.Errorf("a fragment makes no sense")
	}
	if err := s3utils.CheckValidBucketName(u.Host); err != nil {
		return t, fmt.Errorf("the bucket %s: %w", u.Host, err)
	}
	t = Target{Bucket: u.Host, Endpoint: "s3.amazonaws.com", TLS: true}
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		t.Prefix = prefix + "/"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return t, fmt.Errorf("malformed: %w", err)
	}
	for name, values := range query {
		value := values[0]
		switch {
		case len(values) > 1:
			err = fmt.Errorf("%s is there twice", name)
		case name == "endpoint":
			err = t.endpoint(value)
		case name == "region":
			t.Region = value
		case name == "style" && value == "path":
			t.Style = PathStyle
		case name == "style" && value == "virtual":
			t.Style = VirtualHostStyle
		case name == "style":
			err = fmt.Errorf("style must be path or virtual, not %q", value)
		default:
			err = fmt.Errorf("there is no argument %s: endpoint, region and style are possible", name)
		}
		if err != nil {
			return t, err
		}
	}
	return t, nil
}

func (t *Target) endpoint(text string) error {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return fmt.Errorf("endpoint must be http://HOST[:PORT] or https://HOST[:PORT]")
	}
	t.Endpoint, t.TLS = u.Host, u.Scheme == "https"
	return nil
}
