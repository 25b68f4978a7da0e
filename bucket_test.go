package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// TestLifecycleCommand sets the rule, looks at it and takes it back.
func TestLifecycleCommand(t *testing.T) {
	b := startBucket(t)
	for _, e := range b.env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv("FILESHARE_"+name, value)
	}
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"", exitDone, "contents are removed by the daemon alone\n"},
		{"--days 33", exitDone, "contents are removed by the S3 server when they are 33 days old\n"}, // 30 + 1 + 2
		{"", exitDone, "contents are removed by the S3 server when they are 33 days old\n"},
		{"--days 32", exitUsage, "--days: 32: 33 (the longest ttl"},
		{"--days 0", exitUsage, "--days: 0: 33 ("},
		{"--days 90 --remove", exitUsage, "[days remove]"},
		{"--remove", exitDone, "contents are removed by the daemon alone\n"},
	} {
		var out bytes.Buffer
		code := run(append([]string{"s3", "lifecycle"}, strings.Fields(test.args)...), strings.NewReader(""), &out, &out)
		if code != test.code || !strings.Contains(out.String(), test.want) {
			t.Errorf("s3 lifecycle %s: %d and %q, want %d and %q", test.args, code, out.String(), test.code, test.want)
		}
	}
	if code := run([]string{"s3"}, strings.NewReader(""), io.Discard, io.Discard); code != exitUsage {
		t.Errorf("s3 alone: %d", code)
	}
	t.Setenv("FILESHARE_STORE_BLOBS", "dir")
	if code := run([]string{"s3", "lifecycle"}, strings.NewReader(""), io.Discard, io.Discard); code != exitUsage {
		t.Errorf("s3 lifecycle without a bucket: %d", code)
	}
}
