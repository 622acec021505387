// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/kernels/archive"
)

func newKernelsArchive(s Streams) *cobra.Command {
	var f kernelFlags
	var limit, unpin string
	c := &cobra.Command{
		Use:   "archive",
		Short: "Show how full the archive is, limit its size, and let go of what was pinned",
		Long: `archive shows the size of the archive, its limit and what is pinned. With a limit the least recently used files go
when the archive outgrows it; what a run uses, what is pinned and the newest package indexes stay.`,
		Example: `  mews kernels archive
  mews kernels archive --limit 20GiB
  mews kernels archive --limit 0
  mews kernels archive --unpin debian:6.1.0-56-cloud-amd64`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var bytes uint64
			if limit != "" {
				var err error
				if bytes, err = humanize.ParseBytes(limit); err != nil || bytes > 1<<62 {
					return fmt.Errorf("--limit %s: a size such as 20GiB is to be had, or 0 for none", limit)
				}
			}
			st, err := openStore(c.Context(), s, f)
			if err != nil {
				return err
			}
			defer st.close()
			if unpin != "" {
				if err := st.unpin(unpin); err != nil {
					return err
				}
			}
			if limit != "" {
				if err := st.archive.SetLimit(int64(bytes)); err != nil {
					return err
				}
			}
			return lacking(printArchive(c.Context(), s, st.archive))
		},
	}
	f.add(c)
	c.Flags().StringVar(&limit, "limit", "", "keep the archive below this `size` from now on; 0: no limit")
	c.Flags().StringVar(&unpin, "unpin", "", "let go of the `kernel` that was pinned")
	return c
}

func (st *store) unpin(name string) error {
	err := st.archive.Unpin(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	pins, perr := st.archive.Pins()
	if perr != nil {
		return perr
	}
	return fmt.Errorf("%s is not pinned%s", name, nearest.Hint(name, pins))
}

// printArchive makes room, where there is a limit, and shows how things stand.
func printArchive(ctx context.Context, s Streams, a *archive.Archive) error {
	limit, err := a.Limit()
	if err != nil {
		return err
	}
	size, err := a.Size()
	if err != nil {
		return err
	}
	bound := "no limit"
	if limit > 0 {
		bound = "limit " + humanize.IBytes(uint64(limit))
		e, err := a.Evict(ctx, limit)
		if err != nil {
			return err
		}
		size = e.Left
		if e.Files > 0 {
			bound += fmt.Sprintf(", %d files of %s removed", e.Files, humanize.IBytes(uint64(e.Bytes)))
		}
		if e.Left > limit {
			bound += ", above which all is in use, pinned or an index"
		}
	}
	pins, err := a.Pins()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "%s: %s, %s\n", a.Dir(), humanize.IBytes(uint64(size)), bound)
	for _, p := range pins {
		fmt.Fprintf(s.Out, "pinned: %s\n", p)
	}
	return nil
}
