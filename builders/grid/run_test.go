// SPDX-License-Identifier: Apache-2.0

package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// toy is a builder that makes a text of a cell's name. Building is for the tests of parts, where it is real.
type toy struct {
	mu      sync.Mutex
	built   []string
	atOnce  int
	most    int
	gate    chan struct{} // nil: builds do not wait
	inputs  func(c *Cell) (*Inputs, error)
	outcome func(c *Cell) error
}

func (b *toy) Inputs(_ context.Context, c *Cell) (*Inputs, error) {
	if b.inputs != nil {
		return b.inputs(c)
	}
	return inputsOf(c), nil
}

func inputsOf(c *Cell) *Inputs {
	compiler := c.Compiler
	if compiler == "" {
		compiler = "gcc-12"
	}
	return &Inputs{Recipe: "1", Kernel: c.Kernel.Kernel, Variant: c.Driver.Variant, Source: c.Driver.Source, Root: "r", Compiler: compiler,
		Headers: []archive.Digest{archive.DigestOf([]byte(c.Kernel.Name))}}
}

func (b *toy) Build(ctx context.Context, c *Cell, dir string, _ int) (*product.Artifact, error) {
	b.mu.Lock()
	b.built = append(b.built, c.ID)
	b.atOnce++
	b.most = max(b.most, b.atOnce)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.atOnce--
		b.mu.Unlock()
	}()
	if b.gate != nil {
		select {
		case <-b.gate:
		case <-ctx.Done():
			return nil, cause.Errorf(cause.Cancelled, cause.FaultInfra, "build: %w", context.Cause(ctx))
		}
	}
	log := filepath.Join(dir, LogName)
	if err := os.WriteFile(log, []byte("log of "+c.ID), 0o644); err != nil {
		return nil, err
	}
	if b.outcome != nil {
		if err := b.outcome(c); err != nil {
			return nil, err
		}
	}
	text := []byte("made of " + c.ID)
	path := filepath.Join(dir, "x"+c.Driver.Variant.Suffix())
	in := inputsOf(c)
	return &product.Artifact{
		Path: path, LogPath: log, Variant: in.Variant, File: filepath.Base(path), SHA256: archive.DigestOf(text), Size: int64(len(text)),
		Kernel: in.Kernel, DriverVersion: c.Driver.Version, Source: in.Source, Root: in.Root, Headers: in.Headers,
		Compiler: product.Compiler{Command: in.Compiler}, Log: archive.DigestOf([]byte("log of " + c.ID)), Seconds: 2,
	}, os.WriteFile(path, text, 0o644)
}

// shelf is a store in memory.
type shelf struct {
	mu     sync.Mutex
	held   map[string]*product.Artifact
	keys   map[string]string
	groups [][]string
	err    error
}

func (s *shelf) Find(_ context.Context, c *Cell, key string) (*product.Artifact, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[c.ID] != key {
		return nil, nil
	}
	return s.held[c.ID], nil
}

func (s *shelf) Publish(_ context.Context, rs []*Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.held == nil {
		s.held, s.keys = map[string]*product.Artifact{}, map[string]string{}
	}
	var ids []string
	for _, r := range rs {
		ids = append(ids, r.ID+" "+string(r.State))
		if r.Artifact != nil {
			if r.Origin != Stored {
				if _, err := os.Stat(r.Artifact.Path); err != nil {
					return err
				}
			}
			s.held[r.ID], s.keys[r.ID] = r.Artifact, r.Inputs.Key()
		}
	}
	s.groups = append(s.groups, ids)
	return nil
}

type silent struct{}

func (silent) Start(string, string)                    {}
func (silent) End(string, string, cause.State, string) {}
func (silent) Done(string, cause.State)                {}

func kernel(release string) *Kernel {
	return &Kernel{Name: "debian:" + release, Resolved: &kernels.Resolved{Kernel: kernels.Kernel{Distro: "debian", Release: release, Version: "1", Arch: "x86_64"}}}
}

func driver(name string, v product.Variant) *Driver {
	return &Driver{Name: name, Variant: v, Version: "0.23.2", Source: archive.DigestOf([]byte("source"))}
}

// small is a grid of two kernels and both variants of a driver.
func small() []*Cell {
	return Cells([]*Kernel{kernel("6.1.0-1"), kernel("6.12.1")}, []*Driver{driver("falco-kmod", product.KMod), driver("falco-ebpf", product.EBPF)}, nil)
}

func options(t *testing.T, b Builder, s Store) Options {
	t.Helper()
	a, err := archive.New(filepath.Join(t.TempDir(), "archive"))
	if err != nil {
		t.Fatal(err)
	}
	return Options{Builder: b, Store: s, Archive: a, Scratch: filepath.Join(t.TempDir(), "scratch"), Jobs: 4, Watcher: silent{}}
}

func states(rs []*Result) string {
	var out []string
	for _, r := range rs {
		out = append(out, fmt.Sprintf("%s %s %s", r.ID, r.State, r.Origin))
	}
	return strings.Join(out, "\n")
}

func TestUnchangedGridBuildsNothing(t *testing.T) {
	b, s := &toy{}, &shelf{}
	o := options(t, b, s)
	first, err := Run(t.Context(), small(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(b.built) != 4 || len(s.held) != 4 || results.ExitCode(Record(first)) != results.ExitExpected {
		t.Fatalf("built %v, holds %d:\n%s", b.built, len(s.held), states(first))
	}
	for _, ids := range s.groups {
		if len(ids) != 2 {
			t.Errorf("published together: %v; want module and probe of one kernel", ids)
		}
	}
	again, err := Run(t.Context(), small(), o)
	if err != nil || len(b.built) != 4 {
		t.Fatalf("%v; built %v", err, b.built)
	}
	for i, r := range again {
		if r.State != cause.Pass || r.Origin != Remembered || r.Artifact.SHA256 != first[i].Artifact.SHA256 || !r.Artifact.Cached || r.Seconds != 2 || r.LogPath == "" {
			t.Errorf("%+v", r)
		}
	}
	// A store that another machine filled is as good as a memory.
	o.Archive = options(t, b, s).Archive
	stored, err := Run(t.Context(), small(), o)
	if err != nil || len(b.built) != 4 || stored[0].Origin != Stored {
		t.Errorf("%v; built %v\n%s", err, b.built, states(stored))
	}
}

// Every input counts.
func TestChangedInputIsBuilt(t *testing.T) {
	for name, change := range map[string]func(in *Inputs){
		"source":  func(in *Inputs) { in.Source = archive.DigestOf([]byte("other")) },
		"headers": func(in *Inputs) { in.Headers = []archive.Digest{archive.DigestOf([]byte("other"))} },
		"sums":    func(in *Inputs) { in.Sums = []string{"md5:x"} },
		"root":    func(in *Inputs) { in.Root = "other" },
		"gcc":     func(in *Inputs) { in.Compiler = "gcc-13" },
		"kernel":  func(in *Inputs) { in.Kernel.Version = "2" },
		"variant": func(in *Inputs) { in.Variant = product.EBPF },
	} {
		b, s := &toy{}, &shelf{}
		o := options(t, b, s)
		cells := small()[:1]
		if _, err := Run(t.Context(), cells, o); err != nil {
			t.Fatal(err)
		}
		b.inputs = func(c *Cell) (*Inputs, error) {
			in := inputsOf(c)
			change(in)
			return in, nil
		}
		if _, err := Run(t.Context(), cells, o); err != nil || len(b.built) != 2 {
			t.Errorf("%s: %v; built %v", name, err, b.built)
		}
	}
}

// What a recipe or force changes is not to be seen in an artifact: the key has it.
func TestKeyHasEveryInput(t *testing.T) {
	base := Inputs{Recipe: "1", Compiler: "gcc-12"}
	seen := map[string]string{base.Key(): "base"}
	for name, in := range map[string]Inputs{
		"recipe": {Recipe: "2", Compiler: "gcc-12"}, "forced": {Recipe: "1", Compiler: "gcc-12", Forced: true}, "wanted": {Recipe: "1", Compiler: "gcc-12", Wanted: "gcc-11"},
	} {
		if was, ok := seen[in.Key()]; ok {
			t.Errorf("%s has the key of %s", name, was)
		}
		seen[in.Key()] = name
	}
	forced := product.Artifact{Compiler: product.Compiler{Command: "gcc-12"}, Broken: &product.Broken{}}
	if base.made(&forced) {
		t.Error("what was forced is taken for what was not")
	}
}

// An artifact that contradicts the inputs it is kept under is not theirs, whoever put it there.
func TestMade(t *testing.T) {
	c := small()[0]
	in := inputsOf(c)
	artifact := func() *product.Artifact {
		return &product.Artifact{Kernel: in.Kernel, Variant: in.Variant, Source: in.Source, Root: in.Root, Compiler: product.Compiler{Command: in.Compiler}, Headers: in.Headers}
	}
	if !in.made(artifact()) {
		t.Fatal("their own artifact is not theirs")
	}
	for name, change := range map[string]func(a *product.Artifact){
		"kernel":   func(a *product.Artifact) { a.Kernel.Release = "x" },
		"variant":  func(a *product.Artifact) { a.Variant = product.EBPF },
		"source":   func(a *product.Artifact) { a.Source = "x" },
		"root":     func(a *product.Artifact) { a.Root = "x" },
		"compiler": func(a *product.Artifact) { a.Compiler.Command = "gcc-13" },
		"headers":  func(a *product.Artifact) { a.Headers = nil },
		"sums":     func(a *product.Artifact) { a.HeaderSums = []string{"md5:x"} },
	} {
		a := artifact()
		if change(a); in.made(a) {
			t.Errorf("one of another %s is taken for theirs", name)
		}
	}
	// recall asks for it.
	b := &toy{}
	o := options(t, b, nil)
	rs, err := Run(t.Context(), small()[:1], o)
	if err != nil {
		t.Fatal(err)
	}
	rs[0].Artifact.Root = "x"
	text, err := json.Marshal(record{Finding: rs[0].Finding, Stage: StageBuild, Artifact: rs[0].Artifact, Log: rs[0].Log})
	if err != nil {
		t.Fatal(err)
	}
	d, err := o.Archive.Add(t.Context(), strings.NewReader(string(text)), maxRecord)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Archive.SetRef(ref(rs[0].Inputs.Key()), d); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), small()[:1], o); err != nil || len(b.built) != 2 {
		t.Errorf("%v: built %v", err, b.built)
	}
}

func TestWhatLasts(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		again int // builds after two runs
	}{
		{"the driver does not fit", cause.Failf(cause.CompileError, cause.FaultDriver, "x"), 1},
		{"the compiler does not keep what the config promises", cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "x"), 1},
		{"the builder lacks a tool", cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "x"), 2},
		{"the disk was full", cause.Errorf(cause.DiskFull, cause.FaultInfra, "x"), 2},
		{"a bug", errors.New("x"), 2},
	} {
		b := &toy{outcome: func(*Cell) error { return c.err }}
		o := options(t, b, nil)
		first, err := Run(t.Context(), small()[:1], o)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Run(t.Context(), small()[:1], o)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.built) != c.again || first[0].State != again[0].State || first[0].Cause != again[0].Cause || again[0].What() != first[0].What() || again[0].LogPath == "" {
			t.Errorf("%s: %d builds, %+v then %+v", c.name, len(b.built), first[0], again[0])
		}
	}
}

// One cell's trouble is not another's, and each has its exit code.
func TestTroubles(t *testing.T) {
	gone := kernel("6.16.3")
	headless := cause.Errorf(cause.HeadersMissing, cause.FaultKernel, "no headers for kernel 6.16.3").With(cause.Text("linux-headers-6.16.3 is not in trixie-backports")...)
	lost := &Kernel{Name: "debian-7", Err: cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "no answer")}
	old := driver("legacy-10", product.EBPF)
	old.Version = "10.2.0+driver"
	b := &toy{
		inputs: func(c *Cell) (*Inputs, error) {
			if c.Kernel == gone {
				return nil, headless
			}
			return inputsOf(c), nil
		},
	}
	s := &shelf{}
	rs, err := Run(t.Context(), Cells([]*Kernel{gone, lost, kernel("6.1.0-1")}, []*Driver{driver("falco-kmod", product.KMod), old}, nil), options(t, b, s))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"error HEADERS_MISSING", "unsupported VARIANT_GONE", "error MIRROR_UNREACHABLE", "unsupported VARIANT_GONE", "pass ", "unsupported VARIANT_GONE"}
	for i, r := range rs {
		if got := fmt.Sprintf("%s %s", r.State, r.Cause); got != want[i] {
			t.Errorf("%s: %s, want %s", r.ID, got, want[i])
		}
	}
	if !slices.ContainsFunc(rs[0].Evidence, func(e cause.Evidence) bool { return strings.Contains(e.Text, "not in trixie-backports") }) || rs[0].Next == "" {
		t.Errorf("what was looked for is not told: %+v", rs[0])
	}
	if code := results.ExitCode(Record(rs)); code != results.ExitLacking {
		t.Errorf("exit code %d", code)
	}
	if len(b.built) != 1 || len(s.held) != 1 {
		t.Errorf("built %v", b.built)
	}
}

func TestDeniedStore(t *testing.T) {
	denied := cause.Errorf(cause.DiskFull, cause.FaultInfra, "the bucket takes no more")
	b, s := &toy{}, &shelf{err: denied}
	o := options(t, b, s)
	rs, err := Run(t.Context(), small(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if r.State != cause.Error || r.Cause != cause.DiskFull || r.Stage != StagePublish || r.Artifact != nil {
			t.Errorf("%+v", r)
		}
	}
	s.err = nil
	if rs, err = Run(t.Context(), small(), o); err != nil || len(b.built) != 4 || len(s.held) != 4 || rs[0].State != cause.Pass {
		t.Errorf("%v: what was built was built again: %v", err, b.built)
	}
}

func TestInterrupted(t *testing.T) {
	b, s := &toy{gate: make(chan struct{})}, &shelf{}
	o := options(t, b, s)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("somebody stopped it")
	go func() {
		b.gate <- struct{}{} // one cell comes through
		cancel(stop)
	}()
	rs, err := Run(ctx, small(), o)
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	missing := 0
	for _, r := range rs {
		switch r.State {
		case cause.Missing:
			missing++
		case cause.Pass:
		default:
			t.Errorf("%+v", r)
		}
	}
	if missing != 3 || len(s.groups) != 0 {
		t.Errorf("%d of 4 cells are missing, published %v", missing, s.groups)
	}
	before := len(rs) - missing
	b.gate, b.built = nil, nil
	if rs, err = Run(t.Context(), small(), o); err != nil || len(b.built) != 4-before || len(s.held) != 4 {
		t.Errorf("%v: with %d known, built %v\n%s", err, before, b.built, states(rs))
	}
	if left, err := os.ReadDir(o.Scratch); err != nil || len(left) != 0 {
		t.Errorf("left in scratch: %v, %v", left, err)
	}
}

func TestJobsBoundBuilds(t *testing.T) {
	b := &toy{}
	o := options(t, b, nil)
	o.Jobs = 1
	if _, err := Run(t.Context(), small(), o); err != nil || b.most != 1 {
		t.Errorf("%v: %d at once", err, b.most)
	}
}

// A record that the archive lost a part of, or that somebody wrote over, is no result.
func TestDamagedMemory(t *testing.T) {
	b := &toy{}
	o := options(t, b, nil)
	rs, err := Run(t.Context(), small()[:1], o)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(rs[0].Artifact.Path); err != nil {
		t.Fatal(err)
	}
	if rs, err = Run(t.Context(), small()[:1], o); err != nil || len(b.built) != 2 || rs[0].Origin != Built {
		t.Errorf("%v: a lost artifact was not built again", err)
	}
	d, err := o.Archive.Add(t.Context(), strings.NewReader(`{"finding":{"state":"pass"}}`), 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Archive.SetRef(ref(rs[0].Inputs.Key()), d); err != nil {
		t.Fatal(err)
	}
	if _, err = Run(t.Context(), small()[:1], o); err != nil || len(b.built) != 3 {
		t.Errorf("%v: a pass without an artifact was believed", err)
	}
}

// What a killed run left is removed by the next one; what a running one holds is not.
func TestScratch(t *testing.T) {
	parent := t.TempDir()
	left := filepath.Join(parent, scratchPrefix+"left")
	if err := os.MkdirAll(filepath.Join(left, "cell-1"), 0o755); err != nil {
		t.Fatal(err)
	}
	one, err := openScratch(parent)
	if err != nil {
		t.Fatal(err)
	}
	two, err := openScratch(parent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("what nobody holds is still there")
	}
	if _, err := os.Stat(one.dir); err != nil {
		t.Errorf("what a run holds was removed: %v", err)
	}
	if err := errors.Join(one.close(), two.close()); err != nil {
		t.Error(err)
	}
}

func TestSlots(t *testing.T) {
	for _, c := range []struct {
		jobs, cells, processors int
		memory                  int64
		parallel, each          int
	}{
		{8, 100, 8, 32 << 30, 8, 1},
		{8, 1, 8, 32 << 30, 1, 8},
		{8, 3, 8, 32 << 30, 3, 2},
		{8, 100, 8, 2 << 30, 2, 1},  // memory for two
		{8, 1, 64, 4 << 30, 1, 5},   // memory bounds make too
		{8, 100, 8, 10 << 20, 1, 1}, // too little even for one: it is tried
		{2, 100, 8, 0, 2, 4},        // not known
		{0, 0, 0, 0, 1, 1},
	} {
		if p, e := slots(c.jobs, c.cells, c.processors, c.memory); p != c.parallel || e != c.each {
			t.Errorf("slots(%d, %d, %d, %d) = %d, %d; want %d, %d", c.jobs, c.cells, c.processors, c.memory, p, e, c.parallel, c.each)
		}
	}
	for text, want := range map[string]int64{
		"MemTotal: 5 kB\nMemAvailable:   12345 kB\n": 12345 << 10, "": 0, "MemAvailable: much\n": 0, "MemAvailable: 99999999999999999999 kB\n": 0,
	} {
		if got := available(strings.NewReader(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestCells(t *testing.T) {
	cos := &Kernel{Name: "cos:17800.1", Resolved: &kernels.Resolved{Kernel: kernels.Kernel{Distro: "cos", Release: "5.15.1+", Arch: "aarch64", BuildID: "17800.1"}}}
	lost := &Kernel{Name: "debian:7.*/../x", Err: errors.New("x")}
	for i, c := range Cells([]*Kernel{cos, lost}, []*Driver{driver("d", product.KMod)}, []string{"", "gcc-9"}) {
		want := []string{"cos-5.15.1+-17800.1--d--aarch64", "cos-5.15.1+-17800.1--d--aarch64--gcc-9", "debian_7.___x--d", "debian_7.___x--d--gcc-9"}[i]
		if c.ID != want || results.CheckID(c.ID) != nil {
			t.Errorf("%s, want %s", c.ID, want)
		}
	}
}

// A probe is compiled by a clang.
func TestCompilersOfAProbe(t *testing.T) {
	cells := Cells([]*Kernel{kernel("6.1.0-1")}, []*Driver{driver("p", product.EBPF)}, []string{"gcc-12", "clang-14"})
	if len(cells) != 1 || cells[0].Compiler != "clang-14" {
		t.Errorf("%d cells", len(cells))
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"finding":{"state":"fail","cause":"COMPILE_ERROR","fault":"driver","evidence":null},"stage":"build"}`))
	f.Add([]byte(`{"finding":{"state":"pass"},"artifact":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		rec, err := parseRecord(text)
		if err != nil {
			return
		}
		if rec.Finding.State == cause.Pass && !rec.Artifact.SHA256.Valid() {
			t.Error("a pass without an artifact")
		}
		if _, err := json.Marshal(rec); err != nil {
			t.Error(err)
		}
	})
}
