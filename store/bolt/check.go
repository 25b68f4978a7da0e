package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"

	"golang.org/x/sys/unix"
)

// After a crash bbolt scans the whole tree for its free pages, in a goroutine
// of its own, and panics there over anything malformed: nobody can recover
// that. checkTree walks the tree first, by the rules of bbolt's file format
// (version 2, native byte order), and touches nothing outside the file.

const (
	metaSize       = 64
	pageHeaderSize = 16
	elementSize    = 16 // of branch and of leaf pages
	bucketSize     = 16
	branchPage     = 0x01
	leafPage       = 0x02
	freelistPage   = 0x10
	bucketLeaf     = 0x01
	noFreelist     = ^uint64(0)
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	maxDepth       = 64
)

type meta struct {
	pageSize                    uint32
	root, freelist, pages, txid uint64
}

// treeCheck is one walk.
type treeCheck struct {
	b    []byte // the file
	meta meta
	seen []uint64 // bitmap of pages
}

// checkTree returns an error that wraps [ErrDamaged] if bbolt would stumble.
func checkTree(f *os.File, size int64) error {
	if size < 2*4096 {
		return fmt.Errorf("%w: only %d bytes", ErrDamaged, size)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map: %w", err)
	}
	defer unix.Munmap(b)
	c := treeCheck{b: b}
	if c.meta, err = newestMeta(b); err != nil {
		return err
	}
	if c.meta.pages > uint64(size)/uint64(c.meta.pageSize) {
		return fmt.Errorf("%w: truncated: %d bytes, %d pages", ErrDamaged, size, c.meta.pages)
	}
	if c.meta.freelist != noFreelist {
		// Closed in order: no scan will be made, and pages are checked as
		// they are used. The list itself must be one.
		return c.freelist()
	}
	c.seen = make([]uint64, c.meta.pages/64+1)
	return c.page(c.meta.root, 0)
}

func newestMeta(b []byte) (newest meta, err error) {
	found := false
	// The second one lies at the page size, which the first one tells if it
	// is whole; else it is this machine's.
	second := os.Getpagesize()
	if m, ok := readMeta(b); ok {
		second = int(m.pageSize)
	}
	for _, at := range []int{0, second} {
		if at+pageHeaderSize+metaSize > len(b) {
			continue
		}
		if m, ok := readMeta(b[at:]); ok && (!found || m.txid > newest.txid) {
			found, newest = true, m
		}
	}
	if !found {
		return newest, fmt.Errorf("%w: no valid head, or not a database of this kind", ErrDamaged)
	}
	return newest, nil
}

func readMeta(page []byte) (meta, bool) {
	b := page[pageHeaderSize:][:metaSize]
	u32, u64 := binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
	h := fnv.New64a()
	h.Write(b[:metaSize-8])
	m := meta{pageSize: u32(b[8:]), root: u64(b[16:]), freelist: u64(b[32:]), pages: u64(b[40:]), txid: u64(b[48:])}
	ok := u32(b) == boltMagic && u32(b[4:]) == boltVersion && u64(b[56:]) == h.Sum64() && m.pageSize >= 1024
	return m, ok
}

// span returns a page with its overflow.
func (c *treeCheck) span(id uint64) (p []byte, flags, count uint16, n uint64, err error) {
	if id < 2 || id >= c.meta.pages {
		return nil, 0, 0, 0, fmt.Errorf("%w: page %d of %d", ErrDamaged, id, c.meta.pages)
	}
	size := uint64(c.meta.pageSize)
	p = c.b[id*size:]
	n = 1 + uint64(binary.NativeEndian.Uint32(p[12:]))
	if got := binary.NativeEndian.Uint64(p); got != id || id+n > c.meta.pages {
		return nil, 0, 0, 0, fmt.Errorf("%w: page %d says it is %d, %d pages long", ErrDamaged, id, got, n)
	}
	return p[:n*size], binary.NativeEndian.Uint16(p[8:]), binary.NativeEndian.Uint16(p[10:]), n, nil
}

func (c *treeCheck) freelist() error {
	p, flags, count, _, err := c.span(c.meta.freelist)
	if err != nil {
		return err
	}
	ids, n := p[pageHeaderSize:], uint64(count)
	if count == 0xFFFF { // the count did not fit and stands before the ids
		n, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if flags != freelistPage || n > uint64(len(ids))/8 {
		return fmt.Errorf("%w: free list on page %d", ErrDamaged, c.meta.freelist)
	}
	for i := range n {
		if id := binary.NativeEndian.Uint64(ids[8*i:]); id < 2 || id >= c.meta.pages {
			return fmt.Errorf("%w: free list has page %d of %d", ErrDamaged, id, c.meta.pages)
		}
	}
	return nil
}

// page walks a tree from its root.
func (c *treeCheck) page(id uint64, depth int) error {
	p, flags, count, n, err := c.span(id)
	if err != nil {
		return err
	}
	for i := id; i < id+n; i++ {
		if c.seen[i/64]&(1<<(i%64)) != 0 {
			return fmt.Errorf("%w: page %d is used twice", ErrDamaged, i)
		}
		c.seen[i/64] |= 1 << (i % 64)
	}
	if depth > maxDepth {
		return fmt.Errorf("%w: page %d is too deep", ErrDamaged, id)
	}
	switch flags {
	case leafPage:
		return c.leaf(p, count, id, depth)
	case branchPage:
		return c.branch(p, count, id, depth)
	}
	return fmt.Errorf("%w: page %d of type %#x", ErrDamaged, id, flags)
}

func (c *treeCheck) branch(p []byte, count uint16, id uint64, depth int) error {
	var before []byte
	for i := range int(count) {
		at := pageHeaderSize + i*elementSize
		if at+elementSize > len(p) {
			return fmt.Errorf("%w: page %d has %d elements", ErrDamaged, id, count)
		}
		e := p[at:]
		pos, ksize := uint64(binary.NativeEndian.Uint32(e)), uint64(binary.NativeEndian.Uint32(e[4:]))
		if pos+ksize > uint64(len(e)) {
			return fmt.Errorf("%w: element %d of page %d", ErrDamaged, i, id)
		}
		key := e[pos : pos+ksize]
		if i > 0 && bytes.Compare(before, key) >= 0 {
			return fmt.Errorf("%w: order of page %d", ErrDamaged, id)
		}
		before = key
		if err := c.page(binary.NativeEndian.Uint64(e[8:]), depth+1); err != nil {
			return err
		}
	}
	if count == 0 {
		return fmt.Errorf("%w: page %d is an empty branch", ErrDamaged, id)
	}
	return nil
}

func (c *treeCheck) leaf(p []byte, count uint16, id uint64, depth int) error {
	var before []byte
	for i := range int(count) {
		at := pageHeaderSize + i*elementSize
		if at+elementSize > len(p) {
			return fmt.Errorf("%w: page %d has %d elements", ErrDamaged, id, count)
		}
		e := p[at:]
		flags := binary.NativeEndian.Uint32(e)
		pos, ksize, vsize := uint64(binary.NativeEndian.Uint32(e[4:])), uint64(binary.NativeEndian.Uint32(e[8:])), uint64(binary.NativeEndian.Uint32(e[12:]))
		if pos+ksize+vsize > uint64(len(e)) {
			return fmt.Errorf("%w: element %d of page %d", ErrDamaged, i, id)
		}
		key := e[pos : pos+ksize]
		if i > 0 && bytes.Compare(before, key) >= 0 {
			return fmt.Errorf("%w: order of page %d", ErrDamaged, id)
		}
		before = key
		if flags&bucketLeaf == 0 {
			continue
		}
		if err := c.bucket(e[pos+ksize:pos+ksize+vsize], id, depth); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks the value that stands for a bucket: the number of its root
// page, or 0 and the page itself.
func (c *treeCheck) bucket(v []byte, id uint64, depth int) error {
	if len(v) < bucketSize {
		return fmt.Errorf("%w: bucket on page %d", ErrDamaged, id)
	}
	if root := binary.NativeEndian.Uint64(v); root != 0 {
		return c.page(root, depth+1)
	}
	p := v[bucketSize:]
	if len(p) < pageHeaderSize || depth > maxDepth || binary.NativeEndian.Uint16(p[8:]) != leafPage {
		return fmt.Errorf("%w: bucket on page %d", ErrDamaged, id)
	}
	return c.leaf(p, binary.NativeEndian.Uint16(p[10:]), id, depth+1)
}
