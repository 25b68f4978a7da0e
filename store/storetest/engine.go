package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"time"

	"fileshare/store"
)

// Pair opens a fresh pair of backends that is closed when the test ends.
type Pair func(t testing.TB) (store.Records, store.Blobs)

// Engine runs the engine's conformance suite over a pair of backends.
func Engine(t *testing.T, open Pair) {
	for name, run := range map[string]func(*testing.T, Pair){
		"contents":       testContents,
		"bad bodies":     testBadBodies,
		"expiry":         testExpiry,
		"sessions":       testSessions,
		"session end":    testSessionEnd,
		"delete":         testDelete,
		"patch":          testPatch,
		"lists":          testLists,
		"list bounds":    testListBounds,
		"walk":           testWalk,
		"tags":           testTags,
		"once":           testOnce,
		"grants":         testGrants,
		"managers":       testManagers,
		"logins":         testLogins,
		"settings":       testSettings,
		"used grant":     testUsedGrant,
		"login races":    testLoginRaces,
		"login faults":   testIdentityFaults,
		"permissions":    testPermissions,
		"quota":          testQuota,
		"space":          testSpace,
		"one use":        testOneUse,
		"n uses":         testManyUses,
		"pieces":         testPieces,
		"broken":         testBroken,
		"restart":        testRestart,
		"lease":          testLease,
		"reset":          testReset,
		"burn":           testBurn,
		"used upload":    testUsedUpload,
		"tally":          testTally,
		"sweep":          testSweep,
		"sweep shared":   testSweepShared,
		"faults":         testFaults,
		"many to purge":  testManyToPurge,
		"locate":         testLocate,
		"signed":         testSigned,
		"members":        testMembers,
		"store new":      testStoreNew,
		"attributes":     testAttrs,
		"numbers":        testNumbers,
		"concurrent put": testStoreRace,
		"append":         testAppend,
		"append told":    testAppendTold,
		"append refused": testAppendRefused,
		"append endless": testAppendEndless,
		"append broken":  testAppendBroken,
		"unfinished end": testUnfinishedEnd,
		"positions":      testPositions,
		"hashed ahead":   testHashedAhead,
		"concat":         testConcat,
		"concatRace":     testConcatOvertaken,
		"append faults":  testUnfinishedFaults,
		"shares":         testShares,
		"share rules":    testShareRules,
		"append model":   testUnfinishedModel,
		"append race":    testAppendRace,
		"append races":   testUnfinishedRaces,
		"joined":         testJoined,
		"concat faults":  testConcatFaults,
		"events":         testEvents,
		"outbox":         testOutbox,
		"event faults":   testEventFaults,
		"notices":        testNotices,
		"summaries":      testSummaries,
		"ended":          testEnded,
		"not kept":       testNotKept,
		"ended many":     testEndedMany,
		"audit log":      testAuditLog,
		"invitations":    testInvitations,
		"invited":        testInvited,
		"invited limits": testInvitedLimits,
		"invited races":  testInvitedRaces,
		"invited end":    testInvitationEnd,
		"invited faults": testInvitationFaults,
		"label":          testLabel,
		"label foreign":  testLabelForeign,
		"label missing":  testLabelMissing,
		"label orphaned": testLabelOrphaned,
		"label faults":   testLabelFaults,
		"label race":     testLabelRace,
		"label copies":   testLabelCopies,
		"label at rest":  testLabelAtRest,
		"move":           testMove,
		"move faults":    testMoveFaults,
		"move damage":    testMoveDamage,
		"move cut":       testMoveCut,
		"check":          testCheck,
		"check leaves":   testCheckLeft,
		"check foreign":  testCheckForeign,
		"check beside":   testCheckBeside,
		"backup":         testBackup,
		"backup while":   testBackupMeanwhile,
		"backup damage":  testBackupDamage,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, open)
		})
	}
}

var (
	alice = store.Caller{Name: "alice@example.com"}
	bob   = store.Caller{Name: "bob"}
	root  = store.Caller{Name: "root", Admin: true}
	link  = store.Caller{}
)

// env is an engine under test with its backends.
type env struct {
	*store.Store
	t       testing.TB
	records store.Records
	blobs   store.Blobs
	o       store.Options
}

func start(t testing.TB, open Pair, o store.Options) *env {
	t.Helper()
	records, blobs := open(t)
	e := &env{t: t, records: records, blobs: blobs, o: o}
	e.boot()
	t.Cleanup(func() { e.Close() })
	return e
}

func (e *env) boot() {
	e.t.Helper()
	e.o.Exclusive = true
	s, err := store.New(context.Background(), e.records, e.blobs, e.o)
	if err != nil {
		e.t.Fatal(err)
	}
	e.Store = s
}

// reboot begins anew without a proper end, as after kill -9.
func (e *env) reboot() {
	e.t.Helper()
	old := e.Store
	e.boot()
	e.t.Cleanup(func() { old.Close() })
}

func (e *env) upload(data []byte, spec store.FileSpec) *store.File {
	e.t.Helper()
	c, err := e.Receive(e.ctx(), alice, bytes.NewReader(data), store.Incoming{Size: -1})
	if err != nil {
		e.t.Fatal(err)
	}
	f, err := e.CreateUpload(e.ctx(), alice, spec, c)
	if err != nil {
		e.t.Fatal(err)
	}
	return f
}

// token makes a session with a file of that content and a token for it.
func (e *env) token(data []byte, max int64) (store.Ref, *store.File) {
	e.t.Helper()
	s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{})
	if err != nil {
		e.t.Fatal(err)
	}
	f := e.file(s.ID, data)
	tok, err := e.CreateToken(e.ctx(), alice, store.Ref{Session: s.ID, File: f.ID}, store.TokenSpec{MaxDownloads: &max})
	if err != nil {
		e.t.Fatal(err)
	}
	return store.Ref{Session: s.ID, File: f.ID, Token: tok.ID}, f
}

func (e *env) file(session string, data []byte) *store.File {
	e.t.Helper()
	return e.numberedFile(session, "", data)
}

// numberedFile is file with a number of a sequence, if there is one.
func (e *env) numberedFile(session, sequence string, data []byte) *store.File {
	e.t.Helper()
	f, err := e.CreateFile(e.ctx(), alice, session, store.FileSpec{Name: new("a.txt"), Sequence: sequence})
	if err != nil {
		e.t.Fatal(err)
	}
	c, err := e.Receive(e.ctx(), alice, bytes.NewReader(data), store.Incoming{Size: int64(len(data))})
	if err != nil {
		e.t.Fatal(err)
	}
	f, err = e.StoreFile(e.ctx(), alice, store.Ref{Session: session, File: f.ID}, store.FileSpec{}, c)
	if err != nil {
		e.t.Fatal(err)
	}
	return f
}

func (e *env) ctx() context.Context { return context.Background() }

// fetch downloads [from, to) as a server would and tells how it ended.
func (e *env) fetch(c store.Caller, ref store.Ref, from, to int64) ([]byte, error) {
	d, err := e.Open(e.ctx(), c, ref)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	spans := []store.Span{{From: from, To: to}}
	if err := d.Reserve(e.ctx(), spans); err != nil {
		return nil, err
	}
	if _, err := d.Seek(from, io.SeekStart); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if _, err := d.SendTo(&b, to-from); err != nil {
		return nil, err
	}
	return b.Bytes(), d.Settle(e.ctx(), spans, nil)
}

func (e *env) want(err error, k store.Kind, message string) {
	e.t.Helper()
	var refused *store.Error
	if !errors.As(err, &refused) || refused.Kind != k || message != "" && refused.Message != message {
		e.t.Errorf("got %v, want %v %q", err, k, message)
	}
}

func (e *env) purge() store.PurgeResult {
	e.t.Helper()
	r, err := e.Purge(e.ctx())
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

// labelKey is the blob that says whose the contents are. It is a promise: another
// version would not find it under another name.
const labelKey = "store/id"

// leftBlobs lists the contents that lie in the blobs.
func (e *env) leftBlobs() []string {
	e.t.Helper()
	keys := []string{}
	for info, err := range e.blobs.List(e.ctx(), store.AllShards) {
		if err != nil {
			e.t.Fatal(err)
		}
		if info.Key != labelKey {
			keys = append(keys, info.Key)
		}
	}
	return keys
}

// leftRecords counts the records of a collection, without the lists of events.
func (e *env) leftRecords(in store.Collection) (n int) {
	e.t.Helper()
	err := e.records.View(e.ctx(), func(tx store.Tx) error {
		n = 0
		for item, err := range tx.Scan(in, nil, nil) {
			if err != nil {
				return err
			}
			if in == store.IndexRecords && item.ID[0] == 'v' && !item.Due.IsZero() {
				continue // the list of a session's events lasts as long as these
			}
			n++
		}
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return n
}

// empty checks that nothing of any file is left but tombstones.
func (e *env) empty() {
	e.t.Helper()
	for _, in := range []store.Collection{store.ContentRecords, store.IndexRecords, store.UseRecords, store.TokenRecords, store.TrashRecords, store.UsageRecords} {
		if n := e.leftRecords(in); n != 0 {
			e.t.Errorf("%d records left in %s", n, in)
		}
	}
	if keys := e.leftBlobs(); len(keys) > 0 {
		e.t.Errorf("blobs left: %v", keys)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// until waits for the wall clock.
func until(t time.Time) { time.Sleep(time.Until(t) + 2*time.Millisecond) }

func testContents(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 1000})
	for _, n := range []int{0, 1, 999, 1000, 1001, 1002, 4096, 64<<10 - 1, 64 << 10, 64<<10 + 1, 200_000, 1 << 20, 3<<20 + 17, 9 << 20} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprint(n, known), func(t *testing.T) {
				data := random(n)
				size := int64(-1)
				if known {
					size = int64(n)
				}
				sum := sha256.Sum256(data)
				c, err := e.Receive(e.ctx(), alice, io.MultiReader(bytes.NewReader(data[:n/2]), bytes.NewReader(data[n/2:])), store.Incoming{Size: size, SHA256: sum[:]})
				if err != nil {
					t.Fatal(err)
				}
				f, err := e.CreateUpload(e.ctx(), alice, store.FileSpec{Name: new("x.bin")}, c)
				if err != nil {
					t.Fatal(err)
				}
				if f.Size != int64(n) || !bytes.Equal(f.SHA256, sum[:]) || f.CRC32 != crc32.ChecksumIEEE(data) || f.State != store.StateUploaded || f.Owner != alice.Name {
					t.Errorf("got %+v", f)
				}
				ref := store.Ref{File: f.ID}
				got, err := e.fetch(link, ref, 0, int64(n))
				if err != nil || !bytes.Equal(got, data) {
					t.Fatalf("fetch: %d bytes, %v", len(got), err)
				}
				if n > 10 {
					got, err := e.fetch(link, ref, int64(n/3), int64(n-2))
					if err != nil || !bytes.Equal(got, data[n/3:n-2]) {
						t.Fatalf("fetch a part: %d bytes, %v", len(got), err)
					}
				}
				d, err := e.Open(e.ctx(), link, ref)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, data) {
					t.Fatalf("read: %d bytes, %v", len(got), err)
				}
			})
		}
	}
	files, size, err := e.Usage(e.ctx())
	if err != nil || files != 28 || size == 0 {
		t.Errorf("usage: %d files, %d bytes, %v", files, size, err)
	}
}

type failing struct {
	n   int
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	if f.n <= 0 {
		return 0, f.err
	}
	n := min(len(p), f.n)
	f.n -= n
	return n, nil
}

func testBadBodies(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 1000, FileSize: 100_000})
	broken := errors.New("line broken")
	for _, n := range []int{0, 500, 5000, 90_000} {
		for _, size := range []int64{-1, 95_000} {
			_, err := e.Receive(e.ctx(), alice, &failing{n, broken}, store.Incoming{Size: size})
			if !errors.Is(err, broken) || store.KindOf(err) != 0 {
				t.Errorf("%d of %d: got %v", n, size, err)
			}
			_, err = e.Receive(e.ctx(), alice, &failing{n, io.EOF}, store.Incoming{Size: int64(n) + 1})
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("short body of %d: got %v", n, err)
			}
		}
		_, err := e.Receive(e.ctx(), alice, &failing{n, io.EOF}, store.Incoming{Size: -1, SHA256: make([]byte, 32)})
		e.want(err, store.Mismatch, "")
	}
	_, err := e.Receive(e.ctx(), alice, &failing{200_000, io.EOF}, store.Incoming{Size: -1})
	e.want(err, store.TooLarge, "")
	_, err = e.Receive(e.ctx(), alice, &failing{0, broken}, store.Incoming{Size: 200_000})
	e.want(err, store.TooLarge, "")
	for _, n := range []int{10, 10_000} { // a bad field after the content
		c, err := e.Receive(e.ctx(), alice, &failing{n, io.EOF}, store.Incoming{Size: -1})
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.CreateUpload(e.ctx(), alice, store.FileSpec{TTL: new(time.Duration(0))}, c)
		e.want(err, store.Invalid, "")
		c.Discard()
		c.Discard()
	}
	e.empty()
}

func testExpiry(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 1000, Tombstones: time.Second})
	var refs []store.Ref
	var last *store.File
	for _, n := range []int{10, 5000} {
		last = e.upload(random(n), store.FileSpec{TTL: new(time.Second), Tags: &[]string{"x"}})
		refs = append(refs, store.Ref{File: last.ID})
	}
	keep := e.upload(random(10), store.FileSpec{})
	until(last.Expires)
	gone := func() {
		t.Helper()
		for _, ref := range refs {
			_, err := e.Open(e.ctx(), link, ref)
			e.want(err, store.Expired, "upload expired")
			_, err = e.File(e.ctx(), alice, ref)
			e.want(err, store.Expired, "upload expired")
			_, err = e.PatchFile(e.ctx(), alice, ref, store.FileSpec{TTL: new(time.Hour)})
			e.want(err, store.Expired, "upload expired")
		}
	}
	gone()
	if r := e.purge(); r.Files != 2 || r.Bytes != 5010 || r.Blobs != 1 || r.Lag <= 0 {
		t.Errorf("purge: %+v", r)
	}
	gone()
	if keys := e.leftBlobs(); len(keys) > 0 {
		t.Errorf("blobs left: %v", keys)
	}
	until(time.Now().Add(time.Second))
	if r := e.purge(); r.Tombstones != 2 {
		t.Errorf("purge of tombstones: %+v", r)
	}
	for _, ref := range refs {
		_, err := e.Open(e.ctx(), link, ref)
		e.want(err, store.NotFound, "upload not found")
	}
	if err := e.DeleteFile(e.ctx(), alice, store.Ref{File: keep.ID}); err != nil {
		t.Error(err)
	}
	e.empty()
}

func testSessions(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{Name: new("talk 1/2 \u202e"), TTL: new(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "talk 1/2" {
		t.Errorf("%q", s.Name)
	}
	f, err := e.CreateFile(e.ctx(), alice, s.ID, store.FileSpec{Name: new("../b.txt"), Size: new(int64(5))})
	if err != nil {
		t.Fatal(err)
	}
	if f.State != store.StateNew || f.Name != "b.txt" || f.OriginalName != "../b.txt" || f.Size != 5 || f.Session != s.ID || !f.Expires.Equal(s.Expires) {
		t.Errorf("got %+v", f)
	}
	ref := store.Ref{Session: s.ID, File: f.ID}
	_, err = e.Open(e.ctx(), alice, ref)
	e.want(err, store.Conflict, "the file has no content yet")
	_, err = e.CreateToken(e.ctx(), alice, ref, store.TokenSpec{})
	e.want(err, store.Conflict, "the file has no content yet")
	_, err = e.File(e.ctx(), alice, store.Ref{File: f.ID})
	e.want(err, store.NotFound, "upload not found")
	c, err := e.Receive(e.ctx(), alice, strings.NewReader("hello"), store.Incoming{Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	if f, err = e.StoreFile(e.ctx(), alice, ref, store.FileSpec{}, c); err != nil {
		t.Fatal(err)
	}
	if f.State != store.StateUploaded || f.Size != 5 || !strings.HasPrefix(f.Type, "text/plain") {
		t.Errorf("got %+v", f)
	}
	e.want(e.MayStore(e.ctx(), alice, ref, 1), store.Conflict, "the file has its content already")
	tok, err := e.CreateToken(e.ctx(), alice, ref, store.TokenSpec{})
	if err != nil {
		t.Fatal(err)
	}
	if tok.MaxDownloads != 1 || tok.State != store.StateNew || tok.File != f.ID || tok.Session != s.ID {
		t.Errorf("got %+v", tok)
	}
	ref.Token = tok.ID
	if got, err := e.fetch(link, ref, 0, 5); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	_, err = e.fetch(link, ref, 0, 5)
	e.want(err, store.Used, "token used")
	page, err := e.Tokens(e.ctx(), alice, ref, store.Query{})
	if err != nil || len(page.Items) != 1 || page.Items[0].State != store.StateDownloaded || page.Items[0].Downloads != 1 {
		t.Errorf("tokens: %+v, %v", page.Items, err)
	}
	if err := e.DeleteToken(e.ctx(), alice, ref); err != nil {
		t.Error(err)
	}
	_, err = e.fetch(link, ref, 0, 5)
	e.want(err, store.NotFound, "token not found")
	if s, err = e.PatchSession(e.ctx(), alice, s.ID, store.SessionSpec{TTL: new(2 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if f, err = e.File(e.ctx(), alice, ref); err != nil || !f.Expires.Equal(s.Expires) {
		t.Errorf("the file did not follow its session: %+v, %v", f, err)
	}
	if err := e.DeleteSession(e.ctx(), alice, s.ID); err != nil {
		t.Fatal(err)
	}
	_, err = e.File(e.ctx(), alice, ref)
	e.want(err, store.NotFound, "session not found")
	e.purge()
	_, err = e.Session(e.ctx(), alice, s.ID)
	e.want(err, store.NotFound, "session not found")
	e.empty()
	if n := e.leftRecords(store.SessionRecords) + e.leftRecords(store.FileRecords); n != 0 {
		t.Errorf("%d records left of a deleted session", n)
	}
}

func testSessionEnd(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 100})
	s, err := e.CreateSession(e.ctx(), alice, store.SessionSpec{TTL: new(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	var ref store.Ref
	for i := range 3 {
		f := e.file(s.ID, random(50+100*i))
		ref = store.Ref{Session: s.ID, File: f.ID}
		tok, err := e.CreateToken(e.ctx(), alice, ref, store.TokenSpec{})
		if err != nil {
			t.Fatal(err)
		}
		ref.Token = tok.ID
	}
	until(s.Expires)
	for range 2 {
		_, err = e.Session(e.ctx(), alice, s.ID)
		e.want(err, store.Expired, "session expired")
		_, err = e.Open(e.ctx(), link, ref)
		e.want(err, store.Expired, "session expired")
		_, err = e.CreateFile(e.ctx(), alice, s.ID, store.FileSpec{})
		e.want(err, store.Expired, "session expired")
		_, err = e.Files(e.ctx(), alice, store.Query{Session: s.ID})
		e.want(err, store.Expired, "session expired")
		e.purge()
	}
	e.empty()
}

func testDelete(t *testing.T, open Pair) {
	e := start(t, open, store.Options{Inline: 100})
	for _, n := range []int{10, 1000} {
		f := e.upload(random(n), store.FileSpec{Tags: &[]string{"a", "b"}})
		ref := store.Ref{File: f.ID}
		for range 250 { // more than one step removes
			if _, err := e.CreateToken(e.ctx(), alice, ref, store.TokenSpec{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.DeleteFile(e.ctx(), alice, ref); err != nil {
			t.Fatal(err)
		}
		_, err := e.Open(e.ctx(), link, ref)
		e.want(err, store.NotFound, "upload not found")
		e.want(e.DeleteFile(e.ctx(), alice, ref), store.NotFound, "upload not found")
	}
	e.purge()
	e.empty()
	if n := e.leftRecords(store.FileRecords); n != 0 {
		t.Errorf("%d records left of deleted files", n)
	}
}

func testPatch(t *testing.T, open Pair) {
	e := start(t, open, store.Options{})
	f := e.upload([]byte("x"), store.FileSpec{Name: new("old.txt"), Tags: &[]string{"a", "b"}})
	ref := store.Ref{File: f.ID}
	g, err := e.PatchFile(e.ctx(), alice, ref, store.FileSpec{Name: new("new.txt"), TTL: new(3 * time.Hour), Tags: &[]string{"b", "c"}, MaxDownloads: new(int64(2))})
	if err != nil {
		t.Fatal(err)
	}
	if g.Name != "new.txt" || g.OriginalName != "old.txt" || g.TTL != 3*time.Hour || g.MaxDownloads != 2 || fmt.Sprint(g.Tags) != "[b c]" || g.Expires.Before(f.Expires.Add(time.Hour)) {
		t.Errorf("got %+v", g)
	}
	for tag, n := range map[string]int{"a": 0, "b": 1, "c": 1} {
		page, err := e.Files(e.ctx(), alice, store.Query{Tag: tag})
		if err != nil || len(page.Items) != n {
			t.Errorf("tag %s: %d items, %v", tag, len(page.Items), err)
		}
	}
	_, err = e.PatchFile(e.ctx(), alice, ref, store.FileSpec{TTL: new(365 * 24 * time.Hour)})
	e.want(err, store.Invalid, "")
	_, err = e.PatchFile(e.ctx(), alice, ref, store.FileSpec{MaxDownloads: new(int64(-1))})
	e.want(err, store.Invalid, "")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
