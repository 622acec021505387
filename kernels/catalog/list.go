// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// Record is a kernel of the catalogue.
type Record struct {
	kernels.Entry
	Note string `json:"note,omitempty"` // what is odd about it
}

// Name is how a selector names the kernel: distro:release, or distro:build id where a release is not unique.
func (r *Record) Name() string {
	if r.BuildID != "" {
		return r.Distro + ":" + r.BuildID
	}
	return r.Distro + ":" + r.Release
}

// Filter chooses kernels. Empty fields choose all.
type Filter struct {
	Distro       string
	Arch         string // x86_64 or aarch64
	Match        string // `[distro:]release` with globs of [path.Match]; of a release or a build id
	Availability kernels.Availability
}

// List returns the kernels that f chooses, without their packages, in the order of distro and release, the oldest first.
// What several repos of a source list is listed once, as the best of them has it.
func (c *Catalog) List(ctx context.Context, f Filter) ([]Record, error) {
	distro, pattern, err := f.pattern()
	if err != nil {
		return nil, err
	}
	rows, err := c.rows(ctx, "WHERE (? = '' OR distro = ?) AND (? = '' OR arch = ?)", f.Distro, f.Distro, f.Arch, f.Arch)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r *row) bool { return !matches(r, distro, pattern) })
	return records(best(rows), f.Availability, false)
}

func (f Filter) pattern() (distro, release string, err error) {
	distro, release = "*", f.Match
	if d, r, ok := strings.Cut(f.Match, ":"); ok {
		distro, release = d, r
	}
	if f.Match == "" {
		release = "*"
	}
	for _, p := range []string{distro, release} {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return "", "", cause.Errorf(cause.Internal, cause.FaultHarness, "%q is not a pattern of kernels", f.Match).
				Advise("write [distro:]release, with the globs * ? [a-z]")
		}
	}
	return distro, release, nil
}

func matches(r *row, distro, pattern string) bool {
	if distro != "*" && !glob(distro, r.distro) && !glob(distro, r.source) {
		return false
	}
	return pattern == "*" || glob(pattern, r.release) || r.buildID != "" && glob(pattern, r.buildID)
}

func glob(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// rows reads listings that the condition where holds for.
func (c *Catalog) rows(ctx context.Context, where string, args ...any) ([]*row, error) {
	// The packages of all kernels are most of the file, and List has no use for them.
	return c.query(ctx, strings.TrimSuffix(rowColumns, "packages")+"''", where, args...)
}

func (c *Catalog) query(ctx context.Context, columns, where string, args ...any) ([]*row, error) {
	rows, err := c.db.QueryContext(ctx, "SELECT "+columns+" FROM listing "+where, args...)
	if err != nil {
		return nil, c.err(ctx, "read", err)
	}
	defer rows.Close()
	var out []*row
	for rows.Next() {
		r, err := scanRow(rows)
		if err != nil {
			return nil, c.err(ctx, "read", err)
		}
		out = append(out, &r)
	}
	return out, c.err(ctx, "read", rows.Err())
}

// best leaves of each kernel of each source the listing to go by: one that can be had rather than not, then the newest package's.
func best(rows []*row) []*row {
	slices.SortFunc(rows, func(a, b *row) int {
		// Most pairs differ in their release: cmp.Or alone would compute all the rest as well, half a second of a
		// list of 100,000.
		if c := strings.Compare(a.distro, b.distro); c != 0 {
			return c
		}
		if c := Compare(a.release, b.release); c != 0 {
			return c
		}
		return cmp.Or(
			strings.Compare(a.arch, b.arch), Compare(a.name, b.name), Compare(a.version, b.version), strings.Compare(a.source, b.source),
			cmp.Compare(rankOf(a.availability), rankOf(b.availability)),
			Compare(b.packageVersion, a.packageVersion), strings.Compare(a.repo, b.repo))
	})
	out := rows[:0]
	for _, r := range rows {
		if n := len(out); n > 0 && out[n-1].source == r.source && out[n-1].identity == r.identity {
			out[n-1].firstSeen = min(out[n-1].firstSeen, r.firstSeen)
			out[n-1].lastSeen = max(out[n-1].lastSeen, r.lastSeen)
			continue
		}
		out = append(out, r)
	}
	return out
}

func rankOf(a kernels.Availability) int {
	return slices.Index([]kernels.Availability{kernels.Available, kernels.Entitled, kernels.Withdrawn}, a)
}

func records(rows []*row, only kernels.Availability, whole bool) ([]Record, error) {
	out := make([]Record, 0, len(rows))
	for _, r := range rows {
		if only != "" && r.availability != only {
			continue
		}
		e, err := r.entry(whole)
		if err != nil {
			return nil, err
		}
		out = append(out, Record{e, r.note})
	}
	return out, nil
}

// Health says how a repo of a source fared when it was last asked.
type Health struct {
	Source      string    `json:"source"`
	Repo        string    `json:"repo,omitempty"` // empty: the source as a whole
	LastTry     time.Time `json:"last_try"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	Count       int       `json:"count"`           // of kernels, at the last success
	Error       string    `json:"error,omitempty"` // of the last try; empty: it was a success
}

// Health returns the health of all sources and their repos, in the order of their names.
func (c *Catalog) Health(ctx context.Context) ([]Health, error) {
	rows, err := c.db.QueryContext(ctx, "SELECT source, repo, last_try, last_success, count, error FROM health ORDER BY source, repo")
	if err != nil {
		return nil, c.err(ctx, "read", err)
	}
	defer rows.Close()
	var out []Health
	for rows.Next() {
		var h Health
		var try, success int64
		if err := rows.Scan(&h.Source, &h.Repo, &try, &success, &h.Count, &h.Error); err != nil {
			return nil, c.err(ctx, "read", err)
		}
		h.LastTry = time.Unix(try, 0).UTC()
		if success != 0 {
			h.LastSuccess = time.Unix(success, 0).UTC()
		}
		out = append(out, h)
	}
	return out, c.err(ctx, "read", rows.Err())
}

// Distros lists the distributions of which the catalogue has kernels.
func (c *Catalog) Distros(ctx context.Context) ([]string, error) {
	rows, err := c.db.QueryContext(ctx, "SELECT DISTINCT distro FROM listing ORDER BY distro")
	if err != nil {
		return nil, c.err(ctx, "read", err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var d string
		if err := rows.Scan(&d); err != nil {
			return nil, c.err(ctx, "read", err)
		}
		out = append(out, d)
	}
	return out, c.err(ctx, "read", rows.Err())
}
