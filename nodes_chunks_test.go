package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
)

// Chunks of one file go to both nodes at once, and what one node has announced
// the other completes.
func TestNodesChunks(t *testing.T) {
	c := startCluster(t, fsAccount())
	f := newChunked(t, c.nodes[0], 43<<20+12345)
	var work sync.WaitGroup
	for w := range 4 {
		work.Go(func() {
			for i := w; i < len(f.left); i += 4 {
				d := c.nodes[(i+w)%2]
				a, err := fsCall(t.Context(), d, "PUT", f.path+"/chunk/"+strconv.FormatInt(f.left[i], 10), url.Values{"key": {f.key}}, f.chunk(f.left[i]))
				if err != nil || a.status != http.StatusOK {
					t.Errorf("chunk at %d: %v, %v", f.left[i], a, err)
				}
			}
		})
	}
	work.Wait()
	complete := map[string]bool{"complete": true}
	fsDo(t, c.nodes[1], "PUT", f.path, url.Values{"key": {f.key}}, complete, nil, http.StatusOK)
	fsDo(t, c.nodes[0], "PUT", fmt.Sprintf("/rest.php/transfer/%d", f.transfer), nil, complete, nil, http.StatusOK)
	for _, d := range c.nodes {
		f.wantWhole(d)
	}
}
