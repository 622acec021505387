// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/kernels/catalog"
)

func newKernelsUpdate(s Streams) *cobra.Command {
	var f kernelFlags
	var accept bool
	c := &cobra.Command{
		Use:   "update [SOURCE...]",
		Short: "Ask the sources which kernels they have, and merge the answers",
		Long: `update merges what the sources list now: all of them, or those that are named. Nothing is ever deleted: a
kernel that is listed no more is withdrawn. A repository that cannot be read, or that lists over 10 % less than
before, keeps its last good list; update then exits 3.`,
		Example: `  mews kernels update
  mews kernels update debian ubuntu
  mews kernels update debian --accept-shrink`,
		RunE: func(c *cobra.Command, names []string) error {
			st, err := openStore(c.Context(), s, f)
			if err != nil {
				return err
			}
			defer st.close()
			if len(names) == 0 {
				names = st.sources.Names()
			}
			for _, name := range names {
				if err := st.sources.Check(name); err != nil {
					return err
				}
			}
			return st.update(c.Context(), s, names, accept)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&accept, "accept-shrink", false, "take a list that is over 10 % shorter than the last as right")
	return c
}

// update asks the sources side by side, and shows each when it is done.
func (st *store) update(ctx context.Context, s Streams, names []string, accept bool) error {
	var mu sync.Mutex
	var failed []error
	var g errgroup.Group
	g.SetLimit(4)
	for _, name := range names {
		g.Go(func() error {
			r, err := st.updateOne(ctx, name, accept)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = errors.Join(printReport(s, r), brief(r))
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("update %s: %w", name, err))
			}
			return nil // one source's failure is not another's
		})
	}
	g.Wait()
	if harness.Interrupted(context.Cause(ctx)) {
		return &exitError{exitInterrupted, errors.New("interrupted; what was merged before is kept")}
	}
	return lacking(errors.Join(failed...))
}

// brief is what failed, in a few lines: a mirror that is down fails each of its repositories.
func brief(r *catalog.Report) error {
	failed := r.Failed()
	if failed == nil {
		return nil
	}
	const few = 2
	lines := strings.Split(failed.Error(), "\n")
	if len(lines) > few {
		lines = append(lines[:few], fmt.Sprintf("and %d more; `mews kernels sources %s` shows them", len(lines)-few, r.Source))
	}
	return errors.New(strings.Join(lines, "\n"))
}

func (st *store) updateOne(ctx context.Context, name string, accept bool) (*catalog.Report, error) {
	src, err := st.sources.Open(name)
	if err != nil {
		return nil, err
	}
	return st.catalog.Update(ctx, src, time.Now(), accept)
}

func printReport(s Streams, r *catalog.Report) error {
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	for _, c := range r.Repos {
		state := "ok"
		if c.Err != nil {
			state = "kept as it was"
		}
		fmt.Fprintf(w, "%s\t%s\t%d kernels\t%d new\t%d withdrawn\t%d back\t%s\n", r.Source, c.Repo, c.Count, c.Added, c.Withdrawn, c.Back, state)
	}
	return w.Flush()
}
