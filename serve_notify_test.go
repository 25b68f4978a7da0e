package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"fileshare/api"
	"fileshare/store"
)

// The program tells a webhook what happens, signed, and GET /events the same.
func TestWebhook(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan api.Event, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = verifier.Verify(body, r.Header)
		}
		var e api.Event
		if err == nil {
			err = json.Unmarshal(body, &e)
		}
		if err != nil || e.ID != r.Header.Get("Webhook-Id") {
			t.Errorf("%v: %s", err, body)
		}
		told <- e
	}))
	t.Cleanup(receiver.Close)
	d := e2eStart(t, t.TempDir(), "EVENTS_KEEP=1d", "WEBHOOKS_ALLOW_PRIVATE=true",
		`WEBHOOKS_ENDPOINTS=[{"name":"engine","url":"`+receiver.URL+`","secret":"`+secret+`","events":["file.*"]}]`)
	path := d.put("a.txt", []byte("abc"))
	e := <-told
	if e.Type != "file.uploaded" || "/uploads/"+e.Data.FileID != path || e.Data.Name != "a.txt" || *e.Data.Size != 3 || e.Data.Owner != e2eUser {
		t.Errorf("%+v", e)
	}
	var page api.List[api.Event]
	if err := json.Unmarshal(d.do("GET", "/events", nil).body, &page); err != nil {
		t.Fatal(err)
	}
	if len(page.Items) != 1 || page.Items[0].ID != e.ID || *page.Next != e.ID {
		t.Errorf("%+v", page)
	}
	d.stop()
}

// Each type of events is told of where people look for it.
func TestEventTypesDocumented(t *testing.T) {
	for _, file := range []string{"README.md", "api/openapi.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, typ := range store.EventTypes() {
			if !strings.Contains(string(text), string(typ)) {
				t.Errorf("no %s in %s", typ, file)
			}
		}
	}
}
