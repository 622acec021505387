// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mews-farm/mews/builders/images"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/catalog"
	"github.com/mews-farm/mews/kernels/cos"
	"github.com/mews-farm/mews/results/cause"
)

var _ harness.Resolver = (*Workshop)(nil)

// matrixArch is the architecture that the matrix's suites are read for, and that guests have.
const matrixArch = "x86_64"

func (w *Workshop) arch() string { return cmp.Or(w.Arch, matrixArch) }

// Kernels implements harness.Resolver: Debian's suites are read afresh, so that the newest is the newest; of every
// other distro the catalogue says what there is.
func (w *Workshop) Kernels(ctx context.Context, e matrix.Kernel, latest int) ([]harness.Found, error) {
	if e.Distro.V != "debian" || w.arch() != matrixArch {
		return w.fromCatalog(ctx, e.Distro.V+":"+e.Match.V, w.arch(), latest)
	}
	resolved, err := w.index.Resolve(ctx, matrix.Values(e.Suites), e.Match.V, latest)
	if err != nil {
		return nil, err
	}
	out := make([]harness.Found, len(resolved))
	for i, r := range resolved {
		out[i].Resolved = r
	}
	return out, nil
}

// Named implements harness.Resolver.
func (w *Workshop) Named(ctx context.Context, selector string) ([]harness.Found, error) {
	return w.fromCatalog(ctx, selector, w.arch(), 0)
}

// Find implements harness.Resolver.
func (w *Workshop) Find(ctx context.Context, suites []string, name string) (kernels.Package, error) {
	return w.index.Find(ctx, suites, name)
}

// Config implements harness.Resolver. What is wrong with packages that are held is for the stage to say that needs them whole.
func (w *Workshop) Config(ctx context.Context, r *kernels.Resolved) *kernels.Config {
	held := kernels.Trees{Dir: w.Trees.Dir, Fetcher: heldOnly{w.Archive}}
	files, err := held.Files(ctx, &kernels.Resolved{Kernel: r.Kernel, Image: r.Image})
	if err != nil {
		return nil
	}
	return files.Config
}

// heldOnly is a fetcher of what the archive has.
type heldOnly struct{ *archive.Archive }

// Fetch implements kernels.Fetcher.
func (h heldOnly) Fetch(_ context.Context, p kernels.Package) (string, error) {
	return h.Path(p.Digest)
}

// maxNamed bounds what one selector can ask for: a glob over the whole catalogue is a mistake, not a matrix.
const maxNamed = 500

func (w *Workshop) fromCatalog(ctx context.Context, selector, arch string, latest int) ([]harness.Found, error) {
	path, err := catalog.DefaultPath()
	if err != nil {
		return nil, err
	}
	cat, err := catalog.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer cat.Close()
	list, err := cat.List(ctx, catalog.Filter{Match: selector, Arch: arch})
	if err != nil {
		return nil, err
	}
	slices.Reverse(list) // the newest first
	if latest > 0 {
		// The newest is what can be had now; and it is no newer than the catalogue.
		list = slices.DeleteFunc(list, func(r catalog.Record) bool { return r.Availability != kernels.Available })
		list = list[:min(latest, len(list))]
		if err := w.warnOfAge(ctx, cat, list); err != nil {
			return nil, err
		}
	}
	switch {
	case len(list) == 0:
		return nil, cause.Errorf(cause.PackageMissing, cause.FaultInfra, "the catalogue has no kernel %s", selector).
			Advise("`mews kernels list` shows what there is, `mews kernels update` asks for more")
	case len(list) > maxNamed:
		return nil, cause.Errorf(cause.PackageMissing, cause.FaultHarness, "%s names %d kernels, more than the %d of one run", selector, len(list), maxNamed).
			Advise("narrow the glob")
	}
	out := make([]harness.Found, len(list))
	for i, rec := range list {
		out[i] = w.found(ctx, cat, rec)
	}
	return out, nil
}

// stale is the age at which the catalogue's newest may no longer be the distribution's.
const stale = 7 * 24 * time.Hour

// warnOfAge tells of sources that were not asked with success for a while.
func (w *Workshop) warnOfAge(ctx context.Context, cat *catalog.Catalog, list []catalog.Record) error {
	health, err := cat.Health(ctx)
	if err != nil {
		return err
	}
	for _, h := range health {
		of := slices.ContainsFunc(list, func(r catalog.Record) bool { return r.Source == h.Source && (h.Repo == "" || r.Repo == h.Repo) })
		if of && time.Since(h.LastSuccess) > stale {
			w.Sources.Warn(fmt.Sprintf("%s %s: the catalogue was last brought up to date %s; `mews kernels update %s` asks again", h.Source, h.Repo, h.LastSuccess.Format(time.DateOnly), h.Source))
		}
	}
	return nil
}

// found resolves a kernel of the catalogue. That its packages cannot be had is an error of its own cells, and never
// taken for something that the kernel cannot do.
func (w *Workshop) found(ctx context.Context, cat *catalog.Catalog, rec catalog.Record) harness.Found {
	full, err := cat.Whole(ctx, rec)
	if err != nil {
		return harness.Found{Resolved: &kernels.Resolved{Kernel: rec.Kernel, PackageVersion: rec.PackageVersion}, Err: err}
	}
	f := harness.Found{Resolved: catalog.Resolved(full.Entry), Policies: full.Policies}
	switch {
	case full.Distro == cos.Name:
		f.Unbootable = full.Unbootable // no packages would change that
		return f
	case full.Availability == kernels.Entitled:
		f.Err = cause.Errorf(cause.PackageMissing, cause.FaultInfra, "only to be had with a subscription: %s", full.Access)
		return f
	}
	src, err := w.Sources.Open(full.Source)
	if err != nil {
		f.Err = err
		return f
	}
	if w.HeadersOnly && full.Availability == kernels.Available && headersKnown(f.Resolved, full.Policies) {
		w.fetchers.learn(src, f.Resolved)
		return f
	}
	resolved, err := src.Resolve(ctx, full.Entry)
	switch {
	case err != nil:
		f.Err = err
	case len(resolved.Image) == 0:
		f.Err = cause.Errorf(cause.PackageMissing, cause.FaultInfra, "%s", cmp.Or(full.Unbootable, "no package with its image is known"))
	default:
		f.Resolved = resolved
		w.fetchers.learn(src, resolved)
	}
	return f
}

// headersKnown reports whether the catalogue tells of a kernel's headers, or that no index held them: it took that from a
// verified index. To look for the rest of a kernel, which nothing is built against, can take minutes.
func headersKnown(r *kernels.Resolved, policies []kernels.Policy) bool {
	r.Suite, _, _ = strings.Cut(r.Suite, "/")
	for _, p := range policies {
		if p.Cause == cause.HeadersMissing && len(r.Headers) == 0 && len(r.HeadersMissing) == 0 {
			r.HeadersMissing = strings.Split(p.Reason, "; ")
		}
	}
	return len(r.Headers) > 0 || len(r.HeadersMissing) > 0
}

// fetchers knows which source brings which package. Each verifies in its own way: an RPM by its signature too.
type fetchers struct {
	debian kernels.Fetcher // what nobody else has named
	mu     sync.Mutex
	by     map[string]kernels.Fetcher // by URL
}

func (f *fetchers) learn(src kernels.Fetcher, r *kernels.Resolved) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[string]kernels.Fetcher{}
	}
	for _, p := range slices.Concat(r.Image, r.Headers) {
		f.by[p.URL] = src
	}
}

// Fetch implements kernels.Fetcher.
func (f *fetchers) Fetch(ctx context.Context, p kernels.Package) (string, error) {
	f.mu.Lock()
	src := f.by[p.URL]
	f.mu.Unlock()
	if src == nil {
		src = f.debian
	}
	return src.Fetch(ctx, p)
}

// buildSuites says where the compiler of a kernel is to be had.
func buildSuites(c *harness.Cell, cc kernels.Compiler) ([]string, error) {
	if len(c.Kernel.Build) > 0 {
		return matrix.Values(c.Kernel.Build), nil
	}
	set, err := images.Builtin()
	if err != nil {
		return nil, err
	}
	k := c.Resolved.Kernel
	ch, err := set.Choose(cc, images.Want{Distro: k.Distro, Suite: c.Resolved.Suite, Arch: k.Arch, NoRegistry: true})
	if err == nil && ch.Substituted == nil {
		return ch.Image.Suites, nil
	}
	command := fmt.Sprintf("%s-%d", cc.Family, cc.Major)
	return nil, cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "no suite is known that has %s", command).
		With(cause.Evidence{File: "config-" + c.Resolved.Kernel.Release, Text: "CONFIG_CC_VERSION_TEXT=" + strings.TrimSpace(cc.Text)}).
		Advise("name one in the matrix: `build:` of kernel %s", c.Kernel.Name)
}
