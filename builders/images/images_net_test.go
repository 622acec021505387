// SPDX-License-Identifier: Apache-2.0

package images_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/images"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/internal/suite"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/debian"
)

func TestMain(m *testing.M) {
	sandbox.Init()
	os.Exit(m.Run())
}

func TestImages(t *testing.T) {
	suite.Run(t, "builders/images")
}

var _ = Describe("The images that mews comes with", Label("net"), Ordered, func() {
	var (
		set   *images.Set
		maker *images.Maker
	)
	BeforeAll(func() {
		dir, err := archive.DefaultDir()
		Expect(err).NotTo(HaveOccurred())
		kept, err := archive.New(dir)
		Expect(err).NotTo(HaveOccurred())
		source, err := debian.New(debian.Options{
			Archive:    kept,
			ValidUntil: func(string) debian.Policy { return debian.Warn },
			Warn:       func(text string) { GinkgoWriter.Println("warning:", text) },
		})
		Expect(err).NotTo(HaveOccurred())
		rootDir, err := root.DefaultDir()
		Expect(err).NotTo(HaveOccurred())
		maker = &images.Maker{Packages: source, Roots: &root.Cache{Dir: rootDir, Fetcher: source}}
		set, err = images.Builtin()
		Expect(err).NotTo(HaveOccurred())
	})

	It("name packages that Debian's suites hold, each compiler among them", func(ctx SpecContext) {
		n := 0
		for _, i := range set.Images {
			if i.Registry != "" {
				continue
			}
			identities := map[archive.Digest]string{}
			for _, c := range i.Compilers {
				pkgs, err := maker.Packages.Closure(ctx, i.Suites, i.PackagesOf(c)...)
				Expect(err).NotTo(HaveOccurred(), "%s/%s: %+v", i.Name, c.Name, err)
				id := i.Identity(pkgs)
				Expect(identities[id]).To(BeEmpty(), "%s and %s have one identity", identities[id], c.Name)
				identities[id] = c.Name
				n++
			}
		}
		AddReportEntry("compilers", n, ReportEntryVisibilityAlways)
	})

	It("have compilers that compile, of the oldest and for another architecture", Label("build"), func(ctx SpecContext) {
		for _, w := range []struct {
			name    string
			want    images.Want
			machine byte // of the ELF header
		}{
			{"gcc-9", images.Want{}, 62},
			{"clang-9", images.Want{}, 62},
			{"gcc-12", images.Want{Suite: "bookworm", Arch: "aarch64"}, 183},
		} {
			choice, err := set.Named(w.name, w.want)
			Expect(err).NotTo(HaveOccurred())
			made, err := maker.Root(ctx, choice)
			Expect(err).NotTo(HaveOccurred(), "%s: %+v", choice, err)
			Expect(made.Compilers()).To(ContainElement(choice.Compiler.Command))
			scratch := GinkgoT().TempDir()
			Expect(os.WriteFile(filepath.Join(scratch, "f.c"), []byte("int f(int x) { return x; }\n"), 0o644)).To(Succeed())
			var log bytes.Buffer
			res, err := sandbox.Run(ctx, sandbox.Spec{
				Root: made.Dir, Scratch: scratch, Log: &log,
				Argv: []string{"/usr/bin/" + choice.Compiler.Command, "-O2", "-g", "-c", "f.c"},
			})
			Expect(err).NotTo(HaveOccurred(), "%+v", err)
			Expect(res.ExitCode).To(Equal(0), "%s: %s", choice, &log)
			object, err := os.ReadFile(filepath.Join(scratch, "f.o"))
			Expect(err).NotTo(HaveOccurred())
			Expect(object[18]).To(Equal(w.machine), fmt.Sprint(choice))
		}
	})
})
