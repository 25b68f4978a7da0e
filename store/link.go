package store

import (
	"context"
	"time"
)

// linkValid is for how long an address at the blobs' own server is good: the
// clocks of both need not agree to the second.
const linkValid = 5 * time.Minute

// Linked tells whether Link may have an address.
func (d *Download) Linked() bool {
	_, ok := d.s.blobs.(Linker)
	return ok && d.s.o.Redirect > 0 && d.file.Size >= d.s.o.Redirect && !d.Counted() && len(d.runs) == 1 && d.runs[0].count == 1
}

// Link returns an address at the blobs' own server under which the whole content
// can be had without us; empty where there is none: Options.Redirect says no,
// downloads are counted, or the content is not one blob. It is good for a few
// minutes, and never longer than the link. Giving it away counts as a download in
// the statistics. Type and disposition are the headers that come with it.
func (d *Download) Link(ctx context.Context, mediaType, disposition string) (string, error) {
	if !d.Linked() {
		return "", nil
	}
	valid := linkValid
	if !d.expires.IsZero() {
		valid = min(valid, d.expires.Sub(d.s.now()))
	}
	if valid < time.Second {
		return "", nil
	}
	address, err := d.s.blobs.(Linker).Link(ctx, d.runs[0].blob(0), valid, mediaType, disposition)
	if err != nil {
		return "", refusal(err)
	}
	d.s.tally.add(tallyKey{file: d.key, share: d.share, confirm: d.confirm, from: d.from}, d.began, false)
	return address, nil
}
