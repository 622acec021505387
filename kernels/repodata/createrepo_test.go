// SPDX-License-Identifier: Apache-2.0

package repodata_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/kernels/internal/pgp"
	"github.com/mews-farm/mews/kernels/repodata"
	"github.com/mews-farm/mews/kernels/rpm"
)

const specFile = `
Name: kernel
Epoch: 1
Version: 4.18.0
Release: 372.119.1.el8_6
Summary: s
License: GPLv2
Provides: kernel(printk) = 0x27e1a049
Provides: kernel-uname-r = 4.18.0-372.119.1.el8_6.noarch
%description
d
%files
`

// run runs a tool; a missing one fails the spec.
func run(ctx SpecContext, name string, args ...string) {
	GinkgoHelper()
	_, err := exec.LookPath(name)
	Expect(err).NotTo(HaveOccurred(), "this needs %s: run `make deps`", name)
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s: %s", name, out)
}

var _ = Describe("repositories of createrepo_c", Label("build"), Ordered, func() {
	var dir string
	var keys *pgp.Keys
	var client *get.Client
	var sign func(SpecContext) // the repository's index

	BeforeAll(func(ctx SpecContext) {
		dir = GinkgoT().TempDir()
		file := filepath.Join(dir, "x.spec")
		Expect(os.WriteFile(file, []byte(specFile), 0o644)).To(Succeed())
		run(ctx, "rpmbuild", "-bb", "--define", "_topdir "+dir+"/top", "--define", "_rpmdir "+dir+"/repo", "--target", "noarch", file)

		home := filepath.Join(dir, "gnupg")
		Expect(os.Mkdir(home, 0o700)).To(Succeed())
		gpg := func(ctx SpecContext, args ...string) {
			GinkgoHelper()
			run(ctx, "gpg", append([]string{"--homedir", home, "--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
		}
		gpg(ctx, "--quick-gen-key", "throw-away", "rsa2048", "sign", "1d")
		key := filepath.Join(dir, "key")
		gpg(ctx, "--armor", "--output", key, "--export")
		DeferCleanup(func(ctx SpecContext) { run(ctx, "gpgconf", "--homedir", home, "--kill", "all") })
		sign = func(ctx SpecContext) {
			GinkgoHelper()
			gpg(ctx, "--yes", "--armor", "--detach-sign", filepath.Join(dir, "repo/repodata/repomd.xml"))
		}
		var err error
		keys, err = pgp.Load(key)
		Expect(err).NotTo(HaveOccurred())
		a, err := archive.New(filepath.Join(dir, "archive"))
		Expect(err).NotTo(HaveOccurred())
		client = get.New(get.Options{Archive: a})
	})

	DescribeTable("are read", func(ctx SpecContext, args ...string) {
		repo := filepath.Join(dir, "repo")
		Expect(os.RemoveAll(filepath.Join(repo, "repodata"))).To(Succeed())
		run(ctx, "createrepo_c", append(args, repo)...)
		sign(ctx)
		server := httptest.NewServer(http.FileServer(http.Dir(repo)))
		defer server.Close()
		o := repodata.Options{Client: client, Policy: repodata.Signed, Keys: keys, Now: time.Now()}
		packages, err := repodata.List(ctx, server.URL, o, "kernel", "kernel-devel")
		Expect(err).NotTo(HaveOccurred())
		Expect(packages).To(HaveLen(1))
		p := packages[0]
		Expect(p.EVR).To(Equal(rpm.EVR{Epoch: 1, Version: "4.18.0", Release: "372.119.1.el8_6"}))
		Expect(p.Provides).To(ConsistOf(
			rpm.Dep{Name: "kernel", Op: "=", Version: "1:4.18.0-372.119.1.el8_6"},
			rpm.Dep{Name: "kernel-uname-r", Op: "=", Version: "4.18.0-372.119.1.el8_6.noarch"},
		))
		// What the index says of the package is true.
		file, err := client.Fetch(ctx, p.Package())
		Expect(err).NotTo(HaveOccurred())
		is, err := rpm.Open(file)
		Expect(err).NotTo(HaveOccurred())
		Expect(is.NEVRA()).To(Equal(p.Name + "-" + p.EVR.String() + "." + p.Arch))
		Expect(is.SourceRPM).To(Equal(p.SourceRPM))

		other, err := os.ReadFile(filepath.Join(repo, "repodata/repomd.xml"))
		Expect(err).NotTo(HaveOccurred())
		Expect(os.WriteFile(filepath.Join(repo, "repodata/repomd.xml"), append(other, '\n'), 0o644)).To(Succeed())
		_, err = repodata.List(ctx, server.URL, o, "kernel")
		Expect(err).To(MatchError(pgp.ErrMismatch))
	},
		Entry("SQLite, bzip2", "--database", "--compress-type", "bz2"),
		Entry("SQLite, xz, SHA-512", "--database", "--compress-type", "xz", "--checksum", "sha512"),
		Entry("SQLite, gzip", "--database", "--compress-type", "gz"),
		Entry("XML, gzip, SHA-1", "--no-database", "--checksum", "sha1"),
		Entry("XML, xz", "--no-database", "--general-compress-type", "xz", "--simple-md-filenames"),
	)
})
