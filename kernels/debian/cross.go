// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/internal/apt"
	"github.com/mews-farm/mews/results/cause"
)

// Cross returns r, a kernel of s, with headers that can be built against on a machine of host's architecture: linux-kbuild
// holds programs (modpost, fixdep, objtool), and its edition for host takes the place of the kernel's own, at the same version.
// What else there is in headers runs nowhere. Of a host that does not have it, the headers are missing.
func (s *Source) Cross(ctx context.Context, host *Source, suites []string, r *kernels.Resolved) (*kernels.Resolved, error) {
	if s.Arch() == host.Arch() {
		return r, nil
	}
	u, err := host.Universe(ctx, suites)
	if err != nil {
		return nil, err
	}
	out := *r
	out.Headers = slices.Clone(r.Headers)
	for i, p := range out.Headers {
		if !strings.HasPrefix(p.Name, "linux-kbuild-") {
			continue
		}
		want := apt.Relation{Name: p.Name, Op: "=", Version: p.Version}
		there := u.Best(want)
		if there == nil {
			return nil, cause.Errorf(cause.HeadersMissing, cause.FaultInfra, "kernel %s: no %s for %s in %s", r.Kernel.Release, want, host.Arch(), u).
				Advise("build on a machine of %s", s.Arch())
		}
		out.Headers[i] = there.Package()
	}
	return &out, nil
}
