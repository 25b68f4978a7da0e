package bolt

import (
	"os"
	"testing"
)

// TestWriteAhead looks at which blocks of the log are written and not only
// reserved: those behind a small batch, which the next batches go to.
func TestWriteAhead(t *testing.T) {
	for _, c := range []struct {
		name string
		doc  int
		want int64 // bytes behind the batch, at least
	}{
		{"small", 1 << 10, aheadStep - 4096},
		{"large", aheadBelow, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := openIn(t, t.TempDir(), Options{})
			if err := put(t.Context(), db, "a", make([]byte, c.doc)); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(db.logName(1))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			const seekHole = 4 // SEEK_HOLE of lseek(2): what was only reserved is one
			hole, err := f.Seek(0, seekHole)
			if err != nil {
				t.Fatal(err)
			}
			end := db.version.Load().active.end.offset
			if got := hole - end; got < c.want || got > c.want+8192 {
				t.Errorf("%d bytes are written behind the batch, expected about %d", got, c.want)
			}
		})
	}
}
