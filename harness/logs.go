// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"os"
	"path/filepath"

	"github.com/mews-farm/mews/builders/classify"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/harness/schedule"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// builtFor is the kernel that a log is of.
func builtFor(l matrix.Log) kernels.Kernel {
	return kernels.Kernel{Distro: l.Distro.V, Release: l.Kernel.V}
}

// addLogs adds the logs of a profile that sel selects, each as a cell.
func (p *Plan) addLogs(prof matrix.Profile, sel Selection) {
	for _, l := range prof.Logs {
		k := builtFor(l)
		if !selected(sel.Kernels, matrix.Kernel{}, k) || !matches(sel.Drivers, l.Name.V) {
			continue
		}
		p.Cells = append(p.Cells, &Cell{
			ID:     results.CellID(results.Kernel(k), l.Name.V),
			Kernel: matrix.Kernel{Name: k.Release, Distro: l.Distro},
			Driver: matrix.Driver{Name: l.Name.V, Variant: matrix.Str{V: "kmod"}},
			Expect: l.Expected(), Log: &l,
		})
	}
}

// readLog is the whole of a cell that is a log: what it says of the build, with nothing else known of that. A log that names
// no failure is the error that the classifier makes of it.
func (c *cellRun) readLog(ctx context.Context) error {
	return c.stage(ctx, results.StageBuild, func() (string, error) {
		leave, err := c.turn.take(ctx, c.step(schedule.Fetch))
		if err != nil {
			return "", err
		}
		defer leave()
		f, err := os.Open(c.Log.File.V)
		if err != nil {
			return "", cause.Errorf(cause.Internal, cause.FaultHarness, "read a published log: %w", err)
		}
		defer f.Close()
		return "", classify.Log(f, classify.Facts{ExitCode: 2, LogName: filepath.Base(c.Log.File.V)})
	})
}
