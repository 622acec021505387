// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/kmod"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/source"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/internal/rpmrepo"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/amazon"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/catalog"
	"github.com/mews-farm/mews/kernels/debian"
	"github.com/mews-farm/mews/kernels/el"
	"github.com/mews-farm/mews/results/cause"
)

// The way of a kernel out of RPM repositories: real packages by rpmbuild, signed, in repositories by createrepo_c as
// Amazon and Rocky have them, of a kernel that QEMU and this machine's compilers are known to get along with.
var _ = Describe("a kernel out of an RPM repository", Label("boot", "build", "net"), Ordered, ContinueOnFailure, func() {
	const (
		hash  = "2/core/latest/x86_64/52bf5c1b3b3d0d7d0e7f5b8b5f0e6d4c3b2a1908"
		elOS  = "pub/8.10/BaseOS/x86_64/os"
		arch  = "x86_64"
		limit = 10 * time.Minute // ends what hangs; nothing is measured by it
	)
	var (
		debs    *debian.Source
		store   *archive.Archive // of the user's cache: Debian's packages
		own     *archive.Archive // of this test: nothing is in it before
		packed  *kernels.Files   // what was made into packages
		release string
		server  *httptest.Server
		www     string
		key     string // file
		bin     string // the agent
		book    *catalog.Catalog
	)
	options := func() el.Options {
		return el.Options{Archive: own, Warn: func(text string) { Fail("warning: " + text) }, Keyrings: []string{key}, Arches: []string{arch}}
	}
	amzn := func() *amazon.Source {
		o := options()
		o.Mirrors = map[string]string{"2": server.URL + "/2", "2023": server.URL + "/al2023"}
		s, err := amazon.New(o)
		Expect(err).NotTo(HaveOccurred())
		return s
	}
	rocky := func() *el.Source {
		o := options()
		o.Mirrors = map[string]string{"main": server.URL + "/pub", "vault": server.URL + "/vault"}
		s, err := el.New("rocky", o)
		Expect(err).NotTo(HaveOccurred())
		return s
	}

	BeforeAll(func(ctx SpecContext) {
		dir, err := archive.DefaultDir()
		Expect(err).NotTo(HaveOccurred())
		store, err = archive.New(dir)
		Expect(err).NotTo(HaveOccurred())
		own, err = archive.New(GinkgoT().TempDir())
		Expect(err).NotTo(HaveOccurred())
		debs, err = debian.New(debian.Options{
			Archive: store, Warn: func(text string) { GinkgoWriter.Println("warning:", text) },
			ValidUntil: func(string) debian.Policy { return debian.Warn },
		})
		Expect(err).NotTo(HaveOccurred())
		found, err := debs.Resolve(ctx, []string{"bookworm-security", "bookworm"}, "6.1.*-cloud-amd64", 1)
		Expect(err).NotTo(HaveOccurred())
		trees, err := kernels.DefaultTreesDir()
		Expect(err).NotTo(HaveOccurred())
		packed, err = (&kernels.Trees{Dir: trees, Fetcher: debs}).Files(ctx, found[0])
		Expect(err).NotTo(HaveOccurred())
		release = packed.Kernel.Release

		bin = filepath.Join(GinkgoT().TempDir(), "mews-agent")
		build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", bin, "../cmd/mews-agent")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)

		forge, err := rpmrepo.New(ctx, GinkgoT().TempDir())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(forge.Close)
		key = forge.KeyFile
		version, _, _ := strings.Cut(found[0].PackageVersion, "-")
		k := rpmrepo.Kernel{
			Release: release, Version: version, Image: packed.Image, SystemMap: packed.SystemMap,
			Config: filepath.Join(filepath.Dir(packed.Image), "config-"+release), ModuleDir: packed.ModuleDir, Headers: packed.Headers,
		}
		www = GinkgoT().TempDir()
		packages, err := forge.Build(ctx, k, rpmrepo.Amazon2)
		Expect(err).NotTo(HaveOccurred())
		Expect(forge.Publish(ctx, rpmrepo.Repo{Root: www, At: hash, Packages: packages, Place: rpmrepo.Blobstore, Index: rpmrepo.SQLite, Release: release})).To(Succeed())
		packages, err = forge.Build(ctx, k, rpmrepo.EL8)
		Expect(err).NotTo(HaveOccurred())
		Expect(forge.Publish(ctx, rpmrepo.Repo{Root: www, At: elOS, Packages: packages, Place: rpmrepo.Beside(elOS), Index: rpmrepo.XML, Release: release})).To(Succeed())
		server = httptest.NewServer(rpmrepo.Server(www, map[string]string{"/2/core/latest/x86_64/mirror.list": "/" + hash + "/"}))
		DeferCleanup(server.Close)

		book, err = catalog.Open(ctx, filepath.Join(GinkgoT().TempDir(), "catalog.db"))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(book.Close)
	}, NodeTimeout(10*time.Minute))

	// files is the way from an update of the catalogue to what boots.
	files := func(ctx SpecContext, src kernels.Source, distro string) (*kernels.Resolved, *kernels.Files) {
		GinkgoHelper()
		report, err := book.Update(ctx, src, time.Now(), false)
		Expect(err).NotTo(HaveOccurred())
		Expect(report.Failed()).To(HaveOccurred(), "the source's other repositories are not there")
		record, err := book.Get(ctx, distro+":"+release, arch)
		Expect(err).NotTo(HaveOccurred())
		r, err := src.Resolve(ctx, record.Entry)
		Expect(err).NotTo(HaveOccurred())
		f, err := (&kernels.Trees{Dir: GinkgoT().TempDir(), Fetcher: src}).Files(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		return r, f
	}
	boots := func(ctx SpecContext, f *kernels.Files) {
		GinkgoHelper()
		shop := &parts.Workshop{Agent: bin, Dir: GinkgoT().TempDir()}
		initrd, err := shop.Initramfs(ctx, f)
		Expect(err).NotTo(HaveOccurred())
		m, err := qemu.Starter{}.Start(ctx, machine.Spec{Name: "rpm", Dir: GinkgoT().TempDir(), Kernel: f.Image, Initrd: initrd, MemoryMiB: 512})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func(ctx SpecContext) { Expect(m.Stop(ctx)).To(Succeed()) })
		c, err := agent.Dial(ctx, m.Agent())
		Expect(err).NotTo(HaveOccurred(), "%v", m.Console().Tail(30))
		Expect(c.Hello().Release).To(Equal(release))
		Expect(c.Hello().Modules).To(ContainElements("virtio_console", "overlay"))
		Expect(c.Shutdown(ctx)).To(Succeed())
		Eventually(m.Done()).WithContext(ctx).Should(BeClosed())
		Expect(m.Err()).NotTo(HaveOccurred())
	}
	// builds makes Falco's module against kernel-devel.
	builds := func(ctx SpecContext, r *kernels.Resolved, f *kernels.Files) {
		GinkgoHelper()
		compiler, err := f.Config.Compiler()
		Expect(err).NotTo(HaveOccurred())
		tools, err := debs.Closure(ctx, []string{"bookworm", "bookworm-security"}, root.Tools(compiler.Command)...)
		Expect(err).NotTo(HaveOccurred())
		roots, err := root.DefaultDir()
		Expect(err).NotTo(HaveOccurred())
		base, err := (&root.Cache{Dir: roots, Fetcher: debs}).Tree(ctx, tools)
		Expect(err).NotTo(HaveOccurred())
		driver, err := debs.Find(ctx, []string{"sid"}, "falcosecurity-scap-dkms")
		Expect(err).NotTo(HaveOccurred())
		file, err := debs.Fetch(ctx, driver)
		Expect(err).NotTo(HaveOccurred())
		src, err := source.Open(ctx, store, file, source.Options{})
		Expect(err).NotTo(HaveOccurred())
		a, err := kmod.Build(ctx, kmod.Request{
			Kernel: f, Resolved: r, Source: src, Root: base, Out: GinkgoT().TempDir(),
		})
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(a.Vermagic).To(HavePrefix(release + " "))
		Expect(a.ModuleName).To(Equal("scap"))
	}

	It("as Amazon Linux 2 has them, by mirror.list, SQLite and blobstore, boots and builds", func(ctx SpecContext) {
		r, f := files(ctx, amzn(), "amazonlinux2")
		Expect(r.Image).To(HaveLen(1))
		Expect(r.Image[0].URL).To(HavePrefix(server.URL + "/blobstore/" + string(r.Image[0].Digest) + "/kernel-6.1."))
		Expect(r.HeadersMissing).To(BeEmpty())
		boots(ctx, f)
		builds(ctx, r, f)
	}, NodeTimeout(limit))

	It("as Rocky 8 has them, by XML alone, with modules apart and the image among them, boots and builds", func(ctx SpecContext) {
		r, f := files(ctx, rocky(), "rocky")
		Expect(r.Image).To(HaveLen(2))
		Expect(f.Image).To(HaveSuffix("/lib/modules/" + release + "/vmlinuz"))
		boots(ctx, f)
		builds(ctx, r, f)
	}, NodeTimeout(limit))

	It("is had from the archive when the mirror is gone, and is not without the right key", func(ctx SpecContext) {
		src := rocky()
		record, err := book.Get(ctx, "rocky:"+release, arch)
		Expect(err).NotTo(HaveOccurred())
		server.Close()
		r, err := src.Resolve(ctx, record.Entry)
		Expect(err).NotTo(HaveOccurred())
		_, err = src.Fetch(ctx, r.Image[0])
		Expect(err).NotTo(HaveOccurred())

		other, err := rpmrepo.New(ctx, GinkgoT().TempDir())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(other.Close)
		key = other.KeyFile
		_, err = rocky().Fetch(ctx, r.Image[0])
		Expect(cause.Of(err)).To(HaveField("Cause", cause.SignatureInvalid), "%v", err)
	}, NodeTimeout(limit))
})
