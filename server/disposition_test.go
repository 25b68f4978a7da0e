package server

import "testing"

func TestDisposition(t *testing.T) {
	for name, want := range map[string]string{
		"":           `attachment`,
		"note.txt":   `attachment; filename="note.txt"`,
		`a"b\c.txt`:  `attachment; filename="a_b_c.txt"; filename*=UTF-8''a%22b%5Cc.txt`,
		"naïve.txt":  `attachment; filename="na_ve.txt"; filename*=UTF-8''na%C3%AFve.txt`,
		"100%.txt":   `attachment; filename="100%.txt"; filename*=UTF-8''100%25.txt`,
		"a\r\nb.txt": `attachment; filename="a__b.txt"; filename*=UTF-8''a%0D%0Ab.txt`,
	} {
		if got := disposition(false, name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}
