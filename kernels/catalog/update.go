// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// Report is what an Update came to, repo by repo in the order of their names.
type Report struct {
	Source string
	Repos  []Change
	Err    error // of Enumerate, as far as it names no repo
}

// Change is what an Update did to one repo.
type Change struct {
	Repo      string
	Count     int   // of kernels that are to be had now
	Added     int   // never seen before
	Withdrawn int   // listed until now
	Back      int   // withdrawn until now
	Err       error // why its last good list was kept
}

// Failed joins what went wrong.
func (r *Report) Failed() error {
	errs := []error{r.Err}
	for _, c := range r.Repos {
		if c.Err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", r.Source, c.Repo, c.Err))
		}
	}
	return errors.Join(errs...)
}

// Update asks src what it has and merges the answer. A kernel that its repo lists no more is withdrawn, unless the repo
// could not be read whole, or lists over 10 % less than before and acceptShrink is not set: such a repo keeps its
// last good list, and its Change has an error. The error of Update itself is the catalogue's, which is then unchanged.
func (c *Catalog) Update(ctx context.Context, src kernels.Source, now time.Time, acceptShrink bool) (*Report, error) {
	entries, err := src.Enumerate(ctx)
	if ctx.Err() != nil {
		return nil, c.err(ctx, "update", ctx.Err()) // half an answer; and whoever interrupts wants to see nothing blamed
	}
	u := &update{ctx: ctx, source: src.Name(), now: now, acceptShrink: acceptShrink, failed: map[string]error{}}
	if err != nil {
		u.blame(err)
	} else if len(entries) == 0 {
		u.err = cause.Errorf(cause.PackageMissing, cause.FaultInfra, "the source %s answers, and lists no kernel at all", u.source)
	}
	if err := u.sort(entries); err != nil {
		return nil, err
	}
	err = c.change(ctx, "update", func(tx *sql.Tx) error { return u.run(tx) })
	if err != nil {
		return nil, err
	}
	return &Report{Source: u.source, Repos: u.changes, Err: u.err}, nil
}

// update is one Update under way.
type update struct {
	ctx          context.Context
	source       string
	now          time.Time
	acceptShrink bool
	fresh        map[string]map[identity]row // by repo
	failed       map[string]error            // by repo
	err          error                       // of the source as a whole
	changes      []Change
}

// blame sorts an error of Enumerate into those of repos and the rest.
func (u *update) blame(err error) {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if re, ok := e.(*kernels.RepoError); ok {
			u.failed[re.Repo] = errors.Join(u.failed[re.Repo], re.Err)
			return
		}
		if j, ok := e.(interface{ Unwrap() []error }); ok {
			for _, e := range j.Unwrap() {
				u.blame(e)
			}
			return
		}
	}
	u.err = errors.Join(u.err, err)
}

// sort sorts entries by repo. Of two packages that claim one kernel in one repo the newer counts.
func (u *update) sort(entries []kernels.Entry) error {
	u.fresh = map[string]map[identity]row{}
	for _, e := range entries {
		if e.Source != u.source {
			return cause.Errorf(cause.Internal, cause.FaultHarness, "source %s lists a kernel of source %q: %s", u.source, e.Source, e.Release)
		}
		r, err := newRow(e, u.now)
		if err != nil {
			return err
		}
		repo := u.fresh[e.Repo]
		if repo == nil {
			repo = map[identity]row{}
			u.fresh[e.Repo] = repo
		}
		if old, ok := repo[r.identity]; ok && old.packageVersion != r.packageVersion {
			r = newer(old, r)
		}
		repo[r.identity] = r
	}
	return nil
}

func newer(a, b row) row {
	if Compare(a.packageVersion, b.packageVersion) > 0 {
		a, b = b, a
	}
	b.note = fmt.Sprintf("package version %s claims this release too, and is older", a.packageVersion)
	return b
}

func (u *update) run(tx *sql.Tx) error {
	known, err := u.known(tx)
	if err != nil {
		return err
	}
	put, err := tx.PrepareContext(u.ctx, putRow)
	if err != nil {
		return err
	}
	defer put.Close()
	repos := map[string]bool{}
	for repo := range known {
		repos[repo] = true
	}
	for repo := range u.fresh {
		repos[repo] = true
	}
	for repo := range u.failed {
		repos[repo] = true
	}
	u.changes = nil
	total := 0
	for _, repo := range slices.Sorted(maps.Keys(repos)) {
		ch, err := u.merge(repo, known[repo], put)
		if err != nil {
			return err
		}
		if err := u.health(tx, repo, ch.Count, errors.Join(ch.Err, u.err)); err != nil {
			return err
		}
		total += ch.Count
		u.changes = append(u.changes, ch)
	}
	return u.health(tx, "", total, u.err)
}

// merge brings one repo up to date.
func (u *update) merge(repo string, known map[identity]row, put *sql.Stmt) (Change, error) {
	ch := Change{Repo: repo, Err: u.failed[repo]}
	fresh := u.fresh[repo]
	had := 0
	for _, r := range known {
		if r.availability != kernels.Withdrawn {
			had++
		}
	}
	whole := ch.Err == nil && u.err == nil
	if whole && !u.acceptShrink && len(fresh)*10 < had*9 {
		ch.Count = had
		ch.Err = cause.Errorf(cause.PackageMissing, cause.FaultInfra, "lists %d kernels where it listed %d: its last good list is kept", len(fresh), had).
			Advise("if that is right, update with --accept-shrink")
		return ch, nil
	}
	for id, r := range fresh {
		old, ok := known[id]
		switch {
		case !ok:
			ch.Added++
		case old.availability == kernels.Withdrawn:
			ch.Back++
		}
		if ok {
			r.keepFrom(old)
		}
		ch.Count++
		if err := r.put(u.ctx, put); err != nil {
			return ch, err
		}
	}
	for id, r := range known {
		if _, ok := fresh[id]; ok || r.availability == kernels.Withdrawn {
			continue
		}
		if !whole {
			ch.Count++
			continue
		}
		ch.Withdrawn++
		r.availability = kernels.Withdrawn
		if err := r.put(u.ctx, put); err != nil {
			return ch, err
		}
	}
	return ch, nil
}

// known reads what the catalogue has of the source.
func (u *update) known(tx *sql.Tx) (map[string]map[identity]row, error) {
	rows, err := tx.QueryContext(u.ctx, "SELECT "+rowColumns+" FROM listing WHERE source = ?", u.source)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]map[identity]row{}
	for rows.Next() {
		r, err := scanRow(rows)
		if err != nil {
			return nil, err
		}
		if out[r.repo] == nil {
			out[r.repo] = map[identity]row{}
		}
		out[r.repo][r.identity] = r
	}
	return out, rows.Err()
}

// health notes how the try went. A failure keeps the time and the count of the last success.
func (u *update) health(tx *sql.Tx, repo string, count int, failed error) error {
	now := u.now.Unix()
	if failed == nil {
		_, err := tx.ExecContext(u.ctx, `INSERT INTO health VALUES (?, ?, ?, ?, ?, '')
			ON CONFLICT DO UPDATE SET last_try = excluded.last_try, last_success = excluded.last_success, count = excluded.count, error = ''`,
			u.source, repo, now, now, count)
		return err
	}
	_, err := tx.ExecContext(u.ctx, `INSERT INTO health VALUES (?, ?, ?, 0, 0, ?)
		ON CONFLICT DO UPDATE SET last_try = excluded.last_try, error = excluded.error`, u.source, repo, now, failed.Error())
	return err
}

// Add merges entries as they are, and withdraws nothing: for what is imported, and for what resolving and fetching
// a listed kernel taught about it.
func (c *Catalog) Add(ctx context.Context, entries []kernels.Entry, now time.Time) error {
	return c.change(ctx, "add to", func(tx *sql.Tx) error {
		put, err := tx.PrepareContext(ctx, putRow)
		if err != nil {
			return err
		}
		defer put.Close()
		for _, e := range entries {
			r, err := newRow(e, now)
			if err != nil {
				return err
			}
			if !e.FirstSeen.IsZero() {
				r.firstSeen = e.FirstSeen.Unix()
			}
			if !e.LastSeen.IsZero() {
				r.lastSeen = e.LastSeen.Unix()
			}
			old, err := scanRow(tx.QueryRowContext(ctx, "SELECT "+rowColumns+" FROM listing WHERE "+rowKey, r.key()...))
			switch {
			case err == nil:
				r.keepFrom(old)
				r.note = old.note
			case !errors.Is(err, sql.ErrNoRows):
				return err
			}
			if err := r.put(ctx, put); err != nil {
				return err
			}
		}
		return nil
	})
}
