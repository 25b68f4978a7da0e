package s3_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fileshare/store/s3"
)

func TestParseURL(t *testing.T) {
	amazon := s3.Target{Endpoint: "s3.amazonaws.com", TLS: true, Bucket: "files"}
	for text, change := range map[string]func(*s3.Target){
		"s3://files":                     func(*s3.Target) {},
		"s3://files/":                    func(*s3.Target) {},
		"s3://files/a":                   func(w *s3.Target) { w.Prefix = "a/" },
		"s3://files/a/b/":                func(w *s3.Target) { w.Prefix = "a/b/" },
		"s3://files?region=eu-central-1": func(w *s3.Target) { w.Region = "eu-central-1" },
		"s3://files?style=path":          func(w *s3.Target) { w.Style = s3.PathStyle },
		"s3://files?style=virtual":       func(w *s3.Target) { w.Style = s3.VirtualHostStyle },
		"s3://files?endpoint=host":       func(w *s3.Target) { w.Endpoint = "host" },
		"s3://files?endpoint=https://host:9000/&region=r": func(w *s3.Target) { w.Endpoint, w.Region = "host:9000", "r" },
		"s3://files?endpoint=http%3A%2F%2F127.0.0.1:1":    func(w *s3.Target) { w.Endpoint, w.TLS = "127.0.0.1:1", false },
	} {
		want := amazon
		change(&want)
		got, err := s3.ParseURL(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
	for text, want := range map[string]string{
		"":                                     "scheme",
		"https://host/bucket":                  "scheme",
		"s3://b":                               "the bucket b",
		"s3://host:9000/bucket":                "no port",
		"s3:///prefix":                         "bucket is missing",
		"s3://key:TOPSECRET@files":             "credentials",
		"s3://files#x":                         "fragment",
		"s3://files?x=1":                       "no argument x",
		"s3://files?region=a&region=b":         "twice",
		"s3://files?style=dns":                 "path or virtual",
		"s3://files?endpoint=":                 "endpoint must be",
		"s3://files?endpoint=ftp://host":       "endpoint must be",
		"s3://files?endpoint=http://host/path": "endpoint must be",
		"s3://files?endpoint=http://a:b@host":  "endpoint must be",
		"s3://files?a=%zz":                     "malformed",
		"s3://fi les":                          "malformed",
	} {
		_, err := s3.ParseURL(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "TOPSECRET") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
