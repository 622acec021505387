// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/catalog"
	"github.com/mews-farm/mews/results/cause"
)

func newKernelsFetch(s Streams) *cobra.Command {
	var f kernelFlags
	var arch string
	var pin bool
	c := &cobra.Command{
		Use:   "fetch KERNEL...",
		Short: "Bring kernels into the archive, verified",
		Long: `fetch brings the packages of kernels, image, modules and headers, into the archive, and verifies them as their
distribution signs them. A glob names all kernels that match and are to be had. What is in the archive already is
not fetched again. It exits 3 when a kernel could not be had.`,
		Example: `  mews kernels fetch debian:6.1.0-56-cloud-amd64
  mews kernels fetch 'debian:6.12.*-cloud-amd64' --pin`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			st, err := openStore(c.Context(), s, f)
			if err != nil {
				return err
			}
			defer st.close()
			list, err := st.choose(c.Context(), args, arch)
			if err != nil {
				return describe(err)
			}
			var failed []error
			for _, r := range list {
				if err := st.fetch(c.Context(), s, r, pin); err != nil {
					failed = append(failed, fmt.Errorf("fetch %s: %w", r.Name(), err))
				}
				if c.Context().Err() != nil {
					break
				}
			}
			return lacking(errors.Join(failed...))
		},
	}
	f.add(c)
	addArch(c, &arch)
	c.Flags().BoolVar(&pin, "pin", false, "keep them, whatever the archive's size limit is")
	return c
}

// describe shows the evidence of an error too: of an ambiguous name, the kernels it names.
func describe(err error) error {
	if e := (*cause.Err)(nil); errors.As(err, &e) && len(e.Evidence) > 0 {
		return fmt.Errorf("%+v", e)
	}
	return err
}

// choose finds the kernels that selectors name; a glob names those that are to be had.
func (st *store) choose(ctx context.Context, selectors []string, arch string) ([]*catalog.Record, error) {
	var out []*catalog.Record
	for _, sel := range selectors {
		if !strings.ContainsAny(sel, "*?[") {
			r, err := st.catalog.Get(ctx, sel, arch)
			if err != nil {
				return nil, err
			}
			out = append(out, r)
			continue
		}
		found, err := st.catalog.List(ctx, catalog.Filter{Match: sel, Arch: arch, Availability: kernels.Available})
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no kernel of the catalogue that is available matches %s", sel)
		}
		for _, f := range found {
			r, err := st.catalog.Whole(ctx, f)
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// distroSources are the sources that have a distribution's packages, where they are not named alike.
var distroSources = map[string]string{"amazonlinux2": "amazon", "amazonlinux2023": "amazon"}

// fetch brings one kernel into the archive, and what was learnt of it into the catalogue.
func (st *store) fetch(ctx context.Context, s Streams, r *catalog.Record, pin bool) error {
	e := r.Entry
	began := time.Now()
	had := st.held(all(e))
	if !had {
		if e.Availability == kernels.Entitled {
			return cause.Errorf(cause.PackageMissing, cause.FaultInfra, "it takes a subscription: %s", e.Access).
				Advise("have its packages by that way, and `mews kernels import dir` them")
		}
		src, err := st.sourceOf(e)
		if err != nil {
			return err
		}
		if e.Source == src.Name() {
			resolved, err := src.Resolve(ctx, e)
			if err != nil {
				return err
			}
			e.Kernel, e.Image, e.Headers = resolved.Kernel, resolved.Image, resolved.Headers
		}
		if err := st.fetchAll(ctx, src, e.Image, e.Headers); err != nil {
			return err
		}
		if err := st.catalog.Add(ctx, []kernels.Entry{e}, time.Now()); err != nil {
			return err
		}
	}
	if pin {
		var digests []archive.Digest
		for _, p := range all(e) {
			digests = append(digests, p.Digest)
		}
		if err := st.archive.Pin(r.Name(), digests...); err != nil {
			return err
		}
	}
	var size uint64
	for _, p := range all(e) {
		size += uint64(p.Size)
	}
	how := fmt.Sprintf("fetched in %.1f s", time.Since(began).Seconds())
	if had {
		how = "in the archive already"
	}
	_, err := fmt.Fprintf(s.Out, "%s: %d packages, %s, %s\n", r.Name(), len(all(e)), humanize.IBytes(size), how)
	return err
}

// sourceOf opens the source that can fetch e: its own, or, of an imported one, that of its distribution.
func (st *store) sourceOf(e kernels.Entry) (kernels.Source, error) {
	name := e.Source
	if name == catalog.ImportSource {
		if name = distroSources[e.Distro]; name == "" {
			name = e.Distro
		}
		if !slices.Contains(st.sources.Names(), name) {
			return nil, cause.Errorf(cause.PackageMissing, cause.FaultInfra, "it was imported, and there is no source to fetch kernels of %s from", e.Distro).
				Advise("`mews kernels import dir` imports its packages themselves")
		}
	}
	return st.sources.Open(name)
}

// fetchAll fetches the packages, and fills in the digests that the source does not publish.
func (st *store) fetchAll(ctx context.Context, src kernels.Fetcher, lists ...[]kernels.Package) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	n := 0
	for _, list := range lists {
		for i := range list {
			n++
			g.Go(func() error {
				p := &list[i]
				path, err := src.Fetch(gctx, *p)
				if err != nil {
					return err
				}
				p.Digest, err = st.archive.DigestAt(path)
				return err
			})
		}
	}
	if n == 0 {
		return cause.Errorf(cause.PackageMissing, cause.FaultInfra, "none of its packages is known")
	}
	return g.Wait()
}
