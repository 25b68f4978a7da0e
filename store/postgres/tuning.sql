-- Of PostgreSQL's own; nothing relies on it. Records live for a short time: what
-- is dead is to be cleaned up early, and counters to be replaced within their page.
ALTER TABLE fileshare_records SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE fileshare_records ALTER COLUMN doc SET STORAGE EXTERNAL;
