// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/internal/apt"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/results/cause"
)

// DefaultSuites are those that hold kernels and that Debian's mirrors have (2026-11). Besides there is experimental.
var DefaultSuites = []string{
	"bullseye-security", "bullseye",
	"bookworm-security", "bookworm", "bookworm-backports",
	"trixie-security", "trixie", "trixie-backports",
	"forky", "sid",
}

// DistroOptions are those of a [Distro].
type DistroOptions struct {
	Options           // of every mirror; Arch does not count
	Suites   []string // nil: DefaultSuites
	Arches   []string // Debian's names; nil: amd64 and arm64
	Snapshot string   // base URL of the archive of all there ever was; "": SnapshotURL
}

// Distro is Debian as a catalogue sees it: all kernels of its suites, and by snapshot.debian.org those that it no longer
// holds. An entry's Repo is <suite>/<arch>, such as bookworm-security/amd64.
type Distro struct {
	o        DistroOptions
	get      *get.Client
	snapshot snapshot
}

var _ kernels.Source = (*Distro)(nil)

// NewDistro makes a Distro. Nothing is fetched yet.
func NewDistro(o DistroOptions) (*Distro, error) {
	if o.Suites == nil {
		o.Suites = DefaultSuites
	}
	if o.Arches == nil {
		o.Arches = slices.Sorted(maps.Keys(apt.Machines))
	}
	if o.Snapshot == "" {
		o.Snapshot = SnapshotURL
	}
	d := &Distro{o: o}
	for _, arch := range o.Arches {
		s, err := d.open(arch) // of the options what is wrong is said now
		if err != nil {
			return nil, err
		}
		d.get = s.Client()
	}
	if d.get == nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "no architecture of Debian's to list kernels of")
	}
	// Its files are other files, and must not be advised about as if they were the mirror's.
	d.snapshot = snapshot{base: strings.TrimRight(o.Snapshot, "/"), get: get.New(get.Options{
		Archive: o.Archive, Transport: o.Transport, Offline: o.Offline, Progress: o.Progress, Hints: snapshotHints, Patience: o.patience,
	})}
	return d, nil
}

// open makes a Source of one architecture, whose indexes hold kernels alone: 22 of them whole take 1 GB.
func (d *Distro) open(arch string) (*Source, error) {
	o := d.o.Options
	o.Arch, o.keep = arch, ofKernel
	return New(o)
}

// ofKernel tells the packages that make kernels and their headers from others.
func ofKernel(name []byte) bool {
	rest, ok := bytes.CutPrefix(name, []byte("linux-"))
	if !ok {
		return false
	}
	for _, part := range []string{"image-", "headers-", "base-", "binary-", "modules-", "kbuild-"} {
		if bytes.HasPrefix(rest, []byte(part)) {
			return true
		}
	}
	return false
}

// Name implements kernels.Source.
func (d *Distro) Name() string { return "debian" }

// Fetch implements kernels.Fetcher.
func (d *Distro) Fetch(ctx context.Context, p kernels.Package) (string, error) {
	return d.get.Fetch(ctx, p)
}

// Enumerate implements kernels.Source. Each call asks the mirror anew.
func (d *Distro) Enumerate(ctx context.Context) ([]kernels.Entry, error) {
	var out []kernels.Entry
	var errs []error
	for _, arch := range d.o.Arches {
		s, err := d.open(arch)
		if err != nil {
			return nil, err
		}
		l := s.Load(ctx, d.o.Suites)
		for _, suite := range d.o.Suites {
			found, err := entries(l, suite, arch)
			out = append(out, found...)
			if err != nil {
				errs = append(errs, &kernels.RepoError{Repo: suite + "/" + arch, Err: err})
			}
		}
	}
	return out, errors.Join(errs...)
}

// entries lists the kernels of one suite. Where a suite beside it could not be read, one whose headers are nowhere else
// is left out, with an error: the list that is kept knows better.
func entries(l *apt.Suites, suite, arch string) ([]kernels.Entry, error) {
	x, err := l.Index(suite)
	if err != nil {
		return nil, err
	}
	u, sibling := l.Family(suite)
	var out []kernels.Entry
	for _, c := range signed(candidates(apt.Universe{x})) {
		r, gone := resolve(u, c, arch)
		if sibling != nil && (len(gone) > 0 || len(r.Headers) == 0) {
			err = apt.PartsUnread(c.Release, sibling)
			continue
		}
		e := apt.Entry(r, flavour(c.Release), arch)
		if len(gone) > 0 {
			e.Unbootable = strings.Join(gone, " and ") + " gone from the mirror: without its modules it has no disks"
		}
		out = append(out, e)
	}
	return out, err
}

// signed leaves of two images of one release the one with the archive's signature.
func signed(cs []Candidate) []Candidate {
	have := map[string]bool{}
	for _, c := range cs {
		have[c.Name] = true
	}
	return slices.DeleteFunc(cs, func(c Candidate) bool { return c.Name != c.Release && have[c.Release] })
}

// flavour is the end of a release: cloud-amd64 of 6.1.0-56-cloud-amd64 and of 7.3.4+deb13-cloud-amd64.
func flavour(release string) string {
	abi := abiOf(release)
	return strings.TrimPrefix(release[len(abi):], "-")
}

// abiOf is the beginning of a release that all flavours share: 6.1.0-56, 5.10.0-0.deb10.16, 7.3.4+deb13.
func abiOf(release string) string {
	parts := strings.SplitN(release, "-", 3)
	if len(parts) > 1 && parts[1] != "" && '0' <= parts[1][0] && parts[1][0] <= '9' {
		return parts[0] + "-" + parts[1]
	}
	return parts[0]
}
