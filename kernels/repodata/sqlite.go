// SPDX-License-Identifier: Apache-2.0

package repodata

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/kernels/rpm"
)

// sqliteMagic begins every SQLite database.
const sqliteMagic = "SQLite format 3\x00"

// fromSQLite looks the packages up in the database that db yields.
func (r *Repo) fromSQLite(ctx context.Context, db io.Reader, names []string) ([]Package, error) {
	magic := make([]byte, len(sqliteMagic))
	if _, err := io.ReadFull(db, magic); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if string(magic) != sqliteMagic {
		return nil, fmt.Errorf("%w: it begins with %q", ErrSQLite, magic)
	}
	f, err := os.CreateTemp("", "mews-repodata-*.sqlite")
	if err != nil {
		return nil, disk.Err(err, os.TempDir())
	}
	defer os.Remove(f.Name())
	in := &source{r: db}
	_, err = io.Copy(f, io.MultiReader(strings.NewReader(sqliteMagic), in))
	err = errors.Join(err, f.Close())
	switch {
	case in.err != nil:
		return nil, in.err
	case err != nil:
		return nil, disk.Err(err, f.Name())
	}
	return r.query(ctx, f.Name(), names)
}

// query reads a database that a stranger made: nothing in it is run. SQLite itself is built to read such files.
func (r *Repo) query(ctx context.Context, file string, names []string) ([]Package, error) {
	dsn := url.URL{Scheme: "file", Path: file, RawQuery: "mode=ro&immutable=1&_pragma=trusted_schema(0)&_pragma=query_only(1)&_pragma=cell_size_check(1)"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSQLite, err)
	}
	defer db.Close()
	for _, table := range []string{"packages", "provides"} {
		if err := plainTable(ctx, db, table); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSQLite, err)
		}
	}
	provides, err := db.PrepareContext(ctx, `SELECT name, flags, epoch, version, release FROM provides
		WHERE pkgKey = ? AND name NOT LIKE 'kernel(%' AND name NOT LIKE 'ksym(%'`)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSQLite, err)
	}
	defer provides.Close()
	var out []Package
	for _, name := range names {
		if out, err = r.named(ctx, db, provides, name, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// plainTable refuses what is no table but a view, a virtual table or one with computed columns: those run code of
// whoever made the database.
func plainTable(ctx context.Context, db *sql.DB, name string) error {
	var kind string
	var text sql.NullString
	err := db.QueryRowContext(ctx, `SELECT type, sql FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')`, name).Scan(&kind, &text)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("has no table %s", name)
	}
	if err != nil {
		return err
	}
	if kind != "table" || !strings.HasPrefix(strings.ToUpper(strings.Join(strings.Fields(text.String), " ")), "CREATE TABLE ") {
		return fmt.Errorf("%s is no plain table", name)
	}
	var computed int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM pragma_table_xinfo(?) WHERE hidden <> 0`, name).Scan(&computed); err != nil {
		return err
	}
	if computed > 0 {
		return fmt.Errorf("%s has computed columns", name)
	}
	return nil
}

// named adds the packages of one name to out.
func (r *Repo) named(ctx context.Context, db *sql.DB, provides *sql.Stmt, name string, out []Package) ([]Package, error) {
	rows, err := db.QueryContext(ctx, `SELECT pkgKey, pkgId, name, arch, epoch, version, release, size_package, location_href, location_base, checksum_type, rpm_sourcerpm
		FROM packages WHERE name = ?`, name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSQLite, err)
	}
	defer rows.Close()
	for rows.Next() {
		if len(out) == maxPackages {
			return nil, fmt.Errorf("%w: more than %d packages", ErrLimit, maxPackages)
		}
		var key int64
		var size sql.NullInt64
		var text [10]sql.NullString // id, name, arch, epoch, version, release, href, base, type, source
		if err := rows.Scan(&key, &text[0], &text[1], &text[2], &text[3], &text[4], &text[5], &size, &text[6], &text[7], &text[8], &text[9]); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSQLite, err)
		}
		p, err := r.newPackage(raw{
			name: text[1].String, arch: text[2].String, epoch: text[3].String, version: text[4].String, release: text[5].String,
			sumType: text[8].String, sum: text[0].String, href: text[6].String, base: text[7].String, size: size.Int64, source: text[9].String,
		})
		if err != nil {
			return nil, err
		}
		if p.Provides, err = provided(ctx, provides, key); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSQLite, err)
	}
	return out, nil
}

func provided(ctx context.Context, query *sql.Stmt, key int64) ([]rpm.Dep, error) {
	rows, err := query.QueryContext(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSQLite, err)
	}
	defer rows.Close()
	var out []rpm.Dep
	for rows.Next() {
		var text [5]sql.NullString
		if err := rows.Scan(&text[0], &text[1], &text[2], &text[3], &text[4]); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSQLite, err)
		}
		if len(out) == maxProvides {
			return nil, fmt.Errorf("%w: more than %d provides of a package", ErrLimit, maxProvides)
		}
		out = append(out, dep(text[0].String, text[1].String, text[2].String, text[3].String, text[4].String))
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSQLite, err)
	}
	return out, nil
}
