// SPDX-License-Identifier: Apache-2.0

// Package farm knows how tests get what a real build takes: the kernels, build roots and driver sources of the host's
// own Debian mirror, with the archive and the caches of the user, so that what was fetched once is not fetched again.
package farm

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/kbuild"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/source"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/debian"
)

// Farm is what is shared by the specs of a suite.
type Farm struct {
	Debian  *debian.Source // of amd64, where builds run
	Archive *archive.Archive
	Roots   *root.Cache
	arm     *debian.Source
}

func must(err error) { gomega.ExpectWithOffset(2, err).NotTo(gomega.HaveOccurred(), "%+v", err) }

// New opens the caches. What fails fails the spec.
func New() *Farm {
	dir, err := archive.DefaultDir()
	must(err)
	f := &Farm{}
	f.Archive, err = archive.New(dir)
	must(err)
	f.Debian, f.arm = f.open("amd64"), f.open("arm64")
	rootDir, err := root.DefaultDir()
	must(err)
	f.Roots = &root.Cache{Dir: rootDir, Fetcher: f.Debian}
	return f
}

func (f *Farm) open(arch string) *debian.Source {
	s, err := debian.New(debian.Options{
		Archive:    f.Archive,
		Arch:       arch,
		ValidUntil: func(string) debian.Policy { return debian.Warn },
		Warn:       func(text string) { ginkgo.GinkgoWriter.Println("warning:", text) },
	})
	must(err)
	return s
}

// Kernel resolves and unpacks the newest kernel of the pattern.
func (f *Farm) Kernel(ctx context.Context, suites []string, pattern string) (*kernels.Files, *kernels.Resolved) {
	found, err := f.Debian.Resolve(ctx, suites, pattern, 1)
	must(err)
	return f.files(ctx, found[0]), found[0]
}

// ARM64 is Kernel for arm64, with a linux-kbuild that runs here.
func (f *Farm) ARM64(ctx context.Context, suites []string, pattern string) (*kernels.Files, *kernels.Resolved) {
	found, err := f.arm.Resolve(ctx, suites, pattern, 1)
	must(err)
	r, err := f.arm.Cross(ctx, f.Debian, suites, found[0])
	must(err)
	return f.files(ctx, r), r
}

func (f *Farm) files(ctx context.Context, r *kernels.Resolved) *kernels.Files {
	files, err := (&kernels.Trees{Dir: ginkgo.GinkgoT().TempDir(), Fetcher: f.Debian}).Files(ctx, r)
	must(err)
	return files
}

// Driver is falcosecurity-scap-dkms as a suite has it.
func (f *Farm) Driver(ctx context.Context, suite string) *source.Source {
	p, err := f.Debian.Find(ctx, []string{suite}, "falcosecurity-scap-dkms")
	must(err)
	file, err := f.Debian.Fetch(ctx, p)
	must(err)
	s, err := source.Open(ctx, f.Archive, file, source.Options{})
	must(err)
	return s
}

// File is a file of the mirror's pool that no index of binary packages lists, by its digest.
func (f *Farm) File(ctx context.Context, path string, digest archive.Digest) string {
	file, err := f.Debian.Fetch(ctx, kernels.Package{Name: filepath.Base(path), URL: strings.TrimRight(f.Debian.Mirrors().Main, "/") + path, Digest: digest})
	must(err)
	return file
}

// Request is a build of a suite's driver with the kernel's own compiler of another suite.
func (f *Farm) Request(ctx context.Context, suites []string, pattern, rootSuite, driverSuite string) kbuild.Request {
	files, resolved := f.Kernel(ctx, suites, pattern)
	compiler, err := files.Config.Compiler()
	must(err)
	return kbuild.Request{
		Kernel: files, Resolved: resolved, Source: f.Driver(ctx, driverSuite),
		Root: f.Root(ctx, rootSuite, root.Tools(compiler.Command)...), Out: ginkgo.GinkgoT().TempDir(),
	}
}

// Root makes a build root of a suite's packages.
func (f *Farm) Root(ctx context.Context, suite string, packages ...string) *root.Root {
	pkgs, err := f.Debian.Closure(ctx, []string{suite, suite + "-security"}, packages...)
	must(err)
	began := time.Now()
	r, err := f.Roots.Tree(ctx, pkgs)
	must(err)
	var size int64
	for _, p := range pkgs {
		size += p.Size
	}
	ginkgo.AddReportEntry("root", fmt.Sprintf("%s: %d packages of %d used, closure %d MB, %s", suite, len(r.Packages), len(pkgs), size>>20, time.Since(began).Round(100*time.Millisecond)), ginkgo.ReportEntryVisibilityAlways)
	return r
}

// Whole makes a root of a suite's packages that nothing is left out of.
func (f *Farm) Whole(ctx context.Context, suite string, packages ...string) *root.Root {
	pkgs, err := f.Debian.Closure(ctx, []string{suite, suite + "-security"}, packages...)
	must(err)
	r, err := f.Roots.Whole(ctx, pkgs)
	must(err)
	return r
}

// Empty makes an empty archive, so that nothing is remembered from before.
func Empty() *archive.Archive {
	a, err := archive.New(ginkgo.GinkgoT().TempDir())
	must(err)
	return a
}
