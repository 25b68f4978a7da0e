package store

import (
	"bufio"
	"bytes"
	"io"
	"testing"
	"time"
)

// FuzzArchive: what is read out of an archive is what would be written, damaged
// records are errors, and nothing panics.
func FuzzArchive(f *testing.F) {
	file := &fileRec{owner: "a", stored: true, size: 2, runs: []run{{Key{1}, 1, 2, 2}}, created: time.UnixMilli(1_790_000_000_123)}
	piece := piece{from: 7, run: run{Key{2}, 1, 5, 5}, crc: 3}
	var e encoder
	e.bytes(1, piece.run.encode())
	e.uint(2, uint64(piece.crc))
	f.Add(appendFrame(nil, FileRecords, Item{ID: make([]byte, 16), Doc: file.encode(), Due: time.UnixMilli(5)}))
	f.Add(appendFrame(nil, IndexRecords, Item{ID: pieceID(Key{1}, 7), Doc: e}))
	f.Add(appendFrame(appendFrame(nil, MetaRecords, Item{ID: numberID("x"), Doc: []byte{2, 7}}), MetaRecords, Item{ID: markID, Doc: (&mark{role: arriving, id: []byte{1}}).encode()}))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bufio.NewReader(bytes.NewReader(b))
		for {
			c, item, err := readFrame(in)
			if err != nil {
				return
			}
			again, same, err := readFrame(bufio.NewReader(bytes.NewReader(appendFrame(nil, c, item))))
			if err != nil || again != c || !bytes.Equal(same.ID, item.ID) || !bytes.Equal(same.Doc, item.Doc) || !same.Due.Equal(item.Due) {
				t.Fatalf("%s %x %x %v: %s %+v, %v", c, item.ID, item.Doc, item.Due, again, same, err)
			}
			decodeMark(item.Doc)
			content, err := contentOf(c, item)
			if err != nil || content == nil {
				continue
			}
			doc, err := withRuns(c, item.Doc, content.runs)
			if err != nil {
				t.Fatal(err)
			}
			if same, err := contentOf(c, Item{ID: item.ID, Doc: doc}); err != nil || same == nil || len(same.runs) != len(content.runs) || same.crc != content.crc {
				t.Fatalf("%+v became %+v, %v", content, same, err)
			}
		}
	})
}

// TestFrames: a record that is cut off is an error, the end between two is not.
func TestFrames(t *testing.T) {
	b := appendFrame(nil, UseRecords, Item{ID: []byte("id"), Doc: make([]byte, 300)})
	for n := range len(b) + 1 {
		_, _, err := readFrame(bufio.NewReader(bytes.NewReader(b[:n])))
		if (err == nil) != (n == len(b)) || (err == io.EOF) != (n == 0) {
			t.Errorf("%d bytes of %d: %v", n, len(b), err)
		}
	}
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
	if _, _, err := readFrame(bufio.NewReader(bytes.NewReader(huge))); err == nil {
		t.Error("a record of 2^63 bytes")
	}
}
