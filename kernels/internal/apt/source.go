// SPDX-License-Identifier: Apache-2.0

// Package apt knows how to find, verify and fetch the packages of a repository in apt's format.
package apt

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/kernels/internal/keyed"
	"github.com/mews-farm/mews/results/cause"
)

// Policy says what to do about an InRelease file past its Valid-Until.
type Policy string

// The policies.
const (
	Strict Policy = "strict" // refuse it: SIGNATURE_INVALID
	Warn   Policy = "warn"   // use it, and call Options.Warn
)

// Machines are the kernel's names for the architectures, by apt's names for them.
var Machines = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// Options of a [Source]. Those of the first group are needed; the zero value of the rest means the usual.
type Options struct {
	Distro   string // the distribution's name, lower case
	Archive  *archive.Archive
	Warn     func(text string)         // must show text to the user; called from several goroutines
	Base     func(suite string) string // URL of the archive that holds suite, without a trailing slash
	Keyrings []string                  // OpenPGP key files; nil: what KeyringGlobs find

	KeyringGlobs   []string                  // where KeyringPackage puts its files
	KeyringPackage string                    // whom to name when there is no key
	Components     []string                  // nil: main
	Arch           string                    // apt's name; "": amd64
	Transport      http.RoundTripper         // nil: http.DefaultTransport
	Now            func() time.Time          // nil: time.Now
	ValidUntil     func(suite string) Policy // nil: Strict for all
	Offline        bool                      // resolve and fetch from the archive alone
	Progress       func(kernels.Event)       // may be nil; called from several goroutines
	Keep           func(name []byte) bool    // which packages an index keeps; nil: all
	Hints          get.Hints
	Patience       get.Patience
}

// Source is a mirror seen through its verified indexes. It is safe for concurrent use.
// The index of a suite is fetched once in a Source's life.
type Source struct {
	o       Options
	keys    openpgp.EntityList
	get     *get.Client
	loading keyed.Locks[string]

	mu       sync.Mutex
	indexes  map[string]*Index
	releases map[string]*opened
}

// New makes a Source. Nothing is fetched yet.
func New(o Options) (*Source, error) {
	if o.Archive == nil || o.Warn == nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "a source of %s packages needs an archive, and somebody to warn", o.Distro)
	}
	if o.Arch == "" {
		o.Arch = "amd64"
	}
	if Machines[o.Arch] == "" {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "architecture %q is not one that is known here", o.Arch).
			Advise("use amd64 or arm64")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ValidUntil == nil {
		o.ValidUntil = func(string) Policy { return Strict }
	}
	if o.Components == nil {
		o.Components = []string{"main"}
	}
	keys, err := loadKeyrings(o)
	if err != nil {
		return nil, err
	}
	return &Source{
		o:       o,
		keys:    keys,
		indexes: map[string]*Index{}, releases: map[string]*opened{},
		get: get.New(get.Options{
			Archive: o.Archive, Transport: o.Transport, Offline: o.Offline, Progress: o.Progress, Hints: o.Hints, Patience: o.Patience,
		}),
	}, nil
}

// Arch is apt's name of the architecture whose packages the source holds.
func (s *Source) Arch() string { return s.o.Arch }

// Client is what fetches for s.
func (s *Source) Client() *get.Client { return s.get }

// Fetch brings one package into the archive, verified, and returns its path.
func (s *Source) Fetch(ctx context.Context, p kernels.Package) (string, error) {
	return s.get.Fetch(ctx, p)
}

// FetchAll is [Source.Fetch] for many, four at a time; paths are in the order of ps.
func (s *Source) FetchAll(ctx context.Context, ps []kernels.Package) ([]string, error) {
	return s.get.FetchAll(ctx, ps)
}

var suiteName = regexp.MustCompile(`^[a-z][a-z0-9.+-]*$`)

func checkSuite(distro, suite string) error {
	if suiteName.MatchString(suite) {
		return nil
	}
	return cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "%q is not the name of a suite of %s", suite, distro).
		Advise("use one such as bookworm-security")
}

// Index returns the verified index of suite, such as bookworm-security or sid.
func (s *Source) Index(ctx context.Context, suite string) (*Index, error) {
	if err := checkSuite(s.o.Distro, suite); err != nil {
		return nil, err
	}
	unlock, err := s.loading.Lock(ctx, suite)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s.mu.Lock()
	x := s.indexes[suite]
	s.mu.Unlock()
	if x != nil {
		return x, nil
	}
	// A failure is not kept: what was a hiccup of the mirror may be over for the next who asks.
	if x, err = s.load(ctx, suite); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.indexes[suite] = x
	s.mu.Unlock()
	return x, nil
}

// Universe is the indexes of several suites, looked at as one.
func (s *Source) Universe(ctx context.Context, suites []string) (Universe, error) {
	if len(suites) == 0 {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "%w", errors.New("no suite to look into"))
	}
	var u Universe
	for _, suite := range suites {
		x, err := s.Index(ctx, suite)
		if err != nil {
			return nil, err
		}
		u = append(u, x)
	}
	return u, nil
}
