// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/catalog"
	"github.com/mews-farm/mews/kernels/facts"
)

func newKernelsShow(s Streams) *cobra.Command {
	var f kernelFlags
	var arch, output string
	c := &cobra.Command{
		Use:   "show KERNEL",
		Short: "Show what is known of a kernel, and, when it was fetched, what its files say",
		Long: `show tells where a kernel can be had and which packages make it. Of a kernel whose packages are in the archive
it also reads the facts: configuration, compiler, BTF, what it refuses, what a driver needs of it.`,
		Example: `  mews kernels show debian:6.1.0-56-cloud-amd64
  mews kernels show 5.10.179-168.710.amzn2.x86_64
  mews kernels show cos:17800.570.5 -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := oneOf("output", output, []string{"table", "json", "yaml"}); err != nil {
				return err
			}
			st, err := openStore(c.Context(), s, f)
			if err != nil {
				return err
			}
			defer st.close()
			r, err := st.catalog.Get(c.Context(), args[0], arch)
			if err != nil {
				return describe(err)
			}
			return st.show(c.Context(), s, r, output)
		},
	}
	f.add(c)
	addArch(c, &arch)
	c.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	return c
}

// shown is a kernel as show has it in JSON.
type shown struct {
	catalog.Record
	Archived bool         `json:"archived"` // all of its packages are in the archive
	Facts    *facts.Facts `json:"facts,omitempty"`
}

func (st *store) show(ctx context.Context, s Streams, r *catalog.Record, output string) error {
	out := shown{Record: *r, Archived: st.held(all(r.Entry))}
	var failed error
	if st.held(r.Image) {
		out.Facts, failed = st.facts(ctx, r)
	}
	if output != "table" {
		if err := encode(s.Out, output, out); err != nil {
			return err
		}
		return lacking(failed)
	}
	if err := st.printRecord(s, r); err != nil {
		return err
	}
	if failed != nil {
		return lacking(fmt.Errorf("the facts of %s: %w", r.Name(), failed))
	}
	if out.Facts == nil {
		if len(r.Image) > 0 {
			fmt.Fprintf(s.Out, "\nIts facts are in its packages: `mews kernels fetch %s`, then show it again.\n", r.Name())
		}
		return nil
	}
	fmt.Fprintln(s.Out)
	return out.Facts.Render(s.Out)
}

// facts reads the facts of a kernel out of the archive.
func (st *store) facts(ctx context.Context, r *catalog.Record) (*facts.Facts, error) {
	dir, err := kernels.DefaultTreesDir()
	if err != nil {
		return nil, err
	}
	resolved := catalog.Resolved(r.Entry)
	if !st.held(resolved.Headers) {
		resolved.Headers = nil
	}
	trees := kernels.Trees{Dir: dir, Fetcher: archived{st.archive}}
	files, err := trees.Files(ctx, resolved)
	if err != nil {
		return nil, err
	}
	return facts.Of(ctx, files)
}

// archived is a fetcher of what the archive has.
type archived struct{ *archive.Archive }

func (a archived) Fetch(_ context.Context, p kernels.Package) (string, error) {
	path, err := a.Path(p.Digest)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", p.Name, p.Version, err)
	}
	return path, nil
}

func (st *store) printRecord(s Streams, r *catalog.Record) error {
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	line := func(label, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", label, fmt.Sprintf(format, args...))
	}
	line("kernel", "%s", r.Name())
	line("release", "%s #%s %s", dash(r.Release), dash(r.Version), r.Arch)
	line("source", "%s %s, package version %s", r.Source, r.Repo, dash(r.PackageVersion))
	line("availability", "%s; seen %s to %s", r.Availability, r.FirstSeen.Format(time.DateOnly), r.LastSeen.Format(time.DateOnly))
	if r.Access != "" {
		line("access", "%s", r.Access)
	}
	for _, p := range r.Policies {
		line("policy", "%s: %s: %s", p.Variant, p.Cause, p.Reason)
	}
	if r.Unbootable != "" {
		line("unbootable", "%s", r.Unbootable)
	}
	if r.Note != "" {
		line("note", "%s", r.Note)
	}
	for _, part := range []struct {
		label    string
		packages []kernels.Package
	}{{"image", r.Image}, {"headers", r.Headers}} {
		for i, p := range part.packages {
			label := part.label
			if i > 0 {
				label = ""
			}
			line(label, "%s", st.packageLine(p))
		}
		if len(part.packages) == 0 {
			line(part.label, "no package is known")
		}
	}
	return w.Flush()
}

func (st *store) packageLine(p kernels.Package) string {
	text := p.Name
	if p.Version != "" {
		text += " " + p.Version
	}
	if p.Size > 0 {
		text += ", " + humanize.IBytes(uint64(p.Size))
	}
	switch {
	case p.Digest != "":
		text += ", sha256:" + string(p.Digest)
	case p.Sum != "":
		text += ", " + p.Sum
	}
	if st.has(p) {
		return text + ", in the archive"
	}
	if p.URL != "" {
		return text + ", " + p.URL
	}
	return text
}
