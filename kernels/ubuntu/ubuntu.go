// SPDX-License-Identifier: Apache-2.0

// Package ubuntu knows where Ubuntu's archives have its kernels, and which of their packages make one.
package ubuntu

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/apt"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/results/cause"
)

// Mirrors are the base URLs of Ubuntu's archives. An empty one is the public one.
type Mirrors struct {
	Archive  string // amd64
	Security string // amd64, the -security pockets
	Ports    string // the other architectures, all pockets
}

var public = Mirrors{
	Archive:  "http://archive.ubuntu.com/ubuntu",
	Security: "http://security.ubuntu.com/ubuntu",
	Ports:    "http://ports.ubuntu.com/ubuntu-ports",
}

// of returns the URL of the archive that holds a suite for an architecture.
func (m Mirrors) of(suite, arch string) string {
	switch {
	case arch != "amd64":
		return m.Ports
	case strings.HasSuffix(suite, "-security"):
		return m.Security
	}
	return m.Archive
}

func (m Mirrors) complete() Mirrors {
	for _, f := range []struct{ mine, theirs *string }{
		{&m.Archive, &public.Archive}, {&m.Security, &public.Security}, {&m.Ports, &public.Ports},
	} {
		if *f.mine == "" {
			*f.mine = *f.theirs
		}
		*f.mine = strings.TrimRight(*f.mine, "/")
	}
	return m
}

// DefaultReleases are those with long-term support that the archives hold (2026-11). The others move to
// old-releases.ubuntu.com nine months after they came out, and until then can be named.
var DefaultReleases = []string{"focal", "jammy", "noble", "resolute"}

// pockets hold kernels; -proposed ones are not released yet.
var pockets = []string{"-security", "-updates", ""}

// components hold kernels: some of the clouds' are in universe.
var components = []string{"main", "universe"}

// keyringGlobs are where Ubuntu's ubuntu-keyring and Debian's ubuntu-archive-keyring package put the keys.
var keyringGlobs = []string{"/usr/share/keyrings/ubuntu-archive-*.gpg", "/etc/apt/trusted.gpg.d/ubuntu-keyring-*.gpg"}

var hints = get.Hints{
	Unreachable: "see whether the mirror is up, name another one, or use --offline",
	NotFound:    "a release out of support moves to old-releases.ubuntu.com, and a superseded kernel off the mirrors",
	Corrupt:     "the mirror does not serve what its signed index promises: try again later, or another mirror",
}

// Options of a [Source]. Archive and Warn are needed; the zero value of the rest means the usual.
type Options struct {
	Archive   *archive.Archive
	Warn      func(text string) // must show text to the user; called from several goroutines
	Mirrors   Mirrors
	Releases  []string            // code names; nil: DefaultReleases
	Arches    []string            // apt's names; nil: amd64 and arm64
	Keyrings  []string            // OpenPGP key files; nil: those of the installed keyring package
	Transport http.RoundTripper   // nil: http.DefaultTransport
	Now       func() time.Time    // nil: time.Now
	Offline   bool                // resolve and fetch from the archive alone
	Progress  func(kernels.Event) // may be nil; called from several goroutines

	patience get.Patience // tests have less of it
}

// Source is Ubuntu as a catalogue sees it. An entry's Repo is <suite>/<arch>, such as jammy-security/amd64.
type Source struct {
	o      Options
	suites []string
	get    *get.Client
}

var _ kernels.Source = (*Source)(nil)

// New makes a Source. Nothing is fetched yet.
func New(o Options) (*Source, error) {
	o.Mirrors = o.Mirrors.complete()
	if o.Releases == nil {
		o.Releases = DefaultReleases
	}
	if o.Arches == nil {
		o.Arches = slices.Sorted(maps.Keys(apt.Machines))
	}
	s := &Source{o: o}
	for _, release := range o.Releases {
		for _, pocket := range pockets {
			s.suites = append(s.suites, release+pocket)
		}
	}
	for _, arch := range o.Arches {
		a, err := s.open(arch) // of the options what is wrong is said now
		if err != nil {
			return nil, err
		}
		s.get = a.Client()
	}
	if s.get == nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "no architecture of Ubuntu's to list kernels of")
	}
	return s, nil
}

func (s *Source) open(arch string) (*apt.Source, error) {
	return apt.New(apt.Options{
		Distro:         "ubuntu",
		Archive:        s.o.Archive,
		Warn:           s.o.Warn,
		Base:           func(suite string) string { return s.o.Mirrors.of(suite, arch) },
		Keyrings:       s.o.Keyrings,
		KeyringGlobs:   keyringGlobs,
		KeyringPackage: "ubuntu-archive-keyring",
		Components:     components,
		Arch:           arch,
		Transport:      s.o.Transport,
		Now:            s.o.Now,
		Offline:        s.o.Offline,
		Progress:       s.o.Progress,
		Keep:           ofKernel,
		Hints:          hints,
		Patience:       s.o.patience,
	})
}

// ofKernel tells the packages that make kernels and their headers from others. Headers of all flavours have the
// source's name in the middle: linux-aws-headers-5.15.0-1051, linux-hwe-6.8-headers-6.8.0-45.
func ofKernel(name []byte) bool {
	return bytes.HasPrefix(name, []byte("linux-image-")) || bytes.HasPrefix(name, []byte("linux-modules-")) || ofHeaders(string(name))
}

func ofHeaders(name string) bool {
	return strings.HasPrefix(name, "linux-") && strings.Contains(name, "headers-")
}

// Name implements kernels.Source.
func (s *Source) Name() string { return "ubuntu" }

// Fetch implements kernels.Fetcher.
func (s *Source) Fetch(ctx context.Context, p kernels.Package) (string, error) {
	return s.get.Fetch(ctx, p)
}

// Enumerate implements kernels.Source. Each call asks the mirrors anew.
func (s *Source) Enumerate(ctx context.Context) ([]kernels.Entry, error) {
	var out []kernels.Entry
	var errs []error
	for _, arch := range s.o.Arches {
		a, err := s.open(arch)
		if err != nil {
			return nil, err
		}
		l := a.Load(ctx, s.suites)
		for _, suite := range s.suites {
			found, err := entries(l, suite, arch)
			out = append(out, found...)
			if err != nil {
				errs = append(errs, &kernels.RepoError{Repo: suite + "/" + arch, Err: err})
			}
		}
	}
	return out, errors.Join(errs...)
}

// Resolve implements kernels.Source. What an entry knows of its packages came out of a signed index, so that stands.
// A kernel that was superseded is off the mirrors: it is to be had as far as the archive holds it.
func (s *Source) Resolve(ctx context.Context, e kernels.Entry) (*kernels.Resolved, error) {
	arch, err := apt.ArchOf(e)
	if err != nil {
		return nil, err
	}
	if len(e.Image) == 0 {
		return s.find(ctx, e, arch)
	}
	r := apt.Resolved(e)
	if e.Availability != kernels.Withdrawn {
		return r, nil
	}
	if gone := s.lost(e.Image); gone != "" {
		return nil, cause.Errorf(cause.PackageMissing, cause.FaultInfra, "kernel %s is off Ubuntu's mirrors, and the archive does not hold %s", e.Release, gone).
			Advise("Launchpad has every package there was: get the .deb files from there, and `mews kernels import` them")
	}
	if gone := s.lost(e.Headers); gone != "" {
		r.Headers, r.HeadersMissing = nil, []string{gone + " is off Ubuntu's mirrors and not in the archive"}
	}
	return r, nil
}

// lost names the first of the packages that the archive does not hold.
func (s *Source) lost(ps []kernels.Package) string {
	for _, p := range ps {
		if _, err := s.o.Archive.Path(p.Digest); err != nil {
			return p.Name + " " + p.Version
		}
	}
	return ""
}

// find looks for the packages of a release.
func (s *Source) find(ctx context.Context, e kernels.Entry, arch string) (*kernels.Resolved, error) {
	a, err := s.open(arch)
	if err != nil {
		return nil, err
	}
	l := a.Load(ctx, s.suites)
	all, err := l.All()
	if err != nil {
		return nil, err
	}
	for _, x := range all {
		for _, c := range candidates(x) {
			if c.release != e.Release || e.PackageVersion != "" && c.image.Version != e.PackageVersion {
				continue
			}
			u, _ := l.Family(x.Suite)
			return resolve(u, c, x.Suite, arch)
		}
	}
	return nil, cause.Errorf(cause.PackageMissing, cause.FaultInfra, "no kernel %s in %s", e.Release, all).
		Advise("Ubuntu's mirrors hold the newest of each flavour: `mews kernels list --distro ubuntu` shows them")
}
