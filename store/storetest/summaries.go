package storetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"fileshare/store"
)

// summarize is a policy that tells the owner what a summary tells.
func summarize(a *store.About) ([]store.Notice, error) {
	if a.Event.Type != store.TransferSummarized {
		return nil, nil
	}
	past, err := a.Past(100)
	if err != nil {
		return nil, err
	}
	l := store.Letter{Kind: fmt.Sprintf("kept %v", a.Kept()), Since: a.Since}
	for _, e := range past {
		if e.Type == store.FileDownloaded || e.Type == store.FileDeleted {
			l.Files = append(l.Files, store.LetterFile{Name: string(e.Type)})
		}
	}
	return []store.Notice{{To: store.Recipient{Channel: "mail", Name: a.Event.Owner}, Letter: l}}, nil
}

// Who wants to know from time to time what became of a session is told: after
// each period once, whoever purges, and of each event once.
func testSummaries(t *testing.T, open Pair) {
	e := start(t, open, store.Options{EventKeep: time.Hour, Notices: summarize})
	make := func(every time.Duration) (*store.Session, *store.File) {
		t.Helper()
		s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{Summaries: &every})
		if err != nil {
			t.Fatal(err)
		}
		return s, e.file(s.ID, []byte("abc"))
	}
	complete := func(s *store.Session) *store.Session {
		t.Helper()
		s, err := e.CompleteSession(e.ctx(), alice, s.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	_, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{Summaries: new(time.Millisecond)})
	e.want(err, store.Invalid, "summaries must be at least a second apart")

	s, f := make(time.Second)
	time.Sleep(1100 * time.Millisecond)
	e.purge()
	if got := e.letters(); len(got) != 0 {
		t.Errorf("told %q of a session that is not complete", got)
	}
	done := complete(s)
	complete(s) // said again: no other beginning
	share, err := e.CreateShares(e.ctx(), alice, s.ID, []store.ShareSpec{{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.fetch(store.Caller{Share: share[0].ID}, store.Ref{Session: s.ID, File: f.ID}, 0, 3); err != nil {
		t.Fatal(err)
	}
	e.Close() // writes the tally
	e.boot()
	// Several purge all the time, until all of these are told.
	to := "transfer.summarized " + alice.Name
	counts, told, gone := map[string]int{}, 0, false
	for until := time.Now().Add(time.Minute); counts[to] == 0 || counts[to+": file.deleted"] == 0; time.Sleep(20 * time.Millisecond) {
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { e.purge() })
		}
		both.Wait()
		for _, l := range e.letters() {
			counts[l]++
			told++
		}
		if most := int(time.Since(done.Completed) / time.Second); told > most {
			t.Fatalf("told %d times after %d periods", told, most)
		}
		if counts[to] > 0 && !gone {
			gone = true
			if err := e.DeleteFile(e.ctx(), alice, store.Ref{Session: s.ID, File: f.ID}); err != nil {
				t.Fatal(err)
			}
		}
		if time.Now().After(until) {
			t.Fatalf("told only %v", counts)
		}
	}
	if counts[to+": file.downloaded"] != 1 || counts[to+": file.deleted"] != 1 {
		t.Errorf("told of each once? %v", counts)
	}

	// He can have enough of it, or change his mind; and its end is the end of it.
	if _, err := e.PatchSession(e.ctx(), alice, s.ID, store.SessionSpec{Summaries: new(time.Duration)}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond)
	e.purge()
	if got := e.letters(); len(got) != 0 {
		t.Errorf("told %q, and nothing was to be told any more", got)
	}
	if _, err := e.PatchSession(e.ctx(), alice, s.ID, store.SessionSpec{Summaries: new(time.Second)}); err != nil {
		t.Fatal(err)
	}
	e.until("it is told again", func() bool { e.purge(); return len(e.letters()) > 0 })
	if _, err := e.PatchSession(e.ctx(), alice, s.ID, store.SessionSpec{TTL: new(time.Second)}); err != nil {
		t.Fatal(err)
	}
	e.until("it ends", func() bool { return e.purge().Sessions > 0 })
	e.letters()
	time.Sleep(1100 * time.Millisecond)
	e.purge()
	if got := e.letters(); len(got) != 0 {
		t.Errorf("told %q of what has ended", got)
	}
	// What is not kept is not told, and that is said.
	e.Close()
	e.o.EventKeep = 0
	e.boot()
	s, _ = make(time.Second)
	complete(s)
	time.Sleep(1100 * time.Millisecond)
	e.purge()
	all, err := e.Claim(e.ctx(), 10, time.Minute)
	if err != nil || len(all) != 1 || all[0].Letter.Kind != "kept false" || !strings.HasPrefix(string(all[0].Event.Type), "transfer.") {
		t.Errorf("%+v, %v", all, err)
	}
}

// until waits for what is to come, a minute at most.
func (e *env) until(what string, come func() bool) {
	e.t.Helper()
	for end := time.Now().Add(time.Minute); !come(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			e.t.Fatal(what + ": not within a minute")
		}
	}
}
