package oauth1

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// The example of RFC 5849 §1.2, and one computed by another implementation.
func TestKnownSignatures(t *testing.T) {
	for name, tc := range map[string]struct {
		header, method, base, query, consumer, token string
	}{
		"RFC 5849": {
			`OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_token="nnch734d00sl2jdk", oauth_signature_method="HMAC-SHA1",` +
				` oauth_timestamp="137131202", oauth_nonce="chapoH", oauth_signature="MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D"`,
			"GET", "http://PHOTOS.example.net:80/photos", "file=vacation.jpg&size=original", "kd94hf93k423kf44", "pfkkdhi9sl3r4s00",
		},
		"Python's hmac": {
			`OAuth oauth_consumer_key="app%201", oauth_nonce="kYjzVBB8Y0ZF", oauth_signature="Tj%2BY48dZzAJYpjBz4vyVs8IXzys%3D", oauth_signature_method="HMAC-SHA1",` +
				` oauth_timestamp="1790000000", oauth_token="t%2F1", oauth_version="1.0"`,
			"post", "https://API.example.com:8443/files/v1/", "all=true&status=Gr%C3%BC%C3%9Fe%20%2B+more,%20signed!", "se&cret", "tök en",
		},
	} {
		r, ok, err := Parse(tc.header)
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", name, ok, err)
		}
		if !r.Verify(tc.method, tc.base, tc.query, tc.consumer, tc.token) {
			text, _ := r.text(tc.method, tc.base, tc.query)
			t.Errorf("%s: not verified; signed was %s", name, text)
		}
		for what, wrong := range map[string]bool{
			"method": r.Verify("PUT", tc.base, tc.query, tc.consumer, tc.token),
			"path":   r.Verify(tc.method, tc.base+"x", tc.query, tc.consumer, tc.token),
			"query":  r.Verify(tc.method, tc.base, tc.query+"&x", tc.consumer, tc.token),
			"secret": r.Verify(tc.method, tc.base, tc.query, tc.consumer, tc.token+"x"),
		} {
			if wrong {
				t.Errorf("%s: verified with another %s", name, what)
			}
		}
	}
}

// What the SDK signs of its queries: names with empty values, a plus sign as a
// space, values escaped twice unescaped once.
func TestQueries(t *testing.T) {
	for query, want := range map[string]string{
		"":                                "",
		"eq(tags,a%2520b)&sort(+name)":    "eq%28tags%2Ca%2520b%29=&sort%28%20name%29=",
		"&b=2&a=%zz&a=%26&a=1&é=x=y":      "%C3%A9=x%3Dy&a=%25zz&a=%26&a=1&b=2",
		"limit(50)&eq(name,x)&a&limit(5)": "a=&eq%28name%2Cx%29=&limit%285%29=&limit%2850%29=",
	} {
		text, ok := new(Request).text("get", "HTTPS://Example.com:443", query)
		if got := "GET&https%3A%2F%2Fexample.com%2F&" + escape(want); !ok || text != got {
			t.Errorf("%s: %s, want %s", query, text, got)
		}
	}
	if _, ok := new(Request).text("GET", "http://h/", strings.Repeat("a&", maxParams+1)); ok {
		t.Error("a query without bound")
	}
}

func TestParse(t *testing.T) {
	const good = `OAuth oauth_consumer_key="k", oauth_nonce="n", oauth_signature="eA%3D%3D", oauth_signature_method="HMAC-SHA1", oauth_timestamp="5"`
	r, ok, err := Parse(good)
	if err != nil || !ok || r.ConsumerKey != "k" || r.Nonce != "n" || r.Timestamp != 5 || r.Token != "" {
		t.Fatalf("%+v, %v, %v", r, ok, err)
	}
	for header, want := range map[string]error{
		strings.Replace(good, "HMAC-SHA1", "PLAINTEXT", 1):    ErrMethod,
		good + `, oauth_version="2.0"`:                        ErrMethod,
		strings.Replace(good, `"n"`, `""`, 1):                 ErrMissing,
		strings.Replace(good, `"5"`, `"-5"`, 1):               ErrMalformed,
		strings.Replace(good, `"5"`, `"now"`, 1):              ErrMalformed,
		strings.Replace(good, `eA%3D%3D`, `%%`, 1):            ErrMalformed,
		strings.Replace(good, `eA%3D%3D`, `eA`, 1):            ErrMalformed,
		good + `, oauth_nonce="m"`:                            ErrMalformed,
		good + `, `:                                           ErrMalformed,
		good + `, x=y`:                                        ErrMalformed,
		good + `, x="`:                                        ErrMalformed,
		`OAuth `:                                              ErrMalformed,
		good + `, x="` + strings.Repeat("y", maxHeader) + `"`: ErrMalformed,
	} {
		if _, ok, err := Parse(header); !ok || !errors.Is(err, want) {
			t.Errorf("%.80s…: %v, %v, want %v", header, ok, err, want)
		}
	}
	for _, header := range []string{"", "OAuth", "Bearer x", "Basic eA=="} {
		if _, ok, err := Parse(header); ok || err != nil {
			t.Errorf("%q: %v, %v", header, ok, err)
		}
	}
}

// FuzzParse: nothing that is sent makes it fail, and what is signed here is
// verified, whatever it contains.
func FuzzParse(f *testing.F) {
	f.Add(`OAuth oauth_nonce="a%20b", realm="x"`, "a=b&c(d,%20)+", "key&=", "secret")
	f.Fuzz(func(t *testing.T, header, query, key, secret string) {
		if r, _, err := Parse("OAuth " + header); err == nil && r.Verify("GET", "http://h/", query, "no", "no") && secret == "" {
			t.Fatal("verified with a secret that nobody has")
		}
		if key == "" || len(key) > 500 || strings.Count(query, "&") > 500 {
			return
		}
		params := fmt.Sprintf(`OAuth oauth_consumer_key="%s", oauth_nonce="%s", oauth_signature_method="HMAC-SHA1", oauth_timestamp="1"`, escape(key), escape(key))
		r, _, _ := Parse(params + `, oauth_signature="eA%3D%3D"`)
		text, ok := r.text("GET", "http://h/", query)
		if !ok {
			return
		}
		signature := url.QueryEscape(base64.StdEncoding.EncodeToString(sign(text, secret, key)))
		r, ok, err := Parse(params + `, oauth_signature="` + signature + `"`)
		if err != nil || !ok || r.ConsumerKey != key || !r.Verify("GET", "http://h/", query, secret, key) {
			t.Fatalf("%v, %v, %+v", ok, err, r)
		}
		if r.Verify("GET", "http://h/", query, secret+"x", key) {
			t.Fatal("verified with another secret")
		}
	})
}
