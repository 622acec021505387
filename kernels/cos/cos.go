// SPDX-License-Identifier: Apache-2.0

// Package cos knows the bucket in which Google publishes what belongs to the kernels of Container-Optimized OS.
//
// A kernel is named by its build (17800.570.5): many builds share one release, such as 5.15.146+. The bucket holds
// headers, sources, vmlinux and the toolchain of each build, and no image that boots.
package cos

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/results/cause"
)

// Name is what entries and selectors call this source.
const Name = "cos"

// Public is the bucket that Google serves.
const Public = "https://storage.googleapis.com/cos-tools"

// Options of a [Source]. Archive is needed; the zero value of the rest means the usual.
type Options struct {
	Archive   *archive.Archive
	Base      string              // the bucket's URL; "": Public
	Dev       bool                // enumerate development builds (*.0.0) too, of which no node runs a release
	Transport http.RoundTripper   // nil: http.DefaultTransport
	Offline   bool                // resolve and fetch from the archive alone
	Progress  func(kernels.Event) // may be nil; called from several goroutines
	Patience  get.Patience        // zero: the usual
}

// Source is the bucket. It is safe for concurrent use.
type Source struct {
	o      Options
	client *get.Client
}

var _ kernels.Source = (*Source)(nil)

// New makes a Source. Nothing is fetched yet.
func New(o Options) (*Source, error) {
	if o.Archive == nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "a COS source needs an archive")
	}
	if o.Base == "" {
		o.Base = Public
	}
	o.Base = strings.TrimRight(o.Base, "/")
	if u, err := url.Parse(o.Base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" {
		return nil, cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "%q is not the URL of a COS bucket", o.Base).
			Advise("give one such as %s", Public)
	}
	return &Source{o: o, client: get.New(get.Options{
		Archive: o.Archive, Transport: o.Transport, Offline: o.Offline, Progress: o.Progress, Patience: o.Patience,
		Hints: get.Hints{
			Unreachable: "see whether " + o.Base + " can be reached from here, or use --offline",
			NotFound:    "update the catalogue; Google removes builds that are out of support",
			Corrupt:     "the bucket does not serve what its listing promises: try again later",
		},
	})}, nil
}

// Name is "cos".
func (s *Source) Name() string { return Name }

// Fetch brings a file of the bucket into the archive, verified by the MD5 that the bucket's listing gives:
// nothing better is published, so it is the transport that proves who sent it.
func (s *Source) Fetch(ctx context.Context, p kernels.Package) (string, error) {
	return s.client.Fetch(ctx, p)
}
