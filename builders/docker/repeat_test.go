// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"fmt"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/docker"
	"github.com/mews-farm/mews/builders/internal/farm"
	"github.com/mews-farm/mews/builders/kmod"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/internal/suite"
)

var _ = Describe("Falco's module", Label("build", "net"), func() {
	It("has the same bytes from every runner, user, directory and number of jobs", func(ctx SpecContext) {
		f := farm.New()
		d, err := docker.New(ctx, docker.Options{})
		suite.Docker(err)
		DeferCleanup(d.Close)
		r := f.Request(ctx, []string{"bookworm-security", "bookworm"}, "6.1.*-cloud-amd64", "bookworm", "sid")
		sums, found := map[string]string{}, map[string]bool{}
		for _, v := range []struct {
			name   string
			runner sandbox.Runner
			jobs   int
		}{
			{"local, two jobs, as this user", sandbox.Local{}, 2},
			{"docker, one job, as nobody", d, 1},
			{"docker again, three jobs", d, 3},
		} {
			r.Out = filepath.Join(GinkgoT().TempDir(), fmt.Sprint(v.jobs))
			Expect(os.Mkdir(r.Out, 0o755)).To(Succeed())
			r.Runner, r.Jobs = v.runner, v.jobs
			a, err := kmod.Build(ctx, r)
			Expect(err).NotTo(HaveOccurred(), "%s: %+v", v.name, err)
			Expect(a.Has).To(HaveKeyWithValue("0__SANITY", true), v.name)
			sums[string(a.SHA256)] += v.name + "; "
			found[fmt.Sprint(a.Has)] = true
			AddReportEntry("build", fmt.Sprintf("%s: %.1f s", v.name, a.Seconds), ReportEntryVisibilityAlways)
		}
		Expect(sums).To(HaveLen(1), "one content whoever made it")
		Expect(found).To(HaveLen(1), "configure found the same")
	})
})
