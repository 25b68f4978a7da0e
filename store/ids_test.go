package store

import (
	"bytes"
	"regexp"
	"testing"
	"time"
)

func testCodec(t testing.TB) *idCodec {
	c, err := newIDCodec([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIDs(t *testing.T) {
	c := testCodec(t)
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	begin := time.Now()
	var last Key
	prefixes := map[string]bool{}
	for i := range 20_000 {
		k := newKey(begin.Add(time.Duration(i) * time.Millisecond))
		if bytes.Compare(k[:], last[:]) <= 0 {
			t.Fatalf("key %d is not above the one before", i)
		}
		last = k
		id := c.id(k)
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("bad or repeated id %s", id)
		}
		seen[id] = true
		prefixes[id[:3]] = true
		back, ok := c.key(id)
		if !ok || back != k {
			t.Fatalf("%s gives %s, want %s", id, back, k)
		}
	}
	if len(prefixes) < 4000 { // of 4096: ids do not show the order of their making
		t.Errorf("ids of one moment begin with only %d prefixes", len(prefixes))
	}
	other, err := newIDCodec(bytes.Repeat([]byte{7}, 16))
	if err != nil {
		t.Fatal(err)
	}
	if other.id(last) == c.id(last) {
		t.Error("the secret has no effect")
	}
}

func FuzzID(f *testing.F) {
	f.Add("88e5905d-5d96-4750-ab3d-77a1ed26f569")
	f.Add("88E5905D-5D96-4750-AB3D-77A1ED26F569")
	f.Add("../../../../etc/passwd")
	c := testCodec(f)
	f.Fuzz(func(t *testing.T, id string) {
		k, ok := c.key(id)
		if !ok {
			return
		}
		if c.id(k) != id || k[15]&0x3f != 0 {
			t.Errorf("%q has another spelling: %s", id, c.id(k))
		}
	})
}

func BenchmarkID(b *testing.B) {
	c := testCodec(b)
	k := newKey(time.Now())
	for b.Loop() {
		c.id(k)
	}
}
