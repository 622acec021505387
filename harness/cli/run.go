// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/history"
	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/machine/qemu/accel"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/compare"
	"github.com/mews-farm/mews/results/rundir"
)

// defaultMemory of a guest, in MiB.
const defaultMemory = 640

func newRun(s Streams) *cobra.Command {
	var f selectFlags
	var out, resume, baseline string
	var jobs, memory, repeat int
	var vmcore, noFork, keep bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Boot the kernels, load the drivers, replay the attacks, and judge",
		Long: `run takes every cell of a profile (kernel x driver) from packages to a verdict: it fetches and verifies the
packages, builds the driver, boots the kernel, loads the driver, checks what its events say, does each attack and
its harmless twin, and unloads. It writes run.json, junit.xml, summary.md, report.html and each cell's logs.

A kernel boots once: its guest is stopped when the agent has answered, and kept in the archive for later runs. Every
cell goes on from a copy of it, and every scenario from a copy in which the driver is loaded and the consumer ready.
Where a guest cannot be saved or taken up, the cell flies in one boot and says so; --no-fork has all of them do so.

--repeat 20 does every scenario, with its twin, twenty times, each time in a copy of its own. It passes only if the verdict was
the same 20 of 20 times, and the record says how many it was; one that was not is FLAKE_SUSPECTED, with what came each time.

With --baseline, the verdicts are also held against those of an earlier run: what passed and does not any more is a
regression, exit code 1; what had a verdict and has none is lacking, exit code 3. Stages that take much longer are named.
What this run was not asked for is not its concern; ` + "`mews results compare`" + ` compares two runs as a whole.`,
		Example: `  mews run
  mews run --profile control
  mews run --kernel 'debian:6.12.*-cloud-amd64' --driver mews-modern --scenario 'openat2-*'
  mews run --offline --out out/again
  mews run --kernel debian-7 --driver falco-kmod --vmcore
  mews run --kernel debian-6.1 --driver mews-modern --scenario drop-and-execute --repeat 20
  mews run --kernel debian-6.1 --driver mews-modern --scenario read-sensitive --keep
  mews run --resume out/20261121-2200-k3f9
  mews run --profile stable --baseline out/last-night`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if jobs < 1 {
				return fmt.Errorf("--jobs %d: at least one cell must run at once", jobs)
			}
			if out != "" && resume != "" {
				return errors.New("--out and --resume both name the run directory: give one")
			}
			if repeat < 1 {
				return fmt.Errorf("--repeat %d: a scenario that is not done proves nothing", repeat)
			}
			o := runOptions{out: out, resume: resume, jobs: jobs, memory: memory, vmcore: vmcore, noFork: noFork || keep, keep: keep, repeat: repeat}
			if baseline != "" {
				earlier, err := rundir.Load(baseline)
				if err != nil {
					return err
				}
				o.earlier = &earlier
			}
			return run(c.Context(), s, f, o)
		},
	}
	f.add(c)
	c.Flags().StringVar(&out, "out", "", "the run directory (default out/<run id>)")
	c.Flags().StringVar(&resume, "resume", "", "go on with the run in this `directory`, with the flags it was begun with: cells that have a verdict are kept")
	c.Flags().IntVar(&jobs, "jobs", runtime.NumCPU(), "cells that have guests at once; builds of others go on beside them")
	c.Flags().IntVar(&repeat, "repeat", 1, "do every scenario `N` times: it passes only if its verdict was the same all N times")
	c.Flags().IntVar(&memory, "memory", defaultMemory, "memory of a guest in `MiB`; the emulator needs about 200 more")
	c.Flags().StringVar(&baseline, "baseline", "", "the `directory` of an earlier run to compare with")
	c.Flags().BoolVar(&vmcore, "vmcore", false, "keep the memory of a guest whose kernel panicked or hung: cells/<id>/vmcore, as large as --memory says, with holes")
	c.Flags().BoolVar(&noFork, "no-fork", false, "do everything of a cell in one boot of its own, as a cross-check: the verdicts must be the same")
	c.Flags().BoolVar(&keep, "keep", false, "of one cell: leave the guest after its scenarios, and open a shell in it (Ctrl-] leaves); implies --no-fork")
	return c
}

type runOptions struct {
	out, resume  string
	jobs, memory int
	vmcore       bool
	noFork       bool
	keep         bool
	repeat       int          // how often each scenario is done
	measured     bool         // the perf lane
	before       *results.Run // whose costs each cell's are held against; nil: nobody's
	earlier      *results.Run // which the whole run is compared with when it is over; nil: none
}

func run(ctx context.Context, s Streams, f selectFlags, o runOptions) error {
	binary, err := agentBinary()
	if err != nil {
		return err
	}
	out := s.Out
	if o.keep {
		out = struct{ io.Writer }{out} // plain lines: a table that is drawn anew would be drawn over the shell
	}
	view := live.New(out)
	w := &warnings{view: view}
	e, err := open(f, binary, w.add)
	if err != nil {
		view.Abort()
		return err
	}
	began := time.Now()
	view.Note("resolving kernels and packages")
	plan, err := e.plan(ctx)
	if err != nil {
		view.Abort()
		return err
	}
	if o.keep && len(plan.Cells) != 1 {
		view.Abort()
		return fmt.Errorf("--keep leaves one guest, and this run has %d cells: narrow it by --kernel and --driver", len(plan.Cells))
	}
	if o.measured {
		for _, c := range plan.Cells {
			c.Measure()
		}
	}
	if o.repeat > 1 {
		for _, c := range plan.Cells {
			c.Repeat = o.repeat
		}
	}
	acc, err := accelerator(ctx, e.shop, plan)
	if err != nil {
		view.Abort()
		return err
	}
	view.Note("accelerator: " + acc.Name() + " (" + acc.Reason + ")")

	past, forgotten := history.Open(e.shop.Dir)
	if forgotten != "" {
		view.Note(forgotten)
	}
	estimate := harness.EstimateRun(plan.Cells, past, acc.Name(), o.jobs, o.memory)
	dir, todo, err := runDir(o, plan, results.Run{
		ID: results.NewID(began), Profile: plan.Profile, Started: began.UTC(), Warnings: w.list(), Cells: declare(plan), Estimate: estimate.Record(),
		Host: results.Host{Accelerator: acc.Name(), AcceleratorReason: acc.Reason, CPUs: runtime.NumCPU(), CPU: cpuModel(), MemoryMiB: memoryMiB(), OS: osName(), QEMU: qemuVersion(ctx)},
	})
	if err != nil {
		view.Abort()
		return err
	}
	w.keep(dir.Warn)
	if o.resume != "" {
		estimate = harness.EstimateRun(todo, past, acc.Name(), o.jobs, o.memory) // of what is left
	}
	view.Note(estimate.String())
	for _, c := range todo {
		kernel, driver := c.Label()
		view.Cell(live.Row{ID: c.ID, Kernel: kernel, Driver: driver, Stages: c.Stages(), Lengths: estimate.Lengths[c.ID]})
	}
	view.Estimate(estimate.Whole())
	runner := &harness.Runner{
		Parts: e.shop, Starter: qemu.Starter{Accel: acc}, Patience: harness.Patience(acc.Scale(time.Second).Seconds()),
		MemoryMiB: o.memory, Vmcore: o.vmcore, Jobs: o.jobs, NoFork: o.noFork, Shelf: e.shop.Archive,
		Recorder: func(cell string) harness.Recorder { return recorder{dir, cell} },
		View:     view,
		Before:   beforeOf(o.before),
		History:  past, Accelerator: acc.Name(), Dir: e.shop.Dir,
	}
	if o.keep {
		runner.Keep = func(ctx context.Context, c *agent.Client) error { return visit(ctx, s, c) }
	}
	if o.resume == "" {
		past.Add(history.Key{Stage: history.Start, Accelerator: acc.Name()}, time.Since(began).Seconds())
	}
	runErr := runner.Run(ctx, todo)
	if err := past.Save(e.shop.Dir); err != nil {
		view.Note(fmt.Sprintf("how long this run took is not kept: %v", err))
	}
	rec, err := dir.Finish()
	if err = errors.Join(err, view.Close(rec)); err != nil {
		return &exitError{results.ExitLacking, errors.Join(runErr, err)}
	}
	fmt.Fprintf(s.Out, "report: %s\n", filepath.Join(dir.Path(), rundir.ReportFile))
	switch {
	case harness.Interrupted(runErr):
		return &exitError{exitInterrupted, fmt.Errorf("interrupted; the record is complete as far as it came; go on with the same flags and --resume %s", dir.Path())}
	case runErr != nil:
		return &exitError{results.ExitLacking, runErr}
	}
	code := results.ExitCode(rec)
	if o.earlier != nil {
		r := compare.Runs(*o.earlier, rec, true)
		fmt.Fprintln(s.Out)
		if err := r.Render(s.Out, false); err != nil {
			return &exitError{results.ExitLacking, err}
		}
		code = compare.Worse(code, r.ExitCode())
	}
	if code != results.ExitExpected {
		return &exitError{code: code}
	}
	return nil
}

// runDir makes the directory of a new run, or opens that of one to go on with, and says which cells are to be run.
func runDir(o runOptions, plan *harness.Plan, run results.Run) (*rundir.Dir, []*harness.Cell, error) {
	if o.resume != "" {
		path, err := filepath.Abs(o.resume)
		if err != nil {
			return nil, nil, err
		}
		dir, done, err := rundir.Reopen(path, run.Cells)
		todo := slices.DeleteFunc(slices.Clone(plan.Cells), func(c *harness.Cell) bool { return slices.Contains(done, c.ID) })
		return dir, todo, err
	}
	if o.out == "" {
		o.out = filepath.Join("out", run.ID)
	}
	// The sandbox and the emulator see other roots and folders than this process.
	path, err := filepath.Abs(o.out)
	if err != nil {
		return nil, nil, err
	}
	dir, err := rundir.Create(path, run)
	return dir, plan.Cells, err
}

// accelerator probes with the first kernel that can be had. Where none can, nothing will boot either.
func accelerator(ctx context.Context, shop *parts.Workshop, p *harness.Plan) (qemu.Accel, error) {
	for _, c := range p.Cells {
		if c.Err != nil || !c.Boots() {
			continue
		}
		files, err := shop.Kernel(ctx, c.Resolved)
		if err != nil {
			continue // the cell will say so
		}
		return accel.Prober{Kernel: files.Image, CacheDir: shop.Dir}.Probe(ctx)
	}
	if err := context.Cause(ctx); err != nil {
		return qemu.Accel{}, err
	}
	return qemu.Accel{Reason: "KVM not tried: no kernel was to be booted that could be had"}, nil
}

func osName() string {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return runtime.GOOS
	}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"`)
		}
	}
	return runtime.GOOS
}

// cpuModel is what the kernel calls the processor, or empty.
func cpuModel() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// memoryMiB is the memory of this machine, 0 where the kernel does not tell.
func memoryMiB() int {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int(info.Totalram * uint64(info.Unit) >> 20)
}

// qemuVersion is the first line of QEMU's own answer, or empty: its absence is the boot stage's to report.
func qemuVersion(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, qemu.Program, "--version").Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(line, "QEMU emulator version ")
}

// warnings shows each warning once, and hands those that came before there was a run directory to it.
type warnings struct {
	mu   sync.Mutex
	view live.View
	seen []string
	to   func(string) error
}

func (w *warnings) add(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Contains(w.seen, text) {
		return
	}
	w.seen = append(w.seen, text)
	w.view.Warn(text)
	if w.to != nil {
		if err := w.to(text); err != nil {
			w.view.Warn(fmt.Sprintf("that warning is not in the record: %v", err))
		}
	}
}

func (w *warnings) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

func (w *warnings) keep(to func(string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = to
}
