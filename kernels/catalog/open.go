// SPDX-License-Identifier: Apache-2.0

// Package catalog knows which kernels were ever seen where: it merges what the sources list, and never forgets one.
//
// It is one SQLite file. A kernel that its source lists no more stays, as withdrawn.
package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/results/cause"
)

// Catalog is an open catalogue. It is safe for concurrent use, by several processes too.
type Catalog struct {
	db   *sql.DB
	path string
}

// DefaultPath is $XDG_CACHE_HOME/mews/catalog.db.
func DefaultPath() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", cause.Errorf(cause.Internal, cause.FaultInfra, "find the cache directory: %w", err).
			Advise("set XDG_CACHE_HOME or HOME")
	}
	return filepath.Join(cache, "mews", "catalog.db"), nil
}

// busyMillis is how long one mews waits for another's transaction. Writing 100,000 kernels takes some seconds.
const busyMillis = 60_000

// Open opens the catalogue at path, which is made when it is not there.
func Open(ctx context.Context, path string) (*Catalog, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, disk.Err(err, path)
	}
	// busy_timeout comes first: switching to WAL meets the lock of another that does the same.
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: fmt.Sprintf(
		"_pragma=busy_timeout(%d)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_txlock=immediate", busyMillis)}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "open the catalogue %s: %w", path, err)
	}
	c := &Catalog{db: db, path: path}
	// Two that switch a new file to WAL at once would wait for each other: SQLITE_BUSY then comes without the wait that was asked for.
	deadline := time.Now().Add(busyMillis * time.Millisecond)
	for {
		err := c.migrate(ctx)
		if err == nil {
			return c, nil
		}
		if !busy(err) || time.Now().After(deadline) {
			db.Close()
			return nil, err
		}
		select {
		case <-ctx.Done(): // which migrate says in its own words
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// busy reports that another holds the file.
func busy(err error) bool {
	var s *sqlite.Error
	return errors.As(err, &s) && s.Code()&0xff == sqlite3.SQLITE_BUSY
}

// Close closes the catalogue.
func (c *Catalog) Close() error { return c.db.Close() }

// migrations[n] leads from schema n to n+1. They are added to, never changed.
var migrations = []string{`
CREATE TABLE listing (
	source          TEXT NOT NULL,
	repo            TEXT NOT NULL,
	distro          TEXT NOT NULL,
	name            TEXT NOT NULL, -- build_id, or release where there is none
	version         TEXT NOT NULL,
	arch            TEXT NOT NULL,
	release         TEXT NOT NULL,
	build_id        TEXT NOT NULL,
	flavour         TEXT NOT NULL,
	package_version TEXT NOT NULL,
	availability    TEXT NOT NULL,
	access          TEXT NOT NULL,
	unbootable      TEXT NOT NULL,
	policies        TEXT NOT NULL, -- JSON
	note            TEXT NOT NULL,
	first_seen      INTEGER NOT NULL, -- Unix seconds
	last_seen       INTEGER NOT NULL,
	packages        TEXT NOT NULL, -- JSON; the last column, so that a list does not read through it
	PRIMARY KEY (source, repo, distro, name, version, arch)
);
CREATE INDEX listing_release ON listing (release);
CREATE INDEX listing_build_id ON listing (build_id) WHERE build_id != '';
CREATE TABLE health (
	source       TEXT NOT NULL,
	repo         TEXT NOT NULL, -- empty: the source as a whole
	last_try     INTEGER NOT NULL, -- Unix seconds
	last_success INTEGER NOT NULL, -- 0: never
	count        INTEGER NOT NULL, -- of kernels, at the last success
	error        TEXT NOT NULL,    -- of the last try; empty: it was a success
	PRIMARY KEY (source, repo)
) WITHOUT ROWID;
`}

// migrate brings the schema to the newest version, all of the way or not at all. A catalogue that is there already
// is not written to: who lists must not wait for one who updates.
func (c *Catalog) migrate(ctx context.Context) error {
	version, err := c.schema(ctx, c.db)
	if err != nil || version == len(migrations) {
		return err
	}
	return c.change(ctx, "open", func(tx *sql.Tx) error {
		version, err := c.schema(ctx, tx) // another may have been quicker
		if err != nil {
			return err
		}
		for ; version < len(migrations); version++ {
			if _, err := tx.ExecContext(ctx, migrations[version]); err != nil {
				return fmt.Errorf("to schema %d: %w", version+1, err)
			}
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version))
		return err
	})
}

// schema is the version of the file's schema; 0 for a new one.
func (c *Catalog) schema(ctx context.Context, db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}) (int, error) {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return 0, c.err(ctx, "open", err)
	}
	if version > len(migrations) {
		return 0, cause.Errorf(cause.Internal, cause.FaultInfra, "the catalogue %s has schema %d, and this mews knows %d at most", c.path, version, len(migrations)).
			Advise("use the newer mews, or move the file away and run `mews kernels update`")
	}
	return version, nil
}

// change runs f in one transaction.
func (c *Catalog) change(ctx context.Context, what string, f func(*sql.Tx) error) error {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return c.err(ctx, what, err)
	}
	defer tx.Rollback() // in vain after Commit
	if err := f(tx); err != nil {
		return c.err(ctx, what, err)
	}
	return c.err(ctx, what, tx.Commit())
}

// err gives an error of the database its cause, and says what to do about it.
func (c *Catalog) err(ctx context.Context, what string, err error) error {
	var known *cause.Err
	if err == nil || errors.As(err, &known) {
		return err
	}
	if err := disk.Ctx(ctx, what+" the catalogue"); err != nil {
		return err
	}
	var s *sqlite.Error
	if errors.As(err, &s) {
		switch s.Code() & 0xff { // the primary code; the rest says more
		case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
			return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s is no catalogue of kernels: %w", c.path, err).
				Advise("move that file away; `mews kernels update` makes a new one")
		case sqlite3.SQLITE_FULL:
			return cause.Errorf(cause.DiskFull, cause.FaultInfra, "%s the catalogue %s: %w", what, c.path, err).
				Advise("free some space there, or point XDG_CACHE_HOME to a larger disk")
		case sqlite3.SQLITE_BUSY:
			return cause.Errorf(cause.Internal, cause.FaultInfra, "%s the catalogue %s: another mews has held it for %d s: %w", what, c.path, busyMillis/1000, err).
				Advise("wait until it is done")
		case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
			return cause.Errorf(cause.Internal, cause.FaultInfra, "%s the catalogue %s: %w", what, c.path, err).
				Advise("make it writable, or set XDG_CACHE_HOME")
		}
	}
	return cause.Errorf(cause.Internal, cause.FaultHarness, "%s the catalogue %s: %w", what, c.path, err)
}
