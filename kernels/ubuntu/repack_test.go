// SPDX-License-Identifier: Apache-2.0

package ubuntu

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/internal/suite"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/debian"
	"github.com/mews-farm/mews/kernels/internal/apttest"
)

func TestUbuntu(t *testing.T) { suite.Run(t, "kernels/ubuntu") }

// run runs one of Debian's tools in dir.
func run(ctx context.Context, dir, name string, args ...string) []byte {
	GinkgoHelper()
	if _, err := exec.LookPath(name); err != nil {
		Fail(fmt.Sprintf("this test needs %s: run `make deps`", name))
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	Expect(cmd.Run()).To(Succeed(), "%s %s: %s", name, strings.Join(args, " "), &log)
	return out.Bytes()
}

var _ = Describe("a real kernel in Ubuntu's layout", Label("net"), Ordered, func() {
	var (
		real  *kernels.Files // Debian's
		trees string
		root  string // of the archive that is served
		key   *openpgp.Entity
	)
	BeforeAll(func(ctx SpecContext) {
		dir, err := archive.DefaultDir()
		Expect(err).NotTo(HaveOccurred())
		store, err := archive.New(dir)
		Expect(err).NotTo(HaveOccurred())
		source, err := debian.New(debian.Options{
			Archive: store, Warn: func(text string) { GinkgoWriter.Println("warning:", text) },
			ValidUntil: func(string) debian.Policy { return debian.Warn },
		})
		Expect(err).NotTo(HaveOccurred())
		found, err := source.Resolve(ctx, []string{"bookworm-security", "bookworm"}, "6.1.*-cloud-amd64", 1)
		Expect(err).NotTo(HaveOccurred())
		trees, err = kernels.DefaultTreesDir()
		Expect(err).NotTo(HaveOccurred())
		real, err = (&kernels.Trees{Dir: trees, Fetcher: source}).Files(ctx, found[0])
		Expect(err).NotTo(HaveOccurred())
		root = GinkgoT().TempDir()
		repack(ctx, real, root)
	}, NodeTimeout(5*time.Minute))

	It("is enumerated, resolved, fetched, unpacked and opened", func(ctx SpecContext) {
		release := real.Kernel.Release
		abi := strings.TrimSuffix(release, "-cloud-amd64")
		key = apttest.NewKey(GinkgoTB())
		publish(ctx, key, root, "jammy", "jammy", "main", "linux-base_*.deb")
		publish(ctx, key, root, "jammy-updates", "jammy", "main", "linux-[^b]*.deb")
		publish(ctx, key, root, "jammy-security", "jammy", "universe", "nothing")
		server := httptest.NewServer(http.FileServer(http.Dir(root)))
		DeferCleanup(server.Close)

		keyring := filepath.Join(GinkgoT().TempDir(), "ubuntu-archive-keyring.gpg")
		var b bytes.Buffer
		Expect(key.Serialize(&b)).To(Succeed())
		Expect(os.WriteFile(keyring, b.Bytes(), 0o644)).To(Succeed())
		store, err := archive.New(GinkgoT().TempDir())
		Expect(err).NotTo(HaveOccurred())
		s, err := New(Options{
			Archive: store, Warn: func(text string) { Fail(text) },
			Mirrors:  Mirrors{Archive: server.URL, Security: server.URL},
			Releases: []string{"jammy"}, Arches: []string{"amd64"}, Keyrings: []string{keyring},
			Now: func() time.Time { return apttest.Now },
		})
		Expect(err).NotTo(HaveOccurred())
		all, err := s.Enumerate(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(all).To(HaveLen(1))
		e := all[0]
		Expect(e).To(And(HaveField("Release", release), HaveField("Version", "192~22.04.1"), HaveField("Flavour", "cloud-amd64"),
			HaveField("Repo", "jammy-updates/amd64"), HaveField("Policies", BeEmpty()), HaveField("Distro", "ubuntu")))
		r, err := s.Resolve(ctx, e)
		Expect(err).NotTo(HaveOccurred())
		Expect(names(r.Image)).To(Equal("linux-image-unsigned-" + release + " linux-modules-" + release + " linux-modules-extra-" + release))
		Expect(names(r.Headers)).To(Equal("linux-headers-" + release + " linux-headers-" + abi))

		f, err := (&kernels.Trees{Dir: GinkgoT().TempDir(), Fetcher: s}).Files(ctx, r)
		Expect(err).NotTo(HaveOccurred())
		same(f.Image, real.Image)
		same(f.SystemMap, real.SystemMap)
		Expect(f.Config.Get("CC_VERSION_TEXT")).To(Equal(real.Config.Get("CC_VERSION_TEXT")))
		Expect(f.Headers + "/usr/src/linux-headers-" + release + "/.config").To(BeARegularFile())
		Expect(f.Headers + "/usr/src/linux-headers-" + abi + "/Makefile").To(BeARegularFile())
		mine, err := f.Modules("virtio_blk", "overlay", "nf_tables")
		Expect(err).NotTo(HaveOccurred())
		theirs, err := real.Modules("virtio_blk", "overlay", "nf_tables")
		Expect(err).NotTo(HaveOccurred())
		Expect(mine).To(HaveLen(len(theirs)))
		for i := range mine {
			Expect(mine[i].Name).To(Equal(theirs[i].Name))
			Expect(bytes.Equal(mine[i].Data, theirs[i].Data)).To(BeTrue(), mine[i].Name)
		}
	}, NodeTimeout(3*time.Minute))
})

func same(mine, theirs string) {
	GinkgoHelper()
	a, err := os.ReadFile(mine)
	Expect(err).NotTo(HaveOccurred())
	b, err := os.ReadFile(theirs)
	Expect(err).NotTo(HaveOccurred())
	Expect(archive.DigestOf(a)).To(Equal(archive.DigestOf(b)), "%s and %s", mine, theirs)
}

// repack makes Ubuntu's packages of a kernel of Debian's: vmlinuz apart from the modules, netfilter's in -extra, and two
// packages of headers.
func repack(ctx context.Context, f *kernels.Files, root string) {
	GinkgoHelper()
	release := f.Kernel.Release
	abi := strings.TrimSuffix(release, "-cloud-amd64")
	version := abi + ".192~22.04.1"
	pool := filepath.Join(root, "pool/main/l/linux")
	Expect(os.MkdirAll(pool, 0o755)).To(Succeed())
	for _, p := range []struct {
		name, arch, depends string
		files               [][2]string // where from, and where to in the package
		without             string
	}{
		{"linux-image-unsigned-" + release, "amd64", "kmod, linux-base, linux-modules-" + release,
			[][2]string{{f.Image, "boot/vmlinuz-" + release}}, ""},
		{"linux-modules-" + release, "amd64", "", [][2]string{
			{f.SystemMap, "boot/System.map-" + release}, {configOf(f), "boot/config-" + release}, {f.ModuleDir, "lib/modules/" + release}},
			"lib/modules/" + release + "/kernel/net/netfilter"},
		{"linux-modules-extra-" + release, "amd64", "linux-modules-" + release, [][2]string{
			{f.ModuleDir + "/kernel/net/netfilter", "lib/modules/" + release + "/kernel/net/netfilter"}}, ""},
		{"linux-headers-" + release, "amd64", "linux-headers-" + abi + ", libc6", [][2]string{
			{f.Headers + "/usr/src/linux-headers-" + release, "usr/src/linux-headers-" + release}}, ""},
		{"linux-headers-" + abi, "all", "", [][2]string{
			{f.Headers + "/usr/src/linux-headers-" + abi + "-common", "usr/src/linux-headers-" + abi}}, ""},
		{"linux-base", "all", "", nil, ""},
	} {
		tree := GinkgoT().TempDir()
		for _, file := range p.files {
			to := filepath.Join(tree, file[1])
			Expect(os.MkdirAll(filepath.Dir(to), 0o755)).To(Succeed())
			run(ctx, "", "cp", "-a", file[0], to)
		}
		if p.without != "" {
			Expect(os.RemoveAll(filepath.Join(tree, p.without))).To(Succeed())
		}
		Expect(os.Mkdir(filepath.Join(tree, "DEBIAN"), 0o755)).To(Succeed())
		control := fmt.Sprintf("Package: %s\nSource: linux\nVersion: %s\nArchitecture: %s\nMaintainer: Nobody <nobody@example.org>\n", p.name, version, p.arch)
		if p.depends != "" {
			control += "Depends: " + p.depends + "\n"
		}
		control += "Description: made of Debian's\n"
		Expect(os.WriteFile(filepath.Join(tree, "DEBIAN/control"), []byte(control), 0o644)).To(Succeed())
		run(ctx, "", "dpkg-deb", "--root-owner-group", "-Zzstd", "-z1", "--build", tree, pool)
	}
}

// configOf is the file that f.Config was read from.
func configOf(f *kernels.Files) string {
	return filepath.Join(filepath.Dir(f.Image), "config-"+f.Kernel.Release)
}

// publish makes a suite of the packages of the pool whose file names match, and signs it.
func publish(ctx context.Context, key *openpgp.Entity, root, suite, codename, component, match string) {
	GinkgoHelper()
	dists := filepath.Join(root, "dists", suite)
	binary := filepath.Join(dists, component, "binary-amd64")
	Expect(os.MkdirAll(binary, 0o755)).To(Succeed())
	// apt-ftparchive takes a folder: the packages of this suite lie there by links while it looks.
	links := filepath.Join(root, "pool", "of-"+suite)
	Expect(os.MkdirAll(links, 0o755)).To(Succeed())
	found, err := filepath.Glob(filepath.Join(root, "pool/main/l/linux", match))
	Expect(err).NotTo(HaveOccurred())
	for _, name := range found {
		Expect(os.Link(name, filepath.Join(links, filepath.Base(name)))).To(Succeed())
	}
	index := run(ctx, root, "apt-ftparchive", "packages", "pool/of-"+suite)
	packages := filepath.Join(binary, "Packages")
	Expect(os.WriteFile(packages, index, 0o644)).To(Succeed())
	run(ctx, "", "xz", "-k", packages)
	run(ctx, "", "gzip", "-k", packages)
	text := run(ctx, root, "apt-ftparchive", "release",
		"-o", "APT::FTPArchive::Release::Origin=Ubuntu", "-o", "APT::FTPArchive::Release::Suite="+suite,
		"-o", "APT::FTPArchive::Release::Codename="+codename, "-o", "APT::FTPArchive::Release::Components=main universe",
		"-o", "APT::FTPArchive::Release::Architectures=amd64", "dists/"+suite)
	Expect(os.WriteFile(filepath.Join(dists, "InRelease"), apttest.Sign(GinkgoTB(), key, string(text)), 0o644)).To(Succeed())
}
