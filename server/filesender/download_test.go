package filesender

import "testing"

// The plain name comes first and has nothing at which a client splits; the other
// has every mark escaped that RFC 8187 §3.2.1 does not allow.
func TestDisposition(t *testing.T) {
	for path, want := range map[string]string{
		"tree/a.txt":        `attachment; filename="a.txt"; filename*=UTF-8''a.txt`,
		"größe 1.bin":       `attachment; filename="größe 1.bin"; filename*=UTF-8''gr%C3%B6%C3%9Fe%201.bin`,
		`a="b";c\d`:         `attachment; filename="a__b__c_d"; filename*=UTF-8''a%3D%22b%22%3Bc%5Cd`,
		"x/1+1 @ 50%:(y)&z": `attachment; filename="1+1 @ 50%:(y)&z"; filename*=UTF-8''1%2B1%20%40%2050%25%3A%28y%29%26z`,
	} {
		if got := disposition(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
