package s3_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"fileshare/store/s3"
)

// recorder answers everything with success, and remembers what was asked.
type recorder struct {
	mu  sync.Mutex
	all []*http.Request // guarded by mu
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, req)
	return &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// put opens a bucket with a recorder, and returns how it puts an object.
func put(t *testing.T, url string, o s3.Options) (*http.Request, error) {
	t.Helper()
	to, err := s3.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	r := new(recorder)
	o.Transport = r
	b, err := s3.Open(t.Context(), to, o)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if _, err := b.Put(t.Context(), "blob/0", strings.NewReader("x"), 1); err != nil {
		return nil, err
	}
	return r.all[len(r.all)-1], nil
}

// TestAddresses: where a bucket is looked for.
func TestAddresses(t *testing.T) {
	for url, want := range map[string]string{
		"s3://files?region=r&endpoint=http://127.0.0.1:9000":                  "http://127.0.0.1:9000/files/",
		"s3://files/a/b?region=r&endpoint=https://s3.example.com":             "https://s3.example.com/files/a/b/",
		"s3://files?region=r&endpoint=https://s3.example.com&style=virtual":   "https://files.s3.example.com/",
		"s3://files?region=r&endpoint=http://s3.example.com:80&style=path":    "http://s3.example.com/files/",
		"s3://files?region=eu-central-1":                                      "https://files.s3.dualstack.eu-central-1.amazonaws.com/",
		"s3://files?region=eu-central-1&style=path":                           "https://s3.dualstack.eu-central-1.amazonaws.com/files/",
		"s3://files?region=r&endpoint=https://s3.example.com:8443&style=path": "https://s3.example.com:8443/files/",
	} {
		r, err := put(t, url, s3.Options{})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if got, ok := strings.CutSuffix(r.URL.String(), "/blob/0"); !ok || got[:len(got)-2] != want {
			t.Errorf("%s: %s, want %s??/blob/0", url, r.URL, want)
		}
	}
}

// TestHeaders: an object is written once, and encrypted as is said.
func TestHeaders(t *testing.T) {
	for name, test := range map[string]struct {
		o    s3.Options
		want map[string]string
	}{
		"as it is":      {s3.Options{}, map[string]string{"If-None-Match": "*", "X-Amz-Server-Side-Encryption": "", "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}},
		"AES":           {s3.Options{Encryption: "AES256"}, map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}},
		"KMS":           {s3.Options{Encryption: "aws:kms", KMSKey: "k"}, map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "k"}},
		"unconditional": {s3.Options{Unconditional: true}, map[string]string{"If-None-Match": ""}},
	} {
		r, err := put(t, "s3://files?region=r&endpoint=https://h", test.o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for header, want := range test.want {
			if got := r.Header.Get(header); got != want {
				t.Errorf("%s: %s: %q, want %q", name, header, got, want)
			}
		}
	}
	for _, o := range []s3.Options{{Encryption: "rot13"}, {KMSKey: "k"}, {Encryption: "AES256", KMSKey: "k"}, {Segment: 1}, {Segment: s3.MaxSegment + 1}} {
		if _, err := put(t, "s3://files?region=r&endpoint=https://h", o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

// TestCredentials: they are in a file that is named, in the environment, in the
// file of the AWS tools, or with the machine's role, and looked for in this order;
// without any nothing is sent.
func TestCredentials(t *testing.T) {
	role := true
	machine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !role {
			http.Error(w, "no role", http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, `{"Code":"Success","AccessKeyId":"ROLE","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z"}`)
	}))
	defer machine.Close()
	home := t.TempDir()
	file := func(name, key string) string {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("[default]\naws_access_key_id = "+key+"\naws_secret_access_key = s\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	named := file("named", "NAMED")
	tools := file(".aws/credentials", "TOOLS")
	for name, value := range map[string]string{
		"HOME": home, "AWS_CONTAINER_CREDENTIALS_FULL_URI": machine.URL, "AWS_ACCESS_KEY_ID": "ENVIRONMENT", "AWS_SECRET_ACCESS_KEY": "s",
		"AWS_SHARED_CREDENTIALS_FILE": "", "AWS_PROFILE": "", "MINIO_ROOT_USER": "", "MINIO_ACCESS_KEY": "",
	} {
		t.Setenv(name, value)
	}
	try := func(o s3.Options, want string) {
		t.Helper()
		r, err := put(t, "s3://files?region=r&endpoint=https://h", o)
		switch {
		case want == "":
			if err == nil || !strings.Contains(err.Error(), "no credentials") {
				t.Errorf("without credentials: %v", err)
			}
		case err != nil:
			t.Errorf("%s: %v", want, err)
		case !strings.Contains(r.Header.Get("Authorization"), "Credential="+want+"/"):
			t.Errorf("%s, want %s", r.Header.Get("Authorization"), want)
		}
	}
	try(s3.Options{CredentialsFile: named}, "NAMED")
	try(s3.Options{}, "ENVIRONMENT")
	os.Unsetenv("AWS_ACCESS_KEY_ID") // Setenv of the test puts it back
	os.Unsetenv("AWS_SECRET_ACCESS_KEY")
	try(s3.Options{}, "TOOLS")
	if err := os.Remove(tools); err != nil {
		t.Fatal(err)
	}
	try(s3.Options{}, "ROLE")
	role = false
	try(s3.Options{}, "")
	if _, err := put(t, "s3://files?region=r&endpoint=https://h", s3.Options{CredentialsFile: filepath.Join(home, "none")}); err == nil {
		t.Error("a file with credentials that is not there is accepted")
	}
}
