// Package store is the engine of fileshare: every rule about files, sessions,
// tokens, expiry, counted downloads and quotas is in here, once. It knows
// neither HTTP nor any driver; it stands on two small interfaces, [Records]
// (transactional documents) and [Blobs] (write-once bytes).
//
// # Model
//
// A file has a name, a type, tags, an owner, an expiry, a download limit and a
// content. An upload is a file that stands alone. A session is a container with
// an expiry of its own; its files end with it at the latest. Its members use it
// as its owner does, on the owner's account. A token is a capability to
// download one file, counted. A content is small (kept as a
// record of its own, so that many uploads share one fsync) or a run of blobs.
//
// A share is for a recipient of a session: who presents it sees what is in there.
// What happens is written as events, and messages about them wait in an outbox:
// for channels as they are, for people as notices (see notice.go), which bring
// along what they say.
//
// A content may arrive in several requests: the file is unfinished until the
// last byte is there. It is then a list of pieces, each a run of its own, and
// its record tells up to where it is durable (see unfinished.go). Complete, it
// is a file like any other. A part never is: Concat makes one file of several,
// which hand over their runs; no two files ever refer to one run.
//
// # Invariants
//
//  1. Blob before record on the way in, record before blob on the way out. A
//     crash leaves garbage, never a hole; [Store.Sweep] or [Store.SweepDue] collects the garbage.
//  2. Acknowledged is durable: a method that returns nil has its bytes and its
//     record on the disk.
//  3. Expiry is checked on every read; [Store.Purge] only reclaims space.
//  4. Every limit is guarded by a record read in the same Update. Nothing is
//     guarded by memory of this process: two nodes over one database are right.
//  5. Every method about what is somebody's takes a context and a [Caller];
//     whether the caller may is decided in one place (access.go).
//  6. Secrets that need not be shown again are stored hashed, compared in
//     constant time and never logged.
//  7. Names given by users are never paths.
//
// # Copies
//
// [Move], [Backup], [Restore] and [Check] are about records and blobs as such, and
// need no running engine. They read all collections page by page; what they know of a
// record is which runs it refers to, and what it must be to others. A mark in
// the records (see mark.go) keeps the engine off those that are not complete.
//
// # Ids
//
// What users see is a random-looking UUIDv4. Inside, a [Key] is 48 bits of time
// and 74 random bits, so that records made together lie together in the tree of
// the database; the two are the same 122 bits under a keyed permutation (see
// ids.go).
package store
