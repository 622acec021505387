// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"context"
	"net/http"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/results/cause"
)

// SourceOptions of a [Source]. Archive is needed; the zero value of the rest means the usual.
type SourceOptions struct {
	Archive   *archive.Archive
	Transport http.RoundTripper   // nil: http.DefaultTransport
	Offline   bool                // resolve and fetch from the archive alone
	Progress  func(kernels.Event) // may be nil; called from several goroutines
}

// Source brings the kernels that were imported. What an entry says is all it knows of them.
type Source struct{ client *get.Client }

var _ kernels.Source = (*Source)(nil)

// NewSource makes a Source.
func NewSource(o SourceOptions) (*Source, error) {
	if o.Archive == nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "a source of imported kernels needs an archive")
	}
	return &Source{get.New(get.Options{
		Archive: o.Archive, Transport: o.Transport, Offline: o.Offline, Progress: o.Progress,
		Hints: get.Hints{
			Unreachable: "see whether the server of the imported list is up, or use --offline",
			NotFound:    "the list that was imported may be old: see whether the distribution's own source has the kernel",
			Corrupt:     "the server does not hold what the imported list says: see whether the distribution's own source has the kernel",
		},
	})}, nil
}

// Name is "import".
func (s *Source) Name() string { return SourceName }

// Enumerate lists nothing: entries come of [Read], when somebody asks for it.
func (s *Source) Enumerate(context.Context) ([]kernels.Entry, error) { return nil, nil }

// Resolve takes an entry at its word, as far as that has a checksum: content that nothing vouches for is not run.
func (s *Source) Resolve(_ context.Context, e kernels.Entry) (*kernels.Resolved, error) {
	r := &kernels.Resolved{
		Kernel: e.Kernel, Suite: e.Repo, PackageVersion: e.PackageVersion, Image: e.Image, Headers: e.Headers,
	}
	for _, ps := range [][]kernels.Package{e.Image, e.Headers} {
		for _, p := range ps {
			if p.Digest == "" && p.Sum == "" {
				return nil, cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "%s, from which %s was imported, gives no checksum of %s", e.Repo, e.Release+e.BuildID, p.Name).
					With(cause.Text(p.URL)...).
					Advise("run mews kernels update for %s, whose index is signed, or fetch that file by hand and import it", e.Distro)
			}
		}
	}
	if len(r.Headers) == 0 {
		r.HeadersWanted = []string{"headers of " + e.Release}
		r.HeadersMissing = r.HeadersWanted
	}
	return r, nil
}

// Fetch brings one package into the archive, verified.
func (s *Source) Fetch(ctx context.Context, p kernels.Package) (string, error) {
	return s.client.Fetch(ctx, p)
}
