// SPDX-License-Identifier: Apache-2.0

package rpm_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/kernels/rpm"
)

// specFile makes a package with what those of kernels have: hard links, links, a ghost, an empty file, and symbols.
const specFile = `
Name: kernel-devel
Epoch: 3
Version: 4.18.0
Release: 372.119.1.el8_6
Summary: s
License: GPLv2
Provides: kernel(printk) = 0x27e1a049
Requires: make >= 4, gcc
%%global _binary_payload %s
%%global __os_install_post %%{nil}
%%description
d
%%install
mkdir -p %%{buildroot}/usr/src/kernels/x %%{buildroot}/boot
cd %%{buildroot}/usr/src/kernels/x
seq 20000 > b; ln b a; ln b c; ln -s ../x self; : > empty; echo odd > .config
echo ghost > %%{buildroot}/boot/vmlinuz
%%files
/usr/src/kernels/x
%%ghost /boot/vmlinuz
`

// run runs a tool; a missing one fails the spec.
func run(ctx SpecContext, name string, args ...string) string {
	GinkgoHelper()
	_, err := exec.LookPath(name)
	Expect(err).NotTo(HaveOccurred(), "this needs %s: run `make deps`", name)
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s: %s", name, out)
	return string(out)
}

// list is what lies below dir: kinds, sizes, links, and how many names a file has.
func list(ctx SpecContext, dir string) string {
	GinkgoHelper()
	return run(ctx, "find", dir, "-mindepth", "1", "-not", "-type", "d", "-printf", "%P %y %m %s %l %n %Ts\n")
}

func sorted(lines string) []string { return strings.Split(strings.TrimSpace(lines), "\n") }

var _ = Describe("packages of rpmbuild", Label("build"), func() {
	for _, payload := range []string{"w9.gzdio", "w9.bzdio", "w6.xzdio", "w6.lzdio", "w3.zstdio", "w.ufdio"} {
		It("are read as rpm reads them, "+payload, func(ctx SpecContext) {
			top := GinkgoT().TempDir()
			file := filepath.Join(top, "x.spec")
			Expect(os.WriteFile(file, fmt.Appendf(nil, specFile, payload), 0o644)).To(Succeed())
			run(ctx, "rpmbuild", "-bb", "--define", "_topdir "+top, "--target", "noarch", file)
			var built string
			Expect(filepath.WalkDir(filepath.Join(top, "RPMS"), func(path string, d fs.DirEntry, err error) error {
				if strings.HasSuffix(path, ".rpm") {
					built = path
				}
				return err
			})).To(Succeed())

			p, err := rpm.Open(built)
			Expect(err).NotTo(HaveOccurred())
			query := func(format string) []string { return sorted(run(ctx, "rpm", "-qp", "--qf", format, built)) }
			Expect(p.NEVRA()).To(Equal("kernel-devel-3:4.18.0-372.119.1.el8_6.noarch"))
			var provides, requires, files []string
			for _, d := range p.Provides {
				provides = append(provides, fmt.Sprintf("%s %s %s", d.Name, d.Op, d.Version))
			}
			Expect(provides).To(Equal(query("[%{PROVIDENAME} %{PROVIDEFLAGS:depflags} %{PROVIDEVERSION}\n]")))
			for _, d := range p.Requires {
				requires = append(requires, fmt.Sprintf("%s|%s|%s", d.Name, d.Op, d.Version))
			}
			Expect(requires).To(Equal(query("[%{REQUIRENAME}|%{REQUIREFLAGS:depflags}|%{REQUIREVERSION}\n]")))
			for _, f := range p.Files {
				files = append(files, fmt.Sprintf("%s %d %d %s", f.Name, f.Size, f.MTime, f.Link))
			}
			Expect(files).To(Equal(query("[%{FILENAMES} %{FILESIZES} %{FILEMTIMES} %{FILELINKTOS}\n]")))

			ours, theirs := GinkgoT().TempDir(), GinkgoT().TempDir()
			Expect(rpm.Unpack(ctx, built, ours, rpm.Limits{}, nil)).To(Succeed())
			run(ctx, "sh", "-c", `cd "$1" && rpm2cpio "$2" | cpio -idm --quiet`, "sh", theirs, built)
			run(ctx, "diff", "-r", "--no-dereference", ours, theirs)
			got, want := list(ctx, ours), list(ctx, theirs)
			// A link's own time is not kept.
			drop := func(s string) []string {
				var out []string
				for _, line := range sorted(s) {
					if !strings.Contains(line, " l 777 ") {
						out = append(out, line)
					}
				}
				return out
			}
			Expect(drop(got)).To(ConsistOf(drop(want)))
			Expect(got).To(MatchRegexp(`kernels/x/a f 644 108894  3 `), "hard links")
			Expect(os.Readlink(filepath.Join(ours, "usr/src/kernels/x/self"))).To(Equal("../x"))

			// rpm's own check agrees on a package with one byte altered.
			b, err := os.ReadFile(built)
			Expect(err).NotTo(HaveOccurred())
			b[len(b)-20] ^= 1
			Expect(os.WriteFile(built, b, 0o644)).To(Succeed())
			Expect(exec.CommandContext(ctx, "rpm", "-K", "--nosignature", built).Run()).To(HaveOccurred())
			Expect(rpm.Unpack(ctx, built, GinkgoT().TempDir(), rpm.Limits{}, nil)).To(HaveOccurred())
		})
	}

	It("are ordered as rpm orders them", func(ctx SpecContext) {
		versions := []string{"0", "00", "1", "1.0", "1.0~rc1", "1.0^git1", "1.0^git1~pre", "10.0001", "10.1", "xyz.4", "8", "2_0", "2.0",
			"5.5p10", "5.5p2", "a+", "a_", "1b.fc17", "1.fc17", "372.119.1.el8_6", "372.9.1.el8", "168.710.amzn2", "208.866.amzn2", "1..1", "1.α", "20240101", "9999999999999999999999", "9999999999999999999998"}
		var script strings.Builder
		var want []string
		for _, a := range versions {
			for _, b := range versions {
				fmt.Fprintf(&script, "print(rpm.vercmp(%q, %q)..'\\n') ", a, b)
				want = append(want, fmt.Sprintf("%q %q %d", a, b, rpm.Compare(a, b)))
			}
		}
		var got []string
		for i, line := range strings.Fields(run(ctx, "rpm", "--eval", "%{lua:"+script.String()+"}")) {
			a, b := versions[i/len(versions)], versions[i%len(versions)]
			got = append(got, fmt.Sprintf("%q %q %s", a, b, line))
		}
		Expect(got).To(Equal(want))
	})
})
