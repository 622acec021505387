// SPDX-License-Identifier: Apache-2.0

package bootbench_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/harness/machine/initramfs"
	"github.com/mews-farm/mews/harness/machine/qemu/bootbench"
	"github.com/mews-farm/mews/harness/machine/qemu/internal/stock"
	"github.com/mews-farm/mews/internal/suite"
)

func TestBootBench(t *testing.T) { suite.Run(t, "machine/qemu/bootbench") }

var _ = Describe("the boot's benchmark", Label("boot"), func() {
	// The figures are the benchmark's business: no test depends on the time that something takes.
	It("measures both kinds of boot", func() {
		kernel, err := stock.Oldest(context.Background())
		Expect(err).NotTo(HaveOccurred())
		dir := GinkgoT().TempDir()
		init := filepath.Join(dir, "guest")
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", init, "../testdata/guest")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)
		initrd, err := initramfs.Cached(dir, init, kernel.Modules)
		Expect(err).NotTo(HaveOccurred())

		o := bootbench.Options{Kernel: kernel.Image, Initrd: initrd, Answer: echo, Runs: 1}
		agent, bare, err := bootbench.BootRatio(context.Background(), o)
		Expect(err).NotTo(HaveOccurred())
		GinkgoWriter.Printf("%s: agent %v, bare %v: %.2f\n", kernel.Release, agent, bare, agent.Seconds()/bare.Seconds())
		Expect(agent).To(BeNumerically(">", 0))
		Expect(bare).To(BeNumerically(">", 0))

		o.Kernel = initrd // no kernel
		_, _, err = bootbench.BootRatio(context.Background(), o)
		Expect(err).To(MatchError(ContainSubstring("bare boot: no init")))
	})
})

func echo(_ context.Context, conn net.Conn) error {
	if _, err := fmt.Fprintln(conn, "echo hello"); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && line != "hello\n" {
		err = fmt.Errorf("%q came back: %w", line, io.ErrUnexpectedEOF)
	}
	return err
}
