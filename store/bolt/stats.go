package bolt

import (
	"sync/atomic"
	"time"
)

// Stats are counters since Open.
type Stats struct {
	Groups         int64         // commits that wrote something
	Failed         int64         // commits that failed
	Updates        int64         // Updates that ran, whatever came of them
	CommitTime     time.Duration // spent in writing and syncing the log
	LogBytes       int64         // appended to the log
	Checkpoints    int64         // memtables written into the tree
	CheckpointTime time.Duration // spent in that
	Segments       int           // files of the log now
}

type counters struct {
	groups, failed, updates, commitTime, logBytes, checkpoints, checkpointTime atomic.Int64
}

// Stats returns the counters.
func (db *DB) Stats() Stats {
	c := &db.stats
	return Stats{
		Groups:         c.groups.Load(),
		Failed:         c.failed.Load(),
		Updates:        c.updates.Load(),
		CommitTime:     time.Duration(c.commitTime.Load()),
		LogBytes:       c.logBytes.Load(),
		Checkpoints:    c.checkpoints.Load(),
		CheckpointTime: time.Duration(c.checkpointTime.Load()),
		Segments:       len(db.tables.current.Load().segments),
	}
}
