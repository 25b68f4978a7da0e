package bolt

import (
	"sync/atomic"
	"time"
)

// Stats are counters since Open.
type Stats struct {
	Groups     int64         // commits that wrote something
	Failed     int64         // commits that failed
	Updates    int64         // Updates that ran, whatever came of them
	CommitTime time.Duration // spent in commits of the tree
	LogBytes   int64         // appended to the value log
	LogSyncs   int64
	LogTime    time.Duration // spent in writing and syncing the value log
	Segments   int           // files of the value log now
}

type counters struct {
	groups, failed, updates, commitTime, logBytes, logSyncs, logTime atomic.Int64
}

// Stats returns the counters.
func (db *DB) Stats() Stats {
	c := &db.stats
	return Stats{
		Groups:     c.groups.Load(),
		Failed:     c.failed.Load(),
		Updates:    c.updates.Load(),
		CommitTime: time.Duration(c.commitTime.Load()),
		LogBytes:   c.logBytes.Load(),
		LogSyncs:   c.logSyncs.Load(),
		LogTime:    time.Duration(c.logTime.Load()),
		Segments:   len(db.log.table.Load().segments),
	}
}
