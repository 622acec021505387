// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/internal/suite"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/deb"
	"github.com/mews-farm/mews/kernels/debian"
)

func TestMain(m *testing.M) {
	sandbox.Init()
	os.Exit(m.Run())
}

func TestOracle(t *testing.T) { suite.Run(t, "scenarios/rules") }

// oracle is a sysdig of some Debian suite, that reads filters here without a driver: it compiles the filter before it
// finds that the capture file holds no events.
type oracle struct{ root, scratch string }

func newOracle(ctx SpecContext, suites ...string) oracle {
	dir, err := archive.DefaultDir()
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	a, err := archive.New(dir)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	src, err := debian.New(debian.Options{
		Archive: a, ValidUntil: func(string) debian.Policy { return debian.Warn },
		Warn: func(text string) { GinkgoWriter.Println("warning:", text) },
	})
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	pkgs, err := src.Closure(ctx, suites, "sysdig")
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	paths, err := src.FetchAll(ctx, pkgs)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	o := oracle{GinkgoT().TempDir(), GinkgoT().TempDir()}
	for _, d := range []string{"build", "dev", "etc", "proc", "tmp"} {
		gomega.Expect(os.MkdirAll(filepath.Join(o.root, d), 0o755)).To(gomega.Succeed())
	}
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		gomega.Expect(os.MkdirAll(filepath.Join(o.root, "usr", d), 0o755)).To(gomega.Succeed())
		gomega.Expect(os.Symlink("usr/"+d, filepath.Join(o.root, d))).To(gomega.Succeed())
	}
	for _, p := range paths {
		gomega.Expect(deb.Unpack(ctx, p, o.root, deb.Limits{}, nil)).To(gomega.Succeed())
	}
	gomega.Expect(os.WriteFile(filepath.Join(o.scratch, "empty.scap"), emptyCapture(), 0o644)).To(gomega.Succeed())
	return o
}

// emptyCapture is the header of a capture file alone: a section header block of pcap-ng, version 1.2 (libscap's savefile).
func emptyCapture() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0x0A0D0D0A)
	b = binary.LittleEndian.AppendUint32(b, 28)
	b = binary.LittleEndian.AppendUint32(b, 0x1A2B3C4D)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint64(b, 1<<64-1)
	return binary.LittleEndian.AppendUint32(b, 28)
}

func (o oracle) run(ctx SpecContext, args ...string) string {
	var out bytes.Buffer
	r, err := sandbox.Run(ctx, sandbox.Spec{Root: o.root, Scratch: o.scratch, Argv: append([]string{"/usr/bin/sysdig"}, args...), Log: &out})
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	gomega.Expect(r.Signal).To(gomega.BeZero(), "%s", out.String())
	return out.String()
}

// takes reports whether the oracle compiles the filter, and what it says of one that it does not.
func (o oracle) takes(ctx SpecContext, filter string) (bool, string) {
	out := o.run(ctx, "-r", sandbox.ScratchAt+"/empty.scap", filter)
	return strings.Contains(out, "no events in file"), out
}

var _ = Describe("The rule language, held against libsinsp itself", Label("net"), func() {
	It("says of each condition what sysdig 0.41 says, and its filters are taken there", func(ctx SpecContext) {
		o := newOracle(ctx, "sid")
		gomega.Expect(o.run(ctx, "--version")).To(gomega.ContainSubstring("0.41."))
		for _, c := range conditions(GinkgoTB()) {
			took, says := o.takes(ctx, c.cond)
			gomega.Expect(took).To(gomega.Equal(c.sysdig041), "%s\n%s", c.cond, says)
			if e, err := read(c.cond); err == nil {
				filter, err := Sysdig041.Filter(e)
				gomega.Expect(err).NotTo(gomega.HaveOccurred())
				took, says := o.takes(ctx, filter)
				gomega.Expect(took).To(gomega.BeTrue(), "%s, from %s\n%s", filter, c.cond, says)
			}
		}
		By("the rules of a whole file")
		for _, r := range stable(GinkgoTB()).Compile(Sysdig041.Fields) {
			if r.State != Compiled {
				continue
			}
			filter, err := Sysdig041.Filter(r.Rule.Expr)
			gomega.Expect(err).NotTo(gomega.HaveOccurred())
			took, says := o.takes(ctx, filter)
			gomega.Expect(took).To(gomega.BeTrue(), "%s: %s\n%s", r.Rule.Name, filter, says)
		}
		By("its lists of fields and events")
		listed := map[string]string{}
		for _, m := range regexp.MustCompile(`(?m)^([a-z_]+(?:\.[A-Za-z0-9_]+)+)\s+\(Type: ([^)]*)\)`).FindAllStringSubmatch(o.run(ctx, "-l", "-v"), -1) {
			listed[m[1]] = m[2]
		}
		gomega.Expect(len(listed)).To(gomega.BeNumerically(">", 200))
		for _, name := range Sysdig041.Fields.(Lister).Fields() {
			if name == "evt.dir" {
				continue // not listed any more
			}
			ft, _ := Falco.Field(name)
			gomega.Expect(listed).To(gomega.HaveKeyWithValue(name, ft.Type))
			delete(listed, name)
		}
		for name, typ := range listed { // what is left are the fields with an argument after a dot
			gomega.Expect(dotted).To(gomega.HaveKey(name + "."))
			gomega.Expect(dotted[name+"."].Type).To(gomega.Equal(typ))
		}
		events := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^\s*[<>]?\s*([a-z0-9_]+)\(`).FindAllStringSubmatch(o.run(ctx, "-L"), -1) {
			events[m[1]] = true
		}
		gomega.Expect(eventNames()).To(gomega.Equal(sortedKeys(events)))
	})

	It("is translated to what sysdig 0.29 takes, or says by name what that lacks", func(ctx SpecContext) {
		o := newOracle(ctx, "bookworm")
		gomega.Expect(o.run(ctx, "--version")).To(gomega.ContainSubstring("0.29."))
		translated := 0
		for _, c := range conditions(GinkgoTB()) {
			took, says := o.takes(ctx, c.cond)
			gomega.Expect(took).To(gomega.Equal(c.sysdig029), "%s\n%s", c.cond, says)
			e, err := read(c.cond)
			if err != nil {
				continue
			}
			_, lacking := Compile(e, Sysdig029.Fields)
			filter, err := Sysdig029.Filter(e)
			if err != nil && strings.Contains(err.Error(), "no way to write") {
				continue // the way it was written may be one that our printer does not have
			}
			took, says = o.takes(ctx, orElse(filter, c.cond))
			gomega.Expect(took).To(gomega.Equal(err == nil && lacking == nil), "%s, from %s (%v, %v)\n%s", filter, c.cond, err, lacking, says)
			if took {
				translated++
			}
		}
		gomega.Expect(translated).To(gomega.BeNumerically(">", 50))
		By("its fields")
		var wrong []string
		for _, name := range Falco.(Lister).Fields() {
			ft, _ := Falco.Field(name)
			if ft.Arg == ArgRequired || pluginField(name) {
				continue
			}
			took, _ := o.takes(ctx, name+" exists")
			if _, known := Sysdig029.Fields.Field(name); known != took {
				wrong = append(wrong, name)
			}
		}
		slices.Sort(wrong)
		gomega.Expect(wrong).To(gomega.BeEmpty())
	})
})

// orElse is the filter, or the condition where there is none.
func orElse(filter, cond string) string {
	if filter != "" {
		return filter
	}
	return cond
}
