// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/classify"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/internal/suite"
)

func TestMain(m *testing.M) {
	sandbox.Init()
	os.Exit(m.Run())
}

func TestCorpus(t *testing.T) {
	suite.Run(t, "builders/classify/corpus")
}

// The kept logs are those of one day. What the same recipes print today must still be understood: a new kernel of a
// line may word a failure otherwise, as modpost of 7.3 does.
var _ = Describe("A recipe of the corpus, made anew", Label("build", "net"), func() {
	for _, name := range []string{"no-fixdep-6.1", "no-objtool-6.12", "modpost-6.1", "gpl-only-7", "disk-full-6.1", "cgroup-kill-6.1"} {
		It(name+" is still understood", func(ctx SpecContext) {
			if os.Geteuid() != 0 {
				Skip("needs root")
			}
			recipes, err := readRecipes("../testdata/recipes.yaml")
			Expect(err).NotTo(HaveOccurred())
			i := slices.IndexFunc(recipes, func(r recipe) bool { return r.Name == name })
			Expect(i).To(BeNumerically(">=", 0))
			f, err := newFarm()
			Expect(err).NotTo(HaveOccurred())
			log, end, err := f.make(ctx, recipes[i])
			Expect(err).NotTo(HaveOccurred())
			got := classify.Log(bytes.NewReader(log), classify.Facts{ExitCode: end.ExitCode, LogName: "build.log", Source: end.Source, Compiler: end.Compiler, KernelCompiler: end.KernelCompiler})
			Expect(fmt.Sprintf("%s/%s", got.Cause, got.Fault)).To(Equal(recipes[i].Want), "%+v", got)
			for _, e := range recipes[i].Evidence {
				Expect(fmt.Sprint(got.Evidence)).To(ContainSubstring(e))
			}
		})
	}
})
