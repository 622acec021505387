// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/mews-farm/mews/builders/ebpf"
	"github.com/mews-farm/mews/builders/grid"
	"github.com/mews-farm/mews/builders/images"
	"github.com/mews-farm/mews/builders/inspect"
	"github.com/mews-farm/mews/builders/kbuild"
	"github.com/mews-farm/mews/builders/kmod"
	"github.com/mews-farm/mews/builders/modern"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/builders/source"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/debian"
	"github.com/mews-farm/mews/results/cause"
)

// Foundry builds the cells of a grid out of a workshop's packages. It is safe for concurrent use.
type Foundry struct {
	Shop   *Workshop
	Images *images.Set
	Runner sandbox.Runner
	Force  bool // build although the compiler broke a promise of the kernel's configuration

	mu      sync.Mutex
	sources map[*grid.Driver]*source.Source // that each is built of
}

var _ grid.Builder = (*Foundry)(nil)

// Kernels are the kernels of a grid. One whose image cannot be had, and whose headers can, is built for all the same; and
// one whose headers no index held has its own verdict.
func (f *Foundry) Kernels(ctx context.Context, targets []*harness.Target) []*grid.Kernel {
	var out []*grid.Kernel
	for _, t := range targets {
		out = append(out, f.kernel(ctx, t.Name(), t.Found))
	}
	return out
}

func (f *Foundry) kernel(ctx context.Context, name string, found harness.Found) *grid.Kernel {
	k := &grid.Kernel{Name: name, Resolved: found.Resolved, Policies: found.Policies, Err: found.Err}
	r := found.Resolved
	if r == nil || len(r.Headers) == 0 && len(r.HeadersMissing) == 0 {
		return k
	}
	k.Resolved, k.Err = f.Shop.cross(ctx, r)
	if k.Err != nil {
		k.Resolved = r
	}
	return k
}

// hostArch is the architecture of the machine that builds, as records have it.
var hostArch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]

// cross gives a kernel of Debian headers whose programs run here.
func (w *Workshop) cross(ctx context.Context, r *kernels.Resolved) (*kernels.Resolved, error) {
	if r.Kernel.Distro != "debian" || r.Kernel.Arch == hostArch || len(r.Headers) == 0 {
		return r, nil
	}
	base, _, _ := strings.Cut(r.Suite, "-")
	suites := []string{r.Suite}
	if base != r.Suite {
		suites = append(suites, base)
	}
	return remembered(ctx, w.index, "cross", suites, []any{r}, func() (*kernels.Resolved, error) {
		o := debianOptions(w.Matrix.Sources.Debian)
		o.Archive, o.Offline, o.Warn, o.Arch = w.Archive, w.Sources.Offline, w.Sources.Warn, debianArch[r.Kernel.Arch]
		own, err := debian.New(o)
		if err != nil {
			return nil, err
		}
		return own.Cross(ctx, w.Debian, suites, r)
	})
}

// debianArch is Debian's name of an architecture.
var debianArch = map[string]string{"x86_64": "amd64", "aarch64": "arm64"}

// Drivers are the drivers of a grid: those of the matrix, and of each source at paths (a directory, a tarball or a package)
// the variants that it holds; version is that of one that does not tell, and may be empty. A source that cannot be had, or
// holds no driver, is an error of its own cells.
func (f *Foundry) Drivers(ctx context.Context, ds []matrix.Driver, paths []string, version string) []*grid.Driver {
	found := make([][]*grid.Driver, len(ds)+len(paths))
	var g errgroup.Group
	for i, d := range ds {
		g.Go(func() error {
			src, err := f.packaged(ctx, d)
			v := product.Variant(d.Variant.V)
			found[i] = []*grid.Driver{f.driver(d.Name, v, src.of(v), err)}
			return nil
		})
	}
	for i, path := range paths {
		g.Go(func() error {
			src, err := f.open(ctx, path, version)
			found[len(ds)+i] = f.adHoc(path, src, err)
			return nil
		})
	}
	g.Wait()
	return slices.Concat(found...)
}

// packaged opens the source that a driver of the matrix names.
func (f *Foundry) packaged(ctx context.Context, d matrix.Driver) (*opened, error) {
	pkg, err := f.Shop.index.Find(ctx, []string{d.Source.Suite.V}, d.Source.Package.V)
	if err != nil {
		return nil, err
	}
	deb, err := f.Shop.Debian.Fetch(ctx, pkg)
	if err != nil {
		return nil, err
	}
	return f.open(ctx, deb, "")
}

// opened is a source as its variants are built of it: a module and a legacy probe of what a checkout's cmake lays out, a CO-RE
// probe of the checkout itself. Of a source that is no checkout the two are one.
type opened struct{ laidOut, itself *source.Source }

// of is the source of a variant; nil of nothing.
func (o *opened) of(v product.Variant) *source.Source {
	switch {
	case o == nil:
		return nil
	case v == product.Modern:
		return o.itself
	}
	return o.laidOut
}

// open archives a source, and lays a checkout of libs out as its own cmake does.
func (f *Foundry) open(ctx context.Context, path, version string) (*opened, error) {
	src, err := source.Open(ctx, f.Shop.Archive, path, source.Options{Version: version})
	if err != nil {
		return nil, err
	}
	if src.Layout != source.Libs {
		return &opened{src, src}, nil
	}
	ch, err := f.Images.Named(configureCompiler, images.Want{})
	if err != nil {
		return nil, err
	}
	pkgs, err := f.Shop.index.Closure(ctx, ch.Image.Suites, source.CMakeTools(ch.Compiler.Command)...)
	if err != nil {
		return nil, err
	}
	tree, err := f.Shop.Roots.Whole(ctx, pkgs) // cmake is linked against libssl, which no compiler is
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "mews-configure-")
	if err != nil {
		return nil, kbuild.WriteErr(err)
	}
	defer os.RemoveAll(scratch)
	out, err := source.Configure(ctx, source.Configuration{Source: src, Root: tree, Compiler: ch.Compiler.Command, Scratch: scratch, Runner: f.Runner})
	return &opened{out, src}, err
}

// configureCompiler is the compiler that cmake is told of. Nothing is compiled while a checkout is configured.
const configureCompiler = "gcc-12"

func (f *Foundry) driver(name string, v product.Variant, src *source.Source, err error) *grid.Driver {
	d := &grid.Driver{Name: name, Variant: v, Err: err}
	if err != nil {
		return d
	}
	d.Version, d.Source, d.Variants = src.Version, src.Digest, slices.Concat([]product.Variant{}, src.Variants)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sources == nil {
		f.sources = map[*grid.Driver]*source.Source{}
	}
	f.sources[d] = src
	return d
}

// adHoc names what a source on disk holds: scap-0.23.2-kmod.
func (f *Foundry) adHoc(path string, from *opened, err error) []*grid.Driver {
	if err != nil {
		return []*grid.Driver{f.driver(plainName(filepath.Base(path)), product.KMod, nil, err)}
	}
	var out []*grid.Driver
	for _, v := range []product.Variant{product.KMod, product.EBPF, product.Modern} {
		// What is packaged for DKMS has of a CO-RE probe its sources at most, and not the targets that make it.
		if src := from.of(v); src.Has(v) && (v != product.Modern || src.Layout == source.Libs) {
			out = append(out, f.driver(plainName(fmt.Sprintf("%s-%s-%s", src.Name, src.Version, v)), v, src, nil))
		}
	}
	if out == nil {
		return []*grid.Driver{f.driver(plainName(from.itself.Base()), product.KMod, from.laidOut, nil)} // which will be said to hold none
	}
	return out
}

// plainName makes of a name one that a cell can be called by.
func plainName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+~-", r)) {
			return r
		}
		return '_'
	}, s)
	return cmp.Or(strings.ReplaceAll(s, "..", "__"), "source")
}

// chosen is the compiler of a cell, and the root that has it.
type chosen struct {
	images.Choice
	own   string // the kernel's own: gcc-12; "" where that is of no matter
	pkgs  []kernels.Package
	whole bool // whether the root needs all that pkgs hold
}

// oldestClang is the oldest major that the legacy probe is built with where nobody names a clang.
const oldestClang = 14

// legacyClang picks the clang for a probe, which no kernel names: the oldest, for the verifiers of its time, of the image
// that the kernel's own suite has. modpost of the headers runs in it, and needs a C library no older than its own.
func legacyClang(all []images.Choice, w images.Want) (images.Choice, error) {
	suite, _, _ := strings.Cut(w.Suite, "-")
	var best *images.Choice
	for i, c := range all {
		if c.Compiler.Family != "clang" || c.Compiler.Major < oldestClang {
			continue
		}
		if slices.Contains(c.Image.Kernels, suite) {
			return c, nil
		}
		if best == nil {
			best = &all[i]
		}
	}
	if best == nil {
		return images.Choice{}, cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "no builder image has clang-%d or a newer clang for %s", oldestClang, w.Arch)
	}
	return *best, nil
}

// choose finds the compiler of a cell, without having the kernel or the root.
func (f *Foundry) choose(ctx context.Context, c *grid.Cell) (*chosen, error) {
	k := c.Kernel.Resolved
	if c.Driver.Variant == product.Modern {
		return f.chooseCoRE(ctx, c)
	}
	w := images.Want{Distro: k.Kernel.Distro, Suite: k.Suite, Arch: k.Kernel.Arch, NoRegistry: f.puller() == nil}
	if c.Driver.Variant == product.EBPF {
		w.Arch = hostArch // every clang makes eBPF, and looks at the headers of any architecture
	}
	ch := &chosen{}
	var own kernels.Compiler
	var err error
	if c.Driver.Variant == product.KMod {
		if own, err = f.compilerOf(ctx, k); err != nil {
			return nil, err
		}
		ch.own = fmt.Sprintf("%s-%d", own.Family, own.Major)
	}
	switch {
	case c.Compiler != "":
		ch.Choice, err = f.Images.Named(c.Compiler, w)
	case c.Driver.Variant == product.EBPF:
		ch.Choice, err = legacyClang(f.Images.All(w), w)
	default:
		ch.Choice, err = f.Images.Choose(own, w)
	}
	if err != nil {
		return nil, err
	}
	if ch.Image.Registry == "" {
		ch.pkgs, err = f.Shop.index.Closure(ctx, ch.Image.Suites, ch.Image.PackagesOf(ch.Compiler)...)
	}
	return ch, err
}

// rootKey is the identity of the root, told without making it.
func (ch *chosen) rootKey() string {
	if ch.Image.Registry != "" {
		return images.PulledKey(ch.Image)
	}
	if ch.whole {
		return root.WholeKeyOf(ch.pkgs)
	}
	return root.KeyOf(ch.pkgs)
}

// puller is what can pull images of a registry, or nil.
func (f *Foundry) puller() images.Puller {
	p, ok := f.Runner.(images.Puller)
	if !ok || f.Shop.Sources.Offline {
		return nil
	}
	return p
}

// compilerOf says which compiler built a kernel. It stands in the configuration among the headers, and is remembered by
// their content: what was unpacked once need not be there to know it.
func (f *Foundry) compilerOf(ctx context.Context, r *kernels.Resolved) (kernels.Compiler, error) {
	digests, sums := kernels.Contents(r.Headers)
	h := sha256.New()
	fmt.Fprintln(h, answers, r.Kernel.Release, digests, sums)
	ref := "compiler/" + hex.EncodeToString(h.Sum(nil))
	if c, ok := answer[kernels.Compiler](f.Shop.Archive, ref); ok && c.Family != "" {
		return c, nil
	}
	files, err := f.Shop.Trees.HeaderFiles(ctx, r)
	if err != nil {
		return kernels.Compiler{}, err
	}
	c, err := files.Config.Compiler()
	if err != nil {
		return c, err
	}
	return c, keep(ctx, f.Shop.Archive, ref, c)
}

// Inputs implements grid.Builder.
func (f *Foundry) Inputs(ctx context.Context, c *grid.Cell) (*grid.Inputs, error) {
	k := c.Kernel.Resolved
	if c.Driver.Variant != product.Modern {
		if err := k.CheckHeaders(); err != nil {
			return nil, err
		}
	}
	ch, err := f.choose(ctx, c)
	if err != nil {
		return nil, err
	}
	in := &grid.Inputs{
		Recipe: recipe(c.Driver.Variant), Kernel: k.Kernel, Variant: c.Driver.Variant, Source: c.Driver.Source, Root: ch.rootKey(),
		Compiler: ch.Compiler.Command, Forced: f.Force,
	}
	in.Headers, in.Sums = kernels.Contents(k.Headers)
	if ch.own != "" && ch.own != ch.Compiler.Name {
		in.Wanted = ch.own
	}
	return in, nil
}

// recipe names how a variant is built.
func recipe(v product.Variant) string {
	switch v {
	case product.EBPF:
		return ebpf.Recipe()
	case product.Modern:
		return modern.Recipe()
	}
	return kmod.Recipe()
}

// Build implements grid.Builder. What was built is looked at as mews looks at a driver before it boots a kernel for it.
func (f *Foundry) Build(ctx context.Context, c *grid.Cell, dir string, jobs int) (*product.Artifact, error) {
	if c.Driver.Variant == product.Modern {
		return f.buildCoRE(ctx, c, dir, jobs)
	}
	files, err := f.Shop.Trees.HeaderFiles(ctx, c.Kernel.Resolved)
	if err != nil {
		return nil, err
	}
	ch, err := f.choose(ctx, c)
	if err != nil {
		return nil, err
	}
	made, err := (&images.Maker{Packages: f.Shop.index, Roots: f.Shop.Roots, Registry: f.puller()}).Root(ctx, ch.Choice)
	if err != nil {
		return nil, err
	}
	req := kbuild.Request{
		Kernel: files, Resolved: c.Kernel.Resolved, Source: f.sourceOf(c.Driver), Root: made.Root, Out: dir, Jobs: jobs, Runner: f.Runner, Force: f.Force,
		Compiler: product.Compiler{Command: ch.Compiler.Command, Family: ch.Compiler.Family, Major: ch.Compiler.Major},
	}
	if s := ch.Substituted; s != nil {
		req.Substitution = &product.Substitution{Wanted: s.From, Used: s.To, Why: s.Why}
	} else if ch.own != "" && ch.own != ch.Compiler.Name {
		req.Substitution = &product.Substitution{Wanted: ch.own, Used: ch.Compiler.Name, Why: "it was asked for"}
	}
	if c.Driver.Variant == product.EBPF {
		return ebpf.Build(ctx, req)
	}
	a, err := kmod.Build(ctx, req)
	if err != nil {
		return nil, err
	}
	_, err = inspectModule(files, a.Path)
	return a, err
}

// sourceOf is what a driver is built of.
func (f *Foundry) sourceOf(d *grid.Driver) *source.Source {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sources[d]
}

// inspectModule looks at a module without loading it, and says what it saw.
func inspectModule(f *kernels.Files, path string) (string, error) {
	m, err := inspect.Read(path)
	if err != nil {
		return "", err
	}
	if err := m.Check(f.Kernel, f.Config); err != nil {
		return "", err
	}
	exported, err := inspect.Symbols(f)
	if err != nil {
		return "", err
	}
	symbols, err := m.CheckSymbols(f.Kernel, f.Config, exported)
	return fmt.Sprintf("%s, API %s, schema %s, %s", strings.TrimSpace(m.Vermagic), m.APIVersion, m.SchemaVersion, symbols), err
}

// Compilers names all compilers that the images have for an architecture.
func (f *Foundry) Compilers(arch string) []string {
	var out []string
	for _, c := range f.Images.All(images.Want{Arch: arch, NoRegistry: f.puller() == nil}) {
		out = append(out, c.Compiler.Name)
	}
	return out
}
