package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestRows runs every row once, with sizes that tell nothing.
func TestRows(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, quickSizes(), ""); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, r := range rows() {
		if !strings.Contains(out.String(), r.name+": "+r.about+"\n  ") {
			t.Errorf("nothing of %s in\n%s", r.name, out.String())
		}
	}
	page, err := os.ReadFile("../../../deploy/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows() {
		if !bytes.Contains(page, []byte("`"+r.name+"`")) {
			t.Errorf("deploy/architecture.md says nothing of %s", r.name)
		}
	}
	if err := run(t.Context(), &out, quickSizes(), "("); err == nil {
		t.Error("a pattern that is none is accepted")
	}
}
