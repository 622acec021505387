// SPDX-License-Identifier: Apache-2.0

// Package el knows where the kernels of the distributions after RHEL 8 and later can be had: Rocky, Alma, CentOS,
// Oracle, and RHEL itself, whose own need a subscription.
package el

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels/internal/yum"
	"github.com/mews-farm/mews/results/cause"
)

// Options of a source. Its mirrors are named as in the table of its family.
type Options = yum.Options

// Source is the repositories of one family. It implements [github.com/mews-farm/mews/kernels.Source].
type Source = yum.Source

// What to do about packages without a known key.
const (
	Strict = yum.Strict
	Warn   = yum.Warn
)

// Families are the names of the sources that New makes, sorted.
func Families() []string { return slices.Sorted(maps.Keys(families)) }

// New makes the source of a family. Nothing is fetched yet.
func New(name string, o Options) (*Source, error) {
	f, ok := families[name]
	if !ok {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "%q is not one of the el family", name).
			Advise("use one of %s", strings.Join(Families(), ", "))
	}
	known, err := f.entitled()
	if err != nil {
		return nil, err
	}
	return yum.New(o, yum.Config{
		Name:        name,
		Mirrors:     f.mirrors,
		Keys:        f.keys,
		KeyAt:       f.keyAt,
		SignedIndex: f.signedIndex,
		Groups: func(ctx context.Context, s *yum.Source) ([]yum.Group, error) {
			return f.groups(ctx, name, s)
		},
		Known: known,
	})
}

// groups lists the repositories of a family: those of its table, and of the minor releases that came after it.
func (f *family) groups(ctx context.Context, name string, s *yum.Source) ([]yum.Group, error) {
	var out []yum.Group
	var failed []error
	for _, r := range f.releases {
		for _, arch := range s.Arches() {
			for minor := r.first; minor <= r.last; minor++ {
				out = append(out, r.group(name, minor, arch, s))
			}
			if !r.open {
				continue
			}
			later, err := r.later(ctx, name, arch, s)
			out = append(out, later...)
			failed = append(failed, err)
		}
	}
	return out, errors.Join(failed...)
}

// later finds the minor releases that are not in the table yet: one after the other, until there is none.
func (r release) later(ctx context.Context, name, arch string, s *yum.Source) ([]yum.Group, error) {
	var out []yum.Group
	for minor := r.last + 1; ; minor++ {
		g := r.group(name, minor, arch, s)
		there, err := s.Exists(ctx, g.Repos[0])
		if err != nil {
			return out, fmt.Errorf("look for %s: %w", g.Name, err)
		}
		if !there || minor > r.last+maxLater {
			return out, nil
		}
		out = append(out, g)
	}
}

// maxLater bounds the search for releases, for a mirror that answers whatever it is asked.
const maxLater = 10

// group fills in the places of a release's repositories.
func (r release) group(name string, minor int, arch string, s *yum.Source) yum.Group {
	release := r.name
	if strings.Contains(release, "%d") {
		release = fmt.Sprintf(release, minor)
	}
	g := yum.Group{Name: release, Distro: name, Arch: arch, Lines: r.lines}
	for _, repo := range r.repos {
		var bases []string
		for _, at := range repo.at {
			mirror, path, _ := strings.Cut(at, ":")
			bases = append(bases, s.Mirror(mirror)+strings.NewReplacer("{release}", release, "{arch}", arch).Replace(path))
		}
		g.Repos = append(g.Repos, yum.Repo{Name: repo.name, Bases: bases})
	}
	return g
}
