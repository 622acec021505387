// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// Get returns the one kernel that selector names, with its packages: `[distro:]release[#version]`, or a build id in
// the place of the release. arch chooses among the architectures that share a release; empty: any. A selector
// that names none, or more than one, is PACKAGE_MISSING, and the error says what there is instead.
func (c *Catalog) Get(ctx context.Context, selector, arch string) (*Record, error) {
	name, version, _ := strings.Cut(selector, "#")
	distro, release, ok := strings.Cut(name, ":")
	if !ok {
		distro, release = "", name
	}
	if release == "" {
		return nil, cause.Errorf(cause.PackageMissing, cause.FaultHarness, "%q names no kernel", selector).
			Advise("write [distro:]release, such as debian:6.1.0-56-cloud-amd64")
	}
	rows, err := c.query(ctx, rowColumns, `WHERE (release = ? OR build_id = ?) AND (? = '' OR distro = ? OR source = ?)
		AND (? = '' OR arch = ?) AND (? = '' OR version = ?)`,
		release, release, distro, distro, distro, arch, arch, version, version)
	if err != nil {
		return nil, err
	}
	found := mostTrusted(best(rows))
	switch {
	case len(found) == 0:
		return nil, c.missing(ctx, selector, distro, release)
	case slices.ContainsFunc(found, func(r *row) bool { return r.identity != found[0].identity }):
		return nil, ambiguous(selector, found)
	}
	// Several sources have the very same kernel: prefer the one that can give it.
	r := slices.MinFunc(found, func(a, b *row) int { return rankOf(a.availability) - rankOf(b.availability) })
	e, err := r.entry(true)
	return &Record{e, r.note}, err
}

// Whole returns r, of a List, with its packages.
func (c *Catalog) Whole(ctx context.Context, r Record) (*Record, error) {
	k, err := newRow(r.Entry, r.LastSeen)
	if err != nil {
		return nil, err
	}
	rows, err := c.query(ctx, rowColumns, "WHERE "+rowKey, k.key()...)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 {
		return nil, cause.Errorf(cause.PackageMissing, cause.FaultInfra, "%s is no longer in the catalogue", r.Name())
	}
	e, err := rows[0].entry(true)
	return &Record{e, rows[0].note}, err
}

// ImportSource is the name of the source of what users imported.
const ImportSource = "import"

// mostTrusted drops what was imported where a source of its own has it: a list of somebody else's may lack the
// version, or be of last year.
func mostTrusted(rows []*row) []*row {
	imported := func(r *row) bool {
		return r.source == ImportSource && slices.ContainsFunc(rows, func(o *row) bool {
			return o.source != ImportSource && o.distro == r.distro && o.release == r.release && o.arch == r.arch &&
				o.buildID == r.buildID && (r.version == "" || r.version == o.version)
		})
	}
	var out []*row
	for _, r := range rows {
		if !imported(r) {
			out = append(out, r)
		}
	}
	return out
}

func ambiguous(selector string, rows []*row) error {
	err := cause.Errorf(cause.PackageMissing, cause.FaultHarness, "%s names %d kernels", selector, len(rows))
	hint := "say which: "
	var ways []string
	for _, w := range []struct {
		say  string
		part func(*row) string
	}{
		{"distro:release", func(r *row) string { return r.distro }},
		{"--arch", func(r *row) string { return r.arch }},
		{"distro:build-id", func(r *row) string { return r.buildID }},
		{"release#version", func(r *row) string { return r.version }},
	} {
		if slices.ContainsFunc(rows, func(r *row) bool { return w.part(r) != w.part(rows[0]) }) {
			ways = append(ways, w.say)
		}
	}
	for _, r := range rows {
		line := r.distro + ":" + r.release + "#" + r.version + " " + r.arch
		if r.buildID != "" {
			line += " " + r.buildID
		}
		err = err.With(cause.Text(line + " (" + r.source + " " + r.repo + ")")...)
	}
	return err.Advise("%s%s", hint, strings.Join(ways, ", "))
}

// missing says what may have been meant.
func (c *Catalog) missing(ctx context.Context, selector, distro, release string) error {
	rows, err := c.rows(ctx, "")
	if err != nil {
		return err
	}
	none := cause.Errorf(cause.PackageMissing, cause.FaultHarness, "no kernel %s in the catalogue", selector)
	if len(rows) == 0 {
		return none.Advise("the catalogue is empty: run `mews kernels update`")
	}
	var names, distros []string
	for _, r := range rows {
		distros = append(distros, r.distro)
		if distro != "" && r.distro != distro && r.source != distro {
			continue
		}
		names = append(names, r.release)
		if r.buildID != "" {
			names = append(names, r.buildID)
		}
	}
	if len(names) == 0 {
		slices.Sort(distros)
		return none.Advise("%q is no distro of it%s", distro, nearest.Hint(distro, slices.Compact(distros)))
	}
	if n := nearest.Name(release, names); n != "" {
		if distro != "" {
			n = distro + ":" + n
		}
		return none.Advise("did you mean %s?", n)
	}
	return none.Advise("`mews kernels list` shows what there is, `mews kernels update` asks for more")
}

// Resolved is what the packages of e make, when the catalogue knows them all.
func Resolved(e kernels.Entry) *kernels.Resolved {
	return &kernels.Resolved{Kernel: e.Kernel, Suite: e.Repo, PackageVersion: e.PackageVersion, Image: e.Image, Headers: e.Headers}
}
