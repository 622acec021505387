// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/harness/schedule"
	"github.com/mews-farm/mews/internal/splat"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// Stages lists what a cell goes through, in order.
func (c *Cell) Stages() []string {
	switch {
	case c.Log != nil:
		return []string{results.StageBuild}
	case c.Driver.Until.V == matrix.UntilBuild:
		return []string{results.StageResolve, results.StageBuild, results.StageInspect}
	}
	all := []string{results.StageResolve, results.StageBuild, results.StageInspect, results.StageBoot}
	if c.Measured {
		return append(all, results.StagePerf)
	}
	all = append(all, results.StageLoad)
	if c.Driver.Until.V != matrix.UntilLoad {
		all = append(all, results.StageEvents, results.StageScenarios)
	}
	return append(all, results.StageUnload)
}

// Built is a driver ready to be loaded.
type Built struct {
	Name   string                        // of the module in /proc/modules; empty for a CO-RE probe
	Path   string                        // of the module or legacy probe; empty for a CO-RE probe
	Device string                        // prefix of its device nodes; empty for a probe
	Open   func() (io.ReadCloser, error) // the module or legacy probe; nil for a CO-RE probe, which the agent carries
	Note   string                        // what is worth knowing of the build: compiler, duration, cached
	Kept   bool                          // it was built earlier
}

// Parts makes what a cell consists of. All of it is kept by content, and asked for by several cells at once.
type Parts interface {
	// Kernel unpacks the boot files of a kernel.
	Kernel(ctx context.Context, r *kernels.Resolved) (*kernels.Files, error)
	// Initramfs makes the archive that boots it to our agent.
	Initramfs(ctx context.Context, f *kernels.Files) (path string, err error)
	// Disks makes the userland and the container image.
	Disks(ctx context.Context, c *Cell) ([]machine.Disk, error)
	// Source fetches the driver's source.
	Source(ctx context.Context, c *Cell) error
	// Build builds the driver for the kernel; its log goes to dir.
	Build(ctx context.Context, c *Cell, f *kernels.Files, dir string) (*Built, error)
	// Inspect checks what was built, without loading it.
	Inspect(c *Cell, f *kernels.Files, b *Built) (note string, err error)
}

// Recorder keeps what a cell comes to, as it comes: when a method returns nil, its record is on disk.
type Recorder interface {
	Start(stage string) error
	Stage(results.Stage) error // replaces an earlier one of that name, which stays among the cell's attempts
	Scenario(results.Scenario) error
	Perf(...results.Perf) error // replaces earlier measurements of the same
	Alerts(scenario, side string, alerts []scenarios.Alert) error
	Dir() string // for logs
}

// cellRun is one cell on its way from packages to verdict.
type cellRun struct {
	*Cell
	parts   Parts
	starter machine.Starter
	patient Patience
	memory  int // MiB a guest
	vmcore  bool
	noFork  bool // everything in one boot
	nest    *nest
	shared  *shared
	lengths lengths
	turn    *turn
	before  *results.Cell // what measurements are compared with; nil: nothing
	rec     Recorder
	view    live.View
	keep    Visit

	files     *kernels.Files
	disks     []machine.Disk
	built     *Built
	programs  []agent.Program // of the probe that is loaded
	spec      machine.Spec    // of its guests
	bootKey   string          // what others wait for with it while its kernel boots
	second    bool            // this is the cross-check of a kernel's death
	first     results.Stage   // what it is compared with
	last      results.Stage   // the stage that ended last
	now       string          // the stage under way
	undone    atomic.Int64    // scenarios not yet begun
	inOneBoot string          // why, if forking was tried and failed
	sortie                    // what is known of the flight under way
}

// sortie is what guests of one flight leave for those that come after them.
type sortie struct {
	loaded  string          // what a stack trace calls the driver, once it is loaded
	said    []splat.Splat   // on consoles of guests that are gone
	splat   error           // the kernel of a clone complained
	excused []string        // complaints of clones that the matrix allows
	actors  map[role]string // ids of the deeds that actors wait for in the guest that clones go on from
}

// run takes the cell as far as it goes. The verdict is in the record; the error is only of a record that could
// not be written.
func (c *cellRun) run(ctx context.Context) error {
	var err error
	if c.Log != nil {
		err = c.readLog(ctx)
	} else {
		err = c.prepare(ctx)
	}
	if err == nil && c.Boots() {
		err = c.fly(ctx)
		if u := (unforked{}); errors.As(err, &u) {
			c.giveUpForks(u)
			err = c.fly(ctx)
		}
		if suspicious(err) && ctx.Err() == nil {
			err = c.again(ctx)
		}
	}
	if b := (broken{}); errors.As(err, &b) {
		return b.error
	}
	if !c.turn.started {
		return nil // the run was over before it was the cell's turn
	}
	c.view.Done(c.ID, cause.Of(err).State)
	return nil
}

// prepare does what needs no guest.
func (c *cellRun) prepare(ctx context.Context) error {
	err := c.stage(ctx, results.StageResolve, func() (string, error) {
		if c.Err != nil {
			return "", c.Err
		}
		if c.Denied != nil {
			return "", c.Denied
		}
		err := c.fetch(ctx)
		return fmt.Sprintf("%s %s of %s", c.Resolved.Image[0].Name, c.Resolved.PackageVersion, c.Resolved.Suite), err
	})
	if err != nil {
		return err
	}
	leave := func() {}
	defer func() { leave() }() // what was built is looked at in the same step
	err = c.stage(ctx, results.StageBuild, func() (note string, err error) {
		if leave, err = c.turn.take(ctx, c.step(schedule.Build)); err != nil {
			return "", err
		}
		if c.built, err = c.parts.Build(ctx, c.Cell, c.files, c.rec.Dir()); err != nil {
			return "", err
		}
		return c.built.Note, nil
	})
	if err != nil {
		return err
	}
	return c.stage(ctx, results.StageInspect, func() (string, error) { return c.parts.Inspect(c.Cell, c.files, c.built) })
}

// through is how calls of g are made: one that fails is blamed on whoever it was. A limit is of the guest's own time.
func (c *cellRun) through(ctx context.Context, g *guest) call {
	return func(limit time.Duration, f func(context.Context) error) error {
		limit = c.patient.of(limit)
		before := g.delayed()
		cctx, cancel := withOwnTime(ctx, limit, g.delayed)
		defer cancel()
		err := f(cctx)
		kept := waited(before, g.delayed())
		return hung(g.blame(ctx, c.patient, err), limit, kept)
	}
}

// fly does what needs guests.
func (c *cellRun) fly(ctx context.Context) error {
	defer c.turn.land()
	c.sortie = sortie{}
	c.undone.Store(int64(c.deeds()))
	var g *guest
	err := c.stage(ctx, results.StageBoot, func() (note string, err error) {
		g, note, err = c.launch(ctx)
		return note, err
	})
	if err != nil {
		return err
	}
	leave := func() {
		if g != nil {
			g.keepLogs(c.patient)
			g.stop()
		}
		g = nil
	}
	defer leave()
	call := func(limit time.Duration, f func(context.Context) error) error { return c.through(ctx, g)(limit, f) }

	if c.Measured {
		return c.stage(ctx, results.StagePerf, func() (string, error) {
			note, err := c.perf(call, g)
			if err != nil || !c.captures() {
				return note, err
			}
			leave() // a cell has the memory of one guest, which the next one needs
			list, wall := c.wall(ctx)
			if err := c.rec.Perf(list...); err != nil {
				return note, broken{err}
			}
			return note + wall, nil
		})
	}
	if err := c.stage(ctx, results.StageLoad, func() (note string, err error) {
		err = call(c.startLimit(), func(ctx context.Context) error { note, err = c.load(ctx, g); return err })
		c.loaded = g.driver
		return note, err
	}); err != nil {
		return err
	}
	switch {
	case c.Driver.Until.V == matrix.UntilLoad:
		return c.unloading(ctx, call, g)
	case c.Consumer.Kind.V == matrix.Command:
		return c.commanded(ctx, call, g)
	}
	if err := c.stage(ctx, results.StageEvents, func() (note string, err error) {
		err = call(c.startLimit(), func(ctx context.Context) error {
			r, err := g.c.StartConsumer(ctx, c.watching())
			note = fmt.Sprintf("%s captured after %.1f s", r.Version, r.Took.Seconds())
			return err
		})
		if err != nil {
			return "", err
		}
		return note, call(deedLimit, func(ctx context.Context) error {
			r, err := g.c.CheckEvents(ctx)
			if err != nil {
				return err
			}
			return r.Err()
		})
	}); err != nil {
		return err
	}
	err = c.stage(ctx, results.StageScenarios, func() (note string, err error) {
		if c.branches() {
			note, g, err = c.inClones(ctx, g)
			return note, err
		}
		return c.scenarios(call, g)
	})
	if err != nil && (g.gone() || ctx.Err() != nil || errors.As(err, &broken{}) || errors.As(err, &unforked{})) {
		return err
	}
	if c.keep != nil {
		if kept := c.keep(ctx, g.c); kept != nil {
			return errors.Join(err, kept)
		}
	}
	// However the scenarios came out: a complaint of the kernel is a finding of its own.
	left := c.unloading(ctx, call, g)
	if err == nil || suspicious(left) {
		return left
	}
	return errors.Join(err, left)
}

// unloading is the last stage.
func (c *cellRun) unloading(ctx context.Context, call call, g *guest) error {
	return c.stage(ctx, results.StageUnload, func() (note string, err error) {
		err = call(startLimit, func(ctx context.Context) error { note, err = c.unload(ctx, g); return err })
		return note, err
	})
}

func (c *cellRun) load(ctx context.Context, g *guest) (string, error) {
	switch {
	case c.Driver.Source.Builtin.V == matrix.Embedded:
		g.driver = "bpf_prog_"
		return "the consumer loads the driver that it brings along", nil
	case c.Driver.Variant.V == matrix.Ptrace:
		took, err := g.c.LoadTracer(ctx)
		return fmt.Sprintf("the tracer started in %.1f s; nothing goes into the kernel", took.Seconds()), err
	case c.legacy():
		g.driver = "bpf_prog_"
		return c.loadLegacy(ctx, g)
	case c.built.Open == nil:
		g.driver = "bpf_prog_"
		return c.loadProbe(ctx, g)
	}
	f, err := c.built.Open()
	if err != nil {
		return "", cause.Errorf(cause.Internal, cause.FaultHarness, "open the built module: %w", err)
	}
	defer f.Close()
	g.driver = "[" + c.built.Name + "]"
	r, err := g.c.LoadModule(ctx, agent.Module{Name: c.built.Name, Image: f, Device: c.built.Device, Params: strings.Join(matrix.Values(c.Driver.Params), " ")})
	if err != nil {
		return "", err
	}
	excused, err := complaints(r.Dmesg, nil, c.Allow, time.Now())
	return fmt.Sprintf("%d device nodes, API %s, schema %s%s", r.Devices, or(r.APIVersion, "unversioned"), or(r.SchemaVersion, "unversioned"), excused), err
}

func (c *cellRun) loadProbe(ctx context.Context, g *guest) (string, error) {
	probe := agent.Probe{Edition: c.Driver.Source.Builtin.V, Stats: c.Measured}
	file := c.override()
	btf, err := types(file)
	if err != nil {
		return "", err
	}
	if btf != nil {
		defer btf.Close()
		probe.Types = btf
	}
	r, err := g.c.LoadProbe(ctx, probe)
	if err != nil {
		return "", err
	}
	c.programs = r.Programs
	note, err := loaded(r)
	if file != "" {
		note = strings.TrimPrefix(note+"; relocated against "+filepath.Base(file)+", not the kernel's own types", "; ")
	}
	return note, err
}

// loaded is nil if every program that this kernel can have is loaded. One whose types the kernel lacks is left out and
// named: whether the driver is blind without it is for the scenarios to show, which do the deed all the same. Of the
// others the worst counts, not the first.
func loaded(r agent.ProbeReport) (string, error) {
	var worst *cause.Err
	var without []string
	for _, p := range r.Programs {
		switch {
		case p.Loaded:
		case p.Finding.State == cause.Unsupported:
			without = append(without, p.Name)
		case worst == nil || p.Finding.State == cause.Fail && worst.State != cause.Fail:
			worst = &cause.Err{Finding: p.Finding, What: "program " + p.Name + " is not loaded"}
		}
	}
	if worst != nil {
		return "", worst
	}
	note := fmt.Sprintf("%d programs in %.1f s", len(r.Programs)-len(without), r.Took.Seconds())
	if len(without) > 0 {
		note += "; without " + strings.Join(without, ", ") + ", whose types this kernel lacks"
	}
	if len(r.Programs) == len(without) {
		return "", cause.Failf(cause.NoEvents, cause.FaultDriver, "no program of the probe is loaded")
	}
	return note, nil
}

func (c *cellRun) unload(ctx context.Context, g *guest) (string, error) {
	var err error
	left := ""
	switch {
	case c.Driver.Source.Builtin.V == matrix.Embedded:
	case c.legacy():
		err = g.c.UnloadLegacy(ctx)
	case c.Driver.Variant.V == matrix.Ptrace:
		var traced int
		if traced, err = g.c.UnloadTracer(ctx); traced > 0 {
			left = fmt.Sprintf("; the tracer stays with %d threads that still run", traced)
		}
	case c.built.Open == nil:
		err = g.c.UnloadProbe(ctx)
	default:
		_, err = g.c.UnloadModule(ctx, c.built.Name)
	}
	if err != nil {
		return "", err
	}
	lines, _, err := g.kernelLogFrom(ctx, 0)
	if err != nil {
		return "", err
	}
	excused, err := complaints(lines, append(c.said, g.m.Console().Splats()...), c.Allow, time.Now())
	if err == nil {
		err = c.splat
	}
	for _, e := range c.excused {
		if !strings.Contains(excused, e) {
			excused += e
		}
	}
	if err == nil && excused == "" {
		excused = ", none a complaint"
	}
	return fmt.Sprintf("%d lines of kernel log%s%s", len(lines), excused, left), err
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// watching says what to watch for: one watch a rule, with the fields of all the scenarios that are about it.
func (c *cellRun) watching() agent.ConsumerSpec {
	spec := agent.ConsumerSpec{Kind: c.Consumer.Kind.V, Options: falcoOptions(c.Consumer)}
	for _, s := range c.able() {
		r := c.Rules[s.Rule]
		i := slices.IndexFunc(spec.Watches, func(w consumer.Watch) bool { return w.Name == r.Name })
		if i < 0 {
			i = len(spec.Watches)
			spec.Watches = append(spec.Watches, consumer.Watch{Name: r.Name, Condition: r.Condition, Fields: slices.Clone(r.Fields)})
		}
		w := &spec.Watches[i]
		for _, f := range append(slices.Sorted(fieldsOf(s)), containerField[spec.Kind]) {
			if !slices.Contains(w.Fields, f) {
				w.Fields = append(w.Fields, f)
			}
		}
	}
	return spec
}

// able are the scenarios that the consumer and the kernel have means for, in their order.
func (c *cellRun) able() []scenarios.Scenario {
	return slices.DeleteFunc(slices.Clone(c.Scenarios), func(s scenarios.Scenario) bool { return c.Unable[s.Name] != nil })
}
