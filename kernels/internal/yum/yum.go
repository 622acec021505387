// SPDX-License-Identifier: Apache-2.0

// Package yum knows which packages of RPM repositories make a kernel, and in which order a repository is believed:
// its signed index, the checksums in it, and the signature of each package.
package yum

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/kernels/internal/pgp"
	"github.com/mews-farm/mews/results/cause"
)

// Signatures says what to do about a package whose signature cannot be verified.
type Signatures string

// The policies.
const (
	Strict Signatures = "strict" // refuse it: SIGNATURE_INVALID
	Warn   Signatures = "warn"   // where there is no key at all, take a package for its checksum in the index, and call Options.Warn
)

// Options of a source of RPM repositories. Archive and Warn are needed; the zero value of the rest means the usual.
type Options struct {
	Archive    *archive.Archive
	Warn       func(text string)   // must show text to the user; called from several goroutines
	Mirrors    map[string]string   // URLs instead of the source's own, by their names: see each source
	Keyrings   []string            // OpenPGP key files; nil: those of the distribution that this system has
	Signatures Signatures          // "": Strict
	Arches     []string            // "": x86_64 and aarch64
	Transport  http.RoundTripper   // nil: http.DefaultTransport
	Now        func() time.Time    // nil: time.Now
	Offline    bool                // resolve and fetch from the archive alone
	Progress   func(kernels.Event) // may be nil; called from several goroutines

	Patience get.Patience // zero: the usual; tests have less of it
}

// Arches are those that sources have by default.
var Arches = []string{"x86_64", "aarch64"}

// Repo is one repository.
type Repo struct {
	Name       string
	Bases      []string // URLs of the directory above repodata/; the first that is there counts
	MirrorList string   // or: of a file whose first line is the base
}

// Group is repositories that are looked at as one: kernel-devel of el9 lies in AppStream, its kernel in BaseOS.
type Group struct {
	Name   string // the Entry.Repo of its kernels
	Distro string
	Arch   string
	Repos  []Repo
	Lines  []Line
}

// Line says which packages make a kernel, beside the headers: Image without -core, with -devel. All have the version
// of Image.
type Line struct {
	Image   string   // the name of the package that stands for the kernel
	With    []string // those that hold the rest of its modules, as far as they are there
	Flavour string
	Version string // the number after # of uname -v; "": 1
}

// Config is what makes a distribution's source out of this package.
type Config struct {
	Name  string   // of the source
	Keys  []string // globs of files that may hold the distribution's keys
	KeyAt string   // where to get them, for people
	// Mirrors are the URLs that all of the source's repositories lie below, by names.
	Mirrors map[string]string
	// SignedIndex tells that repomd.xml has a signature everywhere: that it is missing is an error then, where there
	// are keys.
	SignedIndex bool
	// Groups lists the repositories there are, beside an error about those that are not known.
	Groups func(ctx context.Context, s *Source) ([]Group, error)
	// Known are entries that no repository lists.
	Known []kernels.Entry
}

// Source implements [kernels.Source] for a Config.
type Source struct {
	o     Options
	c     Config
	hints get.Hints
	keys  *pgp.Keys
	Get   *get.Client // for what Config.Groups needs
}

var _ kernels.Source = (*Source)(nil)

// New makes a Source. Nothing is fetched yet.
func New(o Options, c Config) (*Source, error) {
	if o.Archive == nil || o.Warn == nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "source %s needs an archive, and somebody to warn", c.Name)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.Arches) == 0 {
		o.Arches = Arches
	}
	for _, arch := range o.Arches {
		if !slices.Contains(Arches, arch) {
			return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "architecture %q is not known to source %s", arch, c.Name).
				Advise("use x86_64 or aarch64")
		}
	}
	for name := range o.Mirrors {
		if c.Mirrors[name] == "" {
			return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "source %s has no mirror %q", c.Name, name).
				Advise("it has %s", strings.Join(slices.Sorted(maps.Keys(c.Mirrors)), ", "))
		}
	}
	files := o.Keyrings
	if files == nil {
		for _, glob := range c.Keys {
			found, err := filepath.Glob(glob)
			if err != nil {
				return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "keys of source %s: %w", c.Name, err)
			}
			files = append(files, found...)
		}
	}
	keys, err := pgp.Load(files...)
	if err != nil {
		return nil, err
	}
	another := "another as sources." + c.Name + ".mirrors"
	hints := get.Hints{
		Unreachable: "see whether the mirror is up, set " + another + ", or use --offline",
		NotFound:    "`mews kernels update " + c.Name + "` finds what it has now",
		Corrupt:     "the mirror does not serve what its index promises: try again later, or set " + another,
	}
	return &Source{o: o, c: c, hints: hints, keys: keys, Get: get.New(get.Options{
		Archive: o.Archive, Transport: o.Transport, Offline: o.Offline, Progress: o.Progress, Hints: hints, Patience: o.Patience,
	})}, nil
}

// Name implements [kernels.Source].
func (s *Source) Name() string { return s.c.Name }

// Mirror is the URL of a mirror by its name, without a slash at its end.
func (s *Source) Mirror(name string) string {
	return strings.TrimRight(cmp.Or(s.o.Mirrors[name], s.c.Mirrors[name]), "/")
}

// Arches are those whose kernels are wanted.
func (s *Source) Arches() []string { return s.o.Arches }
