// SPDX-License-Identifier: Apache-2.0

package grid

import (
	"cmp"
	"time"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// Origin says where a result comes from.
type Origin string

// The origins.
const (
	Built      Origin = "built"      // in this run
	Remembered Origin = "remembered" // an earlier run came to it with the same input
	Stored     Origin = "stored"     // the store has it, built of the same input
	Known      Origin = "known"      // nothing had to be tried: impossible, or its packages cannot be had
)

// Result is what a cell came to.
type Result struct {
	Cell *Cell `json:"-"`

	ID       string          `json:"id"`
	Kernel   kernels.Kernel  `json:"kernel"`
	Driver   string          `json:"driver"`
	Variant  product.Variant `json:"variant"`
	Version  string          `json:"driver_version,omitempty"`
	Compiler string          `json:"compiler,omitempty"` // that was asked for; the one that was used is the artifact's
	cause.Finding
	Next     string            `json:"next,omitempty"` // what to do about it
	Stage    string            `json:"stage"`          // the last one
	Origin   Origin            `json:"origin,omitempty"`
	Inputs   *Inputs           `json:"inputs,omitempty"`
	Artifact *product.Artifact `json:"artifact,omitempty"`
	Log      archive.Digest    `json:"log,omitempty"` // of the build's log in the archive
	LogPath  string            `json:"log_path,omitempty"`
	Seconds  float64           `json:"seconds"` // that the build took, when it was made
}

// newResult is a cell without a verdict.
func newResult(c *Cell) *Result {
	r := &Result{
		Cell: c, ID: c.ID, Driver: c.Driver.Name, Variant: c.Driver.Variant, Version: c.Driver.Version, Compiler: c.Compiler, Stage: StageResolve,
		Finding: cause.Finding{State: cause.Missing, Cause: cause.NotRecorded, Fault: cause.FaultHarness},
		Next:    results.Advice(cause.NotRecorded),
	}
	if c.Kernel.Resolved != nil {
		r.Kernel = c.Kernel.Kernel
	} else {
		r.Kernel = kernels.Kernel{Release: c.Kernel.Name}
	}
	return r
}

// end takes down how a stage ended.
func (r *Result) end(stage string, err error) {
	s := results.EndStage(stage, time.Time{}, time.Time{}, err).Bounded()
	r.Stage, r.Finding, r.Next = stage, s.Finding, ""
	if err != nil {
		r.Next = cmp.Or(s.Hint, results.Advice(s.Cause))
	}
}

// What is the first line of what is known of a result that is no pass.
func (r *Result) What() string {
	if len(r.Evidence) == 0 {
		return ""
	}
	return r.Evidence[0].String()
}

// Record is rs as the record of a run, which tells its exit code and its summary.
func Record(rs []*Result) results.Run {
	run := results.Run{Schema: results.SchemaName, Profile: "build"}
	for _, r := range rs {
		c := results.Cell{
			ID: r.ID, Kernel: results.Kernel(r.Kernel), Lane: "build",
			Driver:   results.Driver{Name: r.Driver, Variant: string(r.Variant), Version: r.Version},
			Declared: results.Declared{Stages: []string{results.StageBuild}},
		}
		if r.State != cause.Missing {
			c.Stages = []results.Stage{{Name: results.StageBuild, Finding: r.Finding, Seconds: r.Seconds}}
		}
		run.Cells = append(run.Cells, c)
	}
	return run
}
