package storetest

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"fileshare/store"
)

// backup returns the backup of what the engine has.
func (e *env) backup() []byte {
	e.t.Helper()
	var out bytes.Buffer
	if err := e.Backup(e.ctx(), root, &out); err != nil {
		e.t.Fatal(err)
	}
	return out.Bytes()
}

// restored puts a backup into fresh backends and starts an engine over them.
func restored(t testing.TB, open Pair, archive []byte, o store.Options, how store.RestoreOptions) (*env, store.Restored) {
	t.Helper()
	to := over(t, open, o)
	done, err := store.Restore(to.ctx(), to.backend(), bytes.NewReader(archive), how)
	if err != nil {
		t.Fatal(err)
	}
	to.sound()
	to.boot()
	t.Cleanup(func() { to.Close() })
	return to, done
}

// sound checks that nothing is wrong with records and contents.
func (e *env) sound() {
	e.t.Helper()
	if got, _ := e.found(store.CheckOptions{Deep: true}); len(got) > 0 {
		e.t.Errorf("found %v", got)
	}
}

func testBackup(t *testing.T, open Pair) {
	o := store.Options{Inline: 1000}
	e := start(t, open, o)
	m := e.mixed()
	for _, c := range []store.Caller{alice, link} {
		if err := e.Backup(e.ctx(), c, &bytes.Buffer{}); store.KindOf(err) == 0 {
			t.Errorf("a backup for %q: %v", c.Name, err)
		}
	}
	archive := e.backup()

	// As it was, if nothing was used since.
	same, done := restored(t, open, archive, o, store.RestoreOptions{Keep: true})
	if done.Closed != 0 || done.Lost != 0 || done.Damaged != 0 || done.Blobs < 5 {
		t.Errorf("%+v", done)
	}
	if got, want := same.usage(), e.usage(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	same.has(m)
	same.Close()

	// Else nothing comes back that may have been used.
	to, done := restored(t, open, archive, o, store.RestoreOptions{})
	if done.Closed != 3 || done.Lost != 0 {
		t.Errorf("%+v", done)
	}
	for name, ref := range m.files {
		got, err := to.fetch(alice, ref, 0, int64(len(m.bytes[name])))
		if err != nil || !bytes.Equal(got, m.bytes[name]) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for _, ref := range []store.Ref{m.twice, m.spent, m.limited} {
		_, err := to.Open(to.ctx(), link, ref)
		to.want(err, store.Used, "")
	}
	_, err := to.File(to.ctx(), alice, m.gone)
	to.want(err, store.Expired, "")
	if _, err := to.LoginOf(to.ctx(), "mix", m.login); store.KindOf(err) != store.Unauthenticated {
		t.Errorf("a login came back: %v", err)
	}
	if first, err := to.Once(to.ctx(), "mix", "nonce", time.Hour); first || err != nil {
		t.Errorf("a nonce is new again, %v", err)
	}
	if f := to.upload(nil, store.FileSpec{Sequence: "mix"}); f.Number <= m.numbers+1000 {
		t.Errorf("the next number is %d", f.Number)
	}
	to.append(m.going, 1<<20, goingBytes[1<<20:])
	to.isWhole(m.going, goingBytes, true)
	to.Close()
	to.sound()

	// Not over what is there.
	if _, err := store.Restore(to.ctx(), to.backend(), bytes.NewReader(archive), store.RestoreOptions{}); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("restored over something: %v", err)
	}
}

// meanwhile calls do once, when so many bytes have been written.
type meanwhile struct {
	bytes.Buffer
	after int
	do    func()
}

func (m *meanwhile) Write(p []byte) (int, error) {
	if m.do != nil && m.Len() >= m.after {
		m.do()
		m.do = nil
	}
	return m.Buffer.Write(p)
}

// testBackupMeanwhile: what ends while a backup is made is left out, whole.
func testBackupMeanwhile(t *testing.T, open Pair) {
	o := store.Options{Inline: 1000}
	e := start(t, open, o)
	kept := random(300_000)
	keep := e.upload(kept, store.FileSpec{TTL: new(time.Hour)})
	var gone []*store.File
	for range 6 {
		gone = append(gone, e.upload(random(300_000), store.FileSpec{TTL: new(time.Hour)}), e.upload(random(300), store.FileSpec{TTL: new(time.Hour)}))
	}
	short := e.upload(random(300_000), store.FileSpec{TTL: new(2 * time.Second)})
	out := &meanwhile{after: 1000, do: func() {
		for _, f := range gone {
			if err := e.DeleteFile(e.ctx(), alice, store.Ref{File: f.ID}); err != nil {
				t.Error(err)
			}
		}
		e.purge()
		e.upload(random(300_000), store.FileSpec{}) // is not in the backup
	}}
	if err := e.Backup(e.ctx(), root, out); err != nil {
		t.Fatal(err)
	}
	until(short.Expires)
	to, done := restored(t, open, out.Bytes(), o, store.RestoreOptions{})
	if done.Lost < 6 || done.Expired != 1 || done.Damaged != 0 {
		t.Errorf("%+v", done)
	}
	if got, err := to.fetch(link, store.Ref{File: keep.ID}, 0, 300_000); err != nil || !bytes.Equal(got, kept) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	_, err := to.Open(to.ctx(), link, store.Ref{File: short.ID})
	to.want(err, store.Expired, "")
	for i, f := range gone {
		d, err := to.Open(to.ctx(), link, store.Ref{File: f.ID})
		if err == nil {
			d.Close()
		}
		if i%2 == 1 || i < 6 { // of the others the contents may have been written before
			to.want(err, store.Expired, "")
		}
	}
	page, err := to.Files(to.ctx(), alice, store.Query{})
	if err != nil || len(page.Items) == 0 || len(page.Items) > 7 {
		t.Errorf("%d files, %v", len(page.Items), err)
	}
}

// testBackupDamage: an archive that is cut off, or not what was written, brings back
// nothing wrong, and can be put there again.
func testBackupDamage(t *testing.T, open Pair) {
	o := store.Options{Inline: 1000}
	e := start(t, open, o)
	large, small := random(50_000), random(500)
	f, g := e.upload(large, store.FileSpec{TTL: new(time.Hour)}), e.upload(small, store.FileSpec{TTL: new(time.Hour)})
	archive := e.backup()

	to := over(t, open, o)
	for _, n := range []int{600, 1500, 30_000, 53_000, len(archive) - 3000, len(archive) - 1500} {
		if _, err := store.Restore(to.ctx(), to.backend(), bytes.NewReader(archive[:n]), store.RestoreOptions{}); err == nil {
			t.Errorf("%d bytes of %d are a backup", n, len(archive))
		}
		if n > 600 {
			if _, err := store.New(to.ctx(), to.records, to.blobs, to.o); err == nil {
				t.Fatal("a daemon begins over half a backup")
			}
		}
	}
	if _, err := store.Restore(to.ctx(), to.backend(), bytes.NewReader(e.backup()), store.RestoreOptions{}); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("two backups were mixed: %v", err)
	}
	if _, err := store.Restore(to.ctx(), to.backend(), bytes.NewReader(archive), store.RestoreOptions{Keep: true}); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("two kinds of restoring were mixed: %v", err)
	}
	if _, err := store.Restore(to.ctx(), to.backend(), bytes.NewReader(archive), store.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	to.sound()
	to.boot()
	for id, data := range map[string][]byte{f.ID: large, g.ID: small} {
		if got, err := to.fetch(link, store.Ref{File: id}, 0, int64(len(data))); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	to.Close()

	at := bytes.Index(archive, large[:100])
	bad := slices.Clone(archive)
	bad[at+50] ^= 1
	hurt, done := restored(t, open, bad, o, store.RestoreOptions{})
	if done.Damaged != 1 || done.Lost != 1 {
		t.Errorf("%+v", done)
	}
	_, err := hurt.Open(hurt.ctx(), link, store.Ref{File: f.ID})
	hurt.want(err, store.Expired, "")

	bad = slices.Clone(archive)
	bad[bytes.Index(archive, small[:100])+50] ^= 1
	if _, err := store.Restore(to.ctx(), over(t, open, o).backend(), bytes.NewReader(bad), store.RestoreOptions{}); err == nil {
		t.Error("damaged records were restored")
	}
	for _, junk := range [][]byte{nil, []byte("junk"), random(5000)} {
		if _, err := store.Restore(to.ctx(), over(t, open, o).backend(), bytes.NewReader(junk), store.RestoreOptions{}); err == nil {
			t.Errorf("%d bytes of junk are a backup", len(junk))
		}
	}
}
