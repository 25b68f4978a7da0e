package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrNewer means that a newer version of the program has changed the tables.
var ErrNewer = errors.New("the database belongs to a newer version")

//go:embed migrations/*.sql
var migrations embed.FS

//go:embed tuning.sql
var tuning string

// migration is one step of the tables' history.
type migration struct {
	version int
	sql     string
}

// history returns the migrations in their order: migrations/NNNN.sql.
func history() ([]migration, error) {
	var all []migration
	err := fs.WalkDir(migrations, "migrations", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		version, err := strconv.Atoi(strings.TrimSuffix(d.Name(), ".sql"))
		if err != nil {
			return err
		}
		text, err := migrations.ReadFile(path)
		all = append(all, migration{version, string(text)})
		return err
	})
	slices.SortFunc(all, func(a, b migration) int { return a.version - b.version })
	return all, err
}

const versionTable = `
	CREATE TABLE IF NOT EXISTS fileshare_version (id int PRIMARY KEY, version int NOT NULL);
	INSERT INTO fileshare_version (id, version) VALUES (1, 0) ON CONFLICT (id) DO NOTHING`

// migrate brings the tables up to date. Any number of nodes may do so at once:
// the row of the version is the lock. Where nothing is to be done it only
// reads, so that a node needs no right to change tables.
func migrate(ctx context.Context, c *pgx.Conn, steps []migration) (applied bool, err error) {
	latest := steps[len(steps)-1].version
	var version int
	err = c.QueryRow(ctx, "SELECT version FROM fileshare_version WHERE id = 1").Scan(&version)
	switch {
	case err == nil && version == latest:
		return false, nil
	case err == nil && version > latest:
		return false, fmt.Errorf("%w: its tables have version %d, this one knows %d", ErrNewer, version, latest)
	case err != nil && !errors.Is(err, pgx.ErrNoRows) && codeOf(err) != undefinedTable:
		return false, err
	}
	// Two that make the same table at once: one of them fails, and comes again.
	if _, err := c.Exec(ctx, versionTable, pgx.QueryExecModeSimpleProtocol); err != nil {
		return false, again(err)
	}
	tx, err := c.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing after Commit
	if err := tx.QueryRow(ctx, "SELECT version FROM fileshare_version WHERE id = 1 FOR UPDATE").Scan(&version); err != nil {
		return false, err
	}
	for _, m := range steps {
		if m.version <= version {
			continue
		}
		if _, err := tx.Exec(ctx, m.sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return false, fmt.Errorf("migration %d: %w", m.version, err)
		}
		if _, err := tx.Exec(ctx, "UPDATE fileshare_version SET version = $1 WHERE id = 1", m.version); err != nil {
			return false, err
		}
		applied = true
	}
	return applied, tx.Commit(ctx)
}

// again marks what another node's migration can have caused as worth a retry.
func again(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && slices.Contains([]string{uniqueViolation, duplicateTable, duplicateObject}, e.Code) {
		return &retryError{err}
	}
	return err
}
