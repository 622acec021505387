// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/grid"
	"github.com/mews-farm/mews/builders/store"
	"github.com/mews-farm/mews/internal/suite"
	"github.com/mews-farm/mews/results/cause"
)

func TestBuild(t *testing.T) { suite.Run(t, "harness/cli") }

// mews runs the command with the user's own caches: what was fetched once is not fetched again.
func mews(args ...string) *exec.Cmd {
	c := exec.Command("mews", args...)
	c.Env = append(os.Environ(), "NO_COLOR=1")
	return c
}

// built runs a build to its end, and returns its exit code and its results by id.
func built(args ...string) (int, map[string]*grid.Result) {
	GinkgoHelper()
	c := mews(append([]string{"build", "-o", "json"}, args...)...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, GinkgoWriter
	err := c.Run()
	if exit := (*exec.ExitError)(nil); err != nil {
		Expect(errors.As(err, &exit)).To(BeTrue(), "%v", err)
	}
	var doc struct{ Cells []*grid.Result }
	Expect(json.Unmarshal(out.Bytes(), &doc)).To(Succeed(), "%s", out.Bytes())
	by := map[string]*grid.Result{}
	for _, r := range doc.Cells {
		by[r.Driver] = r
	}
	return c.ProcessState.ExitCode(), by
}

// toy writes a module that does nothing, with what is put before its Makefile.
func toy(dir, name, version, makefile string) string {
	GinkgoHelper()
	at := filepath.Join(dir, name+"-"+version)
	Expect(os.MkdirAll(at, 0o755)).To(Succeed())
	for file, text := range map[string]string{
		"dkms.conf": "PACKAGE_NAME=\"" + name + "\"\nPACKAGE_VERSION=\"" + version + "\"\n",
		"Makefile":  makefile + "obj-m := " + name + ".o\n",
		name + ".c": "#include <linux/module.h>\nMODULE_LICENSE(\"GPL\");\n",
	} {
		Expect(os.WriteFile(filepath.Join(at, file), []byte(text), 0o644)).To(Succeed())
	}
	return at
}

const oneKernel = "debian-6.1"

var _ = Describe("mews build", Label("build", "net"), func() {
	const matrix = "../../matrix.yaml"

	DescribeTable("goes on where it was", func(sig syscall.Signal) {
		dir := GinkgoT().TempDir()
		out := filepath.Join(dir, "store")
		quick := toy(dir, "quick", "1.0", "# "+dir+"\n") // of a content that nobody built before
		stuck := toy(dir, "stuck", "2.0", "$(shell tail -f /dev/null)\n")
		c := mews("build", "-f", matrix, "--builder", "local", "--kernel", oneKernel, "--source", quick, "--source", stuck, "--out", out, "--jobs", "2")
		said, err := c.StderrPipe()
		Expect(err).NotTo(HaveOccurred())
		Expect(c.Start()).To(Succeed())
		lines := bufio.NewScanner(said)
		done, begun := false, false
		for (!done || !begun) && lines.Scan() {
			GinkgoWriter.Println(lines.Text())
			done = done || strings.Contains(lines.Text(), "quick-1.0-kmod  cell 1 of 2 done: pass")
			begun = begun || strings.Contains(lines.Text(), "stuck-2.0-kmod  build ...")
		}
		Expect(done && begun).To(BeTrue(), "it ended before it could be stopped")
		Expect(c.Process.Signal(sig)).To(Succeed())
		rest, err := io.ReadAll(said)
		Expect(err).NotTo(HaveOccurred())
		Expect(c.Wait()).NotTo(Succeed())
		if sig == syscall.SIGINT {
			Expect(c.ProcessState.ExitCode()).To(Equal(130))
			Expect(string(rest) + lines.Text()).To(ContainSubstring("give the same command again"))
		}
		s, err := store.Open(GinkgoT().Context(), out)
		Expect(err).NotTo(HaveOccurred())
		check, err := s.Verify(GinkgoT().Context(), "1.0")
		Expect(err).NotTo(HaveOccurred())
		Expect(check.Clean()).To(BeTrue(), "%+v", check)

		loose := toy(dir, "stuck", "2.0", "# "+dir+"\n")
		code, by := built("-f", matrix, "--builder", "local", "--kernel", oneKernel, "--source", quick, "--source", loose, "--out", out)
		Expect(code).To(Equal(0))
		Expect(by["quick-1.0-kmod"].Origin).To(Equal(grid.Remembered))
		Expect(by["stuck-2.0-kmod"].Origin).To(Equal(grid.Built))
		for _, version := range []string{"1.0", "2.0"} {
			check, err := s.Verify(GinkgoT().Context(), version)
			Expect(err).NotTo(HaveOccurred())
			Expect(check.Clean()).To(BeTrue(), "%s: %+v", version, check)
		}
	},
		Entry("after an interruption", syscall.SIGINT),
		Entry("after it was killed", syscall.SIGKILL),
	)

	It("puts nothing over what users have", func() {
		dir := GinkgoT().TempDir()
		out := filepath.Join(dir, "store")
		quick := toy(dir, "quick", "1.0", "# "+dir+"\n")
		args := []string{"-f", matrix, "--builder", "local", "--kernel", oneKernel, "--source", quick, "--out", out}
		code, by := built(args...)
		Expect(code).To(Equal(0))
		Expect(by["quick-1.0-kmod"].Origin).To(Equal(grid.Built))
		// Another source at the same name and version is other content: it is not put over what users have.
		Expect(os.WriteFile(filepath.Join(quick, "quick.c"), []byte("#include <linux/module.h>\nMODULE_LICENSE(\"GPL\");\nint x = 1;\n"), 0o644)).To(Succeed())
		code, by = built(args...)
		Expect(code).To(Equal(3))
		Expect(by["quick-1.0-kmod"].Cause).To(Equal(cause.StoreConflict))
		code, by = built(append(args, "--replace")...)
		Expect(code).To(Equal(0))
		Expect(by["quick-1.0-kmod"].Origin).To(Equal(grid.Remembered))
	})

	It("keeps of a log of 500 MB what its record may have", func() {
		dir := GinkgoT().TempDir()
		loud := toy(dir, "loud", "1.0", "# "+dir+"\nifeq ($(KERNELRELEASE),)\nelse\n$(shell head -c 500000000 /dev/zero | tr '\\0' x >&2)\nendif\n")
		code, by := built("-f", matrix, "--builder", "local", "--kernel", oneKernel, "--source", loud, "--out", filepath.Join(dir, "store"))
		Expect(code).To(Equal(0))
		log, err := os.Stat(by["loud-1.0-kmod"].LogPath)
		Expect(err).NotTo(HaveOccurred())
		Expect(log.Size()).To(And(BeNumerically(">", 1<<20), BeNumerically("<", 20<<20)))
	})

	It("comes to what the table of docs/building.md says", func() {
		code, by := built("-f", "../../docs/grid.yaml", "--kernel", "7.3-cloud", "--driver", "kmod-*", "--out", filepath.Join(GinkgoT().TempDir(), "store"))
		Expect(code).To(Equal(1))
		Expect(by["kmod-0.23.2"].State).To(Equal(cause.Pass))
		for _, old := range []string{"kmod-0.1.1dev"} {
			Expect(by[old].State).To(Equal(cause.Fail), "%+v", by[old])
			Expect(by[old].Cause).To(Equal(cause.CompileError))
			Expect(by[old].Fault).To(Equal(cause.FaultDriver))
		}
	})
})
