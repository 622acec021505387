// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// identity tells kernels of one source apart. Several repos of a source may list the same. name is the build id where
// there is one: the release of such a kernel is not unique, and not known before its packages are.
type identity struct{ distro, name, version, arch string }

// row is a listing: one kernel in one repo.
type row struct {
	source, repo string
	identity
	release, buildID        string
	flavour, packageVersion string
	availability            kernels.Availability
	access, unbootable      string
	policies, packages      string // JSON
	note                    string
	firstSeen, lastSeen     int64 // Unix seconds
}

const (
	rowColumns = `source, repo, distro, name, version, arch, release, build_id, flavour, package_version, availability,
		access, unbootable, policies, note, first_seen, last_seen, packages`
	rowKey = "source = ? AND repo = ? AND distro = ? AND name = ? AND version = ? AND arch = ?"
	putRow = "INSERT OR REPLACE INTO listing (" + rowColumns + ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

// packages is what of an entry is kept as one JSON text: it is looked at for one kernel at a time.
type packages struct {
	Image   []kernels.Package `json:"image,omitempty"`
	Headers []kernels.Package `json:"headers,omitempty"`
}

func newRow(e kernels.Entry, now time.Time) (row, error) {
	if e.Source == "" || e.Distro == "" || e.Release == "" && e.BuildID == "" || e.Arch == "" {
		return row{}, cause.Errorf(cause.Internal, cause.FaultHarness,
			"an entry without a source, distro, arch, or release and build id cannot be found again: %+v", e.Kernel)
	}
	r := row{
		source: e.Source, repo: e.Repo,
		identity: identity{e.Distro, cmp.Or(e.BuildID, e.Release), e.Version, e.Arch},
		release:  e.Release, buildID: e.BuildID, flavour: e.Flavour, packageVersion: e.PackageVersion,
		availability: e.Availability, access: e.Access, unbootable: e.Unbootable,
		firstSeen: now.Unix(), lastSeen: now.Unix(),
	}
	if r.availability == "" {
		r.availability = kernels.Available
	}
	if len(e.Policies) > 0 {
		text, err := json.Marshal(e.Policies)
		if err != nil {
			return row{}, cause.Errorf(cause.Internal, cause.FaultHarness, "catalogue entry %s: %w", e.Release, err)
		}
		r.policies = string(text)
	}
	return r, r.setPackages(packages{e.Image, e.Headers})
}

func (r *row) setPackages(p packages) error {
	text, err := json.Marshal(p)
	if err != nil {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "catalogue entry %s: %w", r.name, err)
	}
	r.packages = string(text)
	return nil
}

func (r *row) key() []any {
	return []any{r.source, r.repo, r.distro, r.name, r.version, r.arch}
}

func (r *row) put(ctx context.Context, put *sql.Stmt) error {
	_, err := put.ExecContext(ctx, append(r.key(), r.release, r.buildID, r.flavour, r.packageVersion, string(r.availability),
		r.access, r.unbootable, r.policies, r.note, r.firstSeen, r.lastSeen, r.packages)...)
	return err
}

func scanRow(s interface{ Scan(...any) error }) (row, error) {
	var r row
	err := s.Scan(&r.source, &r.repo, &r.distro, &r.name, &r.version, &r.arch, &r.release, &r.buildID, &r.flavour, &r.packageVersion,
		&r.availability, &r.access, &r.unbootable, &r.policies, &r.note, &r.firstSeen, &r.lastSeen, &r.packages)
	return r, err
}

// keepFrom keeps what an older listing of the same kernel knows and the new one does not say: since when it is known,
// and, while the package is the same, what its packages turned out to be when they were resolved and fetched.
func (r *row) keepFrom(old row) {
	r.firstSeen = min(r.firstSeen, old.firstSeen)
	r.lastSeen = max(r.lastSeen, old.lastSeen)
	if r.packageVersion != old.packageVersion {
		return
	}
	r.release = cmp.Or(r.release, old.release)
	var have, had packages
	if json.Unmarshal([]byte(r.packages), &have) != nil || json.Unmarshal([]byte(old.packages), &had) != nil {
		return // ours cannot be; an old one that cannot be read is worth nothing
	}
	have.Image, have.Headers = keep(have.Image, had.Image), keep(have.Headers, had.Headers)
	if text, err := json.Marshal(have); err == nil {
		r.packages = string(text)
	}
}

func keep(have, had []kernels.Package) []kernels.Package {
	if len(have) == 0 {
		return had
	}
	for i, p := range have {
		if p.Digest != "" {
			continue
		}
		same := func(q kernels.Package) bool { return q.Name == p.Name && q.URL == p.URL && q.Sum == p.Sum }
		if j := slices.IndexFunc(had, same); j >= 0 {
			have[i].Digest = had[j].Digest
		}
	}
	return have
}

// entry is the listing as an Entry; with its packages when whole.
func (r *row) entry(whole bool) (kernels.Entry, error) {
	e := kernels.Entry{
		Kernel: kernels.Kernel{Distro: r.distro, Release: r.release, Version: r.version, Arch: r.arch, BuildID: r.buildID},
		Source: r.source, Repo: r.repo, Flavour: r.flavour, PackageVersion: r.packageVersion,
		Availability: r.availability, Access: r.access, Unbootable: r.unbootable,
		FirstSeen: time.Unix(r.firstSeen, 0).UTC(), LastSeen: time.Unix(r.lastSeen, 0).UTC(),
	}
	if r.policies != "" {
		if err := json.Unmarshal([]byte(r.policies), &e.Policies); err != nil {
			return e, r.damaged(err)
		}
	}
	if whole && strings.TrimSpace(r.packages) != "" {
		var p packages
		if err := json.Unmarshal([]byte(r.packages), &p); err != nil {
			return e, r.damaged(err)
		}
		e.Image, e.Headers = p.Image, p.Headers
	}
	return e, nil
}

func (r *row) damaged(err error) error {
	return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "the catalogue's listing of %s:%s is damaged: %w", r.distro, r.name, err).
		Advise("move the catalogue away; `mews kernels update` makes a new one")
}
