// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/results/cause"
)

// small are the packages of the smallest root with a shell, a make and the programs that the checks use.
var small = []string{"bash", "coreutils", "dash", "findutils", "grep", "make", "mawk", "sed"}

var _ = Describe("A command in a build root", Label("build", "net"), Ordered, func() {
	var (
		f *host
		r *root.Root
	)
	BeforeAll(func(ctx SpecContext) {
		f = newHost(ctx)
		r = f.tree(ctx, "bookworm", small...)
	})

	for _, name := range []string{"docker", "local"} {
		runner := func() sandbox.Runner {
			if name == "docker" {
				return f.runner()
			}
			return sandbox.Local{}
		}

		It("cannot write outside of its tree, reach a network, or gain a right: "+name, func(ctx SpecContext) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(ln.Close)
			headers := GinkgoT().TempDir()
			Expect(os.MkdirAll(filepath.Join(headers, "usr/src/linux-headers-x/include"), 0o755)).To(Succeed())
			Expect(os.WriteFile(filepath.Join(headers, "usr/src/linux-headers-x/include/h"), []byte("a header\n"), 0o644)).To(Succeed())
			Expect(os.MkdirAll(filepath.Join(headers, "usr/lib/linux-kbuild-x"), 0o755)).To(Succeed())
			Expect(os.Symlink("../../lib/linux-kbuild-x", filepath.Join(headers, "usr/src/linux-headers-x/scripts"))).To(Succeed())
			Expect(os.WriteFile(filepath.Join(headers, "usr/lib/linux-kbuild-x/tool"), []byte("#!/bin/sh\necho a tool\n"), 0o755)).To(Succeed())

			s, out := shell(r, "exec make -f /build/Makefile -s -k")
			s.Overlay = []string{headers}
			// A driver's Makefile as a hostile one would be. $$((...)) is make's way to write $((...)).
			makefile := fmt.Sprintf(`all: usr over net caps env ids tools
usr:; @echo x 2>/dev/null >/usr/bin/evil || echo usr refused
over:; @echo x 2>/dev/null >/usr/src/linux-headers-x/include/h || echo headers refused; rm -f /usr/src/linux-headers-x/include/h 2>/dev/null || cat /usr/src/linux-headers-x/include/h
net:; @bash -c '(echo >/dev/tcp/127.0.0.1/%d) 2>/dev/null' || echo loopback refused; echo interfaces $$(ls /sys/class/net 2>/dev/null | grep -v lo; grep -c : /proc/net/dev)
caps:; @grep -E 'Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs' /proc/self/status | tr '\t\n' ' ;'; echo
env:; @env -u PWD -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u MAKE_TERMERR -u MAKE_TERMOUT -u _ | sort | tr '\n' ';'; echo
ids:; @umask; pwd; uname -n; touch /tmp/t /build/t && echo scratch and tmp
tools:; @/usr/src/linux-headers-x/scripts/tool
`, ln.Addr().(*net.TCPAddr).Port)
			Expect(os.WriteFile(filepath.Join(s.Scratch, "Makefile"), []byte(makefile), 0o644)).To(Succeed())
			res, err := runner().Run(ctx, s)
			Expect(err).NotTo(HaveOccurred(), "%+v", err)
			Expect(lines(out.String())).To(Equal([]string{
				"usr refused",
				"headers refused", "a header",
				"loopback refused", "interfaces 1",
				"CapPrm: 0000000000000000;CapEff: 0000000000000000;CapBnd: 0000000000000000;CapAmb: 0000000000000000;NoNewPrivs: 1;",
				"HOME=/tmp;KBUILD_BUILD_HOST=mews;KBUILD_BUILD_TIMESTAMP=1970-01-01;KBUILD_BUILD_USER=mews;LANG=C;LC_ALL=C;PATH=/usr/sbin:/usr/bin:/sbin:/bin;SOURCE_DATE_EPOCH=0;TZ=UTC;",
				"0022", "/build", "mews", "scratch and tmp",
				"a tool",
			}))
			Expect(res.ExitCode).To(Equal(0))
			Expect(filepath.Join(r.Dir, "usr/bin/evil")).NotTo(BeAnExistingFile())
			Expect(filepath.Join(s.Scratch, "t")).To(BeAnExistingFile())
		})

		It("ends as it ends: "+name, func(ctx SpecContext) {
			s, out := shell(r, "echo one; echo two >&2; echo three; exit 7")
			res, err := runner().Run(ctx, s)
			Expect(err).NotTo(HaveOccurred(), "%+v", err)
			Expect(res.ExitCode).To(Equal(7))
			Expect(out.String()).To(Equal("one\ntwo\nthree\n"), "in the order in which it was written")

			s, _ = shell(r, "sleep 1000")
			s.Limits.Wall = 300 * time.Millisecond
			res, err = runner().Run(ctx, s)
			Expect(err).NotTo(HaveOccurred(), "%+v", err)
			Expect(*res).To(And(HaveField("TimedOut", true), HaveField("Signal", syscall.SIGKILL), HaveField("ExitCode", -1)))

			s, _ = shell(r, "dd if=/dev/zero of=/build/large bs=64k count=64")
			s.Limits.File = 1 << 20
			res, err = runner().Run(ctx, s)
			Expect(err).NotTo(HaveOccurred(), "%+v", err)
			Expect(res.ExitCode).NotTo(Equal(0))
			fi, err := os.Stat(filepath.Join(s.Scratch, "large"))
			Expect(err).NotTo(HaveOccurred())
			Expect(fi.Size()).To(Equal(int64(1 << 20)))
		})

		It("is ended when nobody waits for it any more: "+name, func(ctx SpecContext) {
			mine, cancel := context.WithCancel(ctx)
			s, _ := shell(r, "echo asleep; sleep 1000")
			s.Log = writer(func(p []byte) (int, error) { cancel(); return len(p), nil })
			_, err := runner().Run(mine, s)
			Expect(cause.Of(err).Cause).To(Equal(cause.Cancelled), "%+v", err)
		})
	}
})

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
