// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"strings"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

func TestTargets(t *testing.T) {
	m, _ := shippedMatrix(t)
	down := testIndex()
	gone := cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "no answer")
	down.down = map[string]error{"trixie-security": gone}
	for _, c := range []struct {
		name    string
		sel     Selection
		x       index
		kernels string
		drivers string
	}{
		{"the whole matrix", Selection{}, testIndex(),
			"debian:5.10.0-46-cloud-amd64 debian:6.1.0-56-cloud-amd64 debian:6.12.117+deb13-cloud-amd64 debian:7.3.4+deb13-cloud-amd64",
			"falco-kmod falco-kmod-2022 falco-kmod-0.20 falco-ebpf falco-ebpf-0.20 falco-ebpf-2022"},
		{"a profile", Selection{Profile: "stable"}, testIndex(), "debian:6.1.0-56-cloud-amd64 debian:7.3.4+deb13-cloud-amd64", "falco-kmod"},
		{"a glob finds the older ones too", Selection{Kernels: []string{"debian:6.12.*"}, Drivers: []string{"falco-ebpf*"}}, testIndex(),
			"debian:6.12.117+deb13-cloud-amd64 debian:6.12.116+deb13-cloud-amd64", "falco-ebpf falco-ebpf-0.20 falco-ebpf-2022"},
		{"an entry's name means what the entry means", Selection{Kernels: []string{"debian-6.12"}, Drivers: []string{"falco-kmod"}}, testIndex(),
			"debian:6.12.117+deb13-cloud-amd64", "falco-kmod"},
		{"what the matrix lacks is the catalogue's", Selection{Kernels: []string{"cos:17800.*", "debian-5.10"}, Drivers: []string{"falco-kmod"}}, testIndex(),
			"debian:5.10.0-46-cloud-amd64 cos:17800.570.5", "falco-kmod"},
		{"an entry out of reach", Selection{Drivers: []string{"falco-kmod"}}, down,
			"debian:5.10.0-46-cloud-amd64 debian:6.1.0-56-cloud-amd64 MIRROR_UNREACHABLE debian:7.3.4+deb13-cloud-amd64", "falco-kmod"},
		{"is not in the way of others", Selection{Kernels: []string{"debian:6.1.0-56-*"}, Drivers: []string{"falco-kmod"}}, down, "debian:6.1.0-56-cloud-amd64", "falco-kmod"},
		{"and is told where it may have had the kernel", Selection{Kernels: []string{"debian:6.12.*"}, Drivers: []string{"falco-kmod"}}, down, "MIRROR_UNREACHABLE", "falco-kmod"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ks, ds, err := Targets(t.Context(), m, c.sel, c.x)
			if err != nil {
				t.Fatal(err)
			}
			var kernels, drivers []string
			for _, k := range ks {
				if k.Err != nil {
					kernels = append(kernels, string(cause.Of(k.Err).Cause))
					continue
				}
				kernels = append(kernels, k.Name())
			}
			for _, d := range ds {
				drivers = append(drivers, d.Name)
			}
			if got := strings.Join(kernels, " "); got != c.kernels {
				t.Errorf("kernels %s\nwant    %s", got, c.kernels)
			}
			if got := strings.Join(drivers, " "); got != c.drivers {
				t.Errorf("drivers %s\nwant    %s", got, c.drivers)
			}
		})
	}
}

func TestTargetsRefuses(t *testing.T) {
	m, _ := shippedMatrix(t)
	for _, c := range []struct {
		sel  Selection
		says string
	}{
		{Selection{Profile: "quik"}, `unknown profile "quik"; did you mean "quick"?`},
		{Selection{Kernels: []string{"debian:[6"}}, "is not a pattern"},
		{Selection{Drivers: []string{"falco-kmo"}}, `did you mean "falco-kmod"?`},
		{Selection{Profile: "stable", Kernels: []string{"debian:5.10.*"}}, "matches no kernel of profile stable"},
	} {
		_, _, err := Targets(t.Context(), m, c.sel, testIndex())
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.sel, err)
		}
	}
}
