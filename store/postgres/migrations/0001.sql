-- Everything is in here that the rules rely on. It is plain SQL that PostgreSQL,
-- CockroachDB and YugabyteDB have in common.

CREATE TABLE fileshare_records (
	kind text COLLATE "C" NOT NULL, -- collection
	id   bytea NOT NULL,
	doc  bytea NOT NULL,
	due  bigint,                    -- milliseconds since 1970; NULL: never
	PRIMARY KEY (kind, id)
);

CREATE INDEX fileshare_records_due ON fileshare_records (kind, due) WHERE due IS NOT NULL;

-- One row per recent commit. Whoever does not know what became of a commit
-- tries to put in its row.
CREATE TABLE fileshare_commits (
	id bytea PRIMARY KEY,
	at timestamptz NOT NULL DEFAULT now()
);
