// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels"
)

func TestCompare(t *testing.T) {
	ordered := []string{"", "4.18.0-80.el8", "4.18.0-372.119.1.el8_6", "5.10.0-9-amd64", "5.10.0-46-amd64", "5.10.179-168.710.amzn2.x86_64",
		"5.10.219-208.866.amzn2.x86_64", "6.1~rc1", "6.1", "6.1-1~bpo1", "6.1-1", "6.1.0-56-amd64", "6.1.0-56-cloud-amd64", "6.12.9", "7.0"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := Compare(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("Compare(%q, %q) = %d", a, b, got)
			}
		}
	}
	if Compare("1.001", "1.1") != 0 || Compare("99999999999999999999", "100000000000000000000") >= 0 {
		t.Error("numbers are not compared by their value")
	}
}

// variety is kernels of several distributions that are hard to tell apart.
func variety(t *testing.T) *Catalog {
	t.Helper()
	c := fresh(t)
	kernel := func(source, distro, release, version, arch, build string) kernels.Entry {
		return kernels.Entry{Kernel: kernels.Kernel{Distro: distro, Release: release, Version: version, Arch: arch, BuildID: build}, Source: source, Repo: "r",
			Image: []kernels.Package{{Name: "image"}}}
	}
	entitled := kernel("rocky", "rocky", "4.18.0-372.119.1.el8_6.x86_64", "1", "x86_64", "")
	entitled.Availability, entitled.Access = kernels.Entitled, "RHEL EUS"
	denied := kernel("cos", "cos", "5.15.146+", "1", "x86_64", "17800.570.5")
	denied.Policies = []kernels.Policy{{Variant: "kmod", Cause: "POLICY_DENIED", Reason: "LoadPin"}}
	entries := []kernels.Entry{
		kernel("debian", "debian", "6.1.0-56-cloud-amd64", "1", "x86_64", ""), kernel("debian", "debian", "6.1.0-9-cloud-amd64", "1", "x86_64", ""),
		kernel("ubuntu", "ubuntu", "6.8.0-31-generic", "31~22.04.1", "x86_64", ""), kernel("ubuntu", "ubuntu", "6.8.0-31-generic", "31", "x86_64", ""),
		kernel("ubuntu", "ubuntu", "6.8.0-31-generic", "31", "aarch64", ""),
		kernel("import", "ubuntu", "6.8.0-31-generic", "", "aarch64", ""), kernel("import", "amazonlinux2", "5.10.219-208.866.amzn2.x86_64", "1", "x86_64", ""),
		kernel("cos", "cos", "5.15.146+", "1", "x86_64", "17800.570.12"), denied, entitled,
	}
	if err := c.Add(t.Context(), entries, day); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestList(t *testing.T) {
	c := variety(t)
	for _, tc := range []struct {
		f    Filter
		want string
	}{
		{Filter{Distro: "debian"}, "6.1.0-9-cloud-amd64 available\n6.1.0-56-cloud-amd64 available"},
		{Filter{Match: "6.1.0-5?-*"}, "6.1.0-56-cloud-amd64 available"},
		{Filter{Match: "debian:*"}, "6.1.0-9-cloud-amd64 available\n6.1.0-56-cloud-amd64 available"},
		{Filter{Match: "deb*:6.1.0-56-cloud-amd64"}, "6.1.0-56-cloud-amd64 available"},
		{Filter{Match: "ubuntu:6.1*"}, ""},
		{Filter{Match: "cos:17800.*"}, "5.15.146+ available\n5.15.146+ available"},
		{Filter{Match: "17800.570.5"}, "5.15.146+ available"},
		{Filter{Availability: kernels.Entitled}, "4.18.0-372.119.1.el8_6.x86_64 entitled"},
		{Filter{Distro: "ubuntu", Arch: "aarch64", Match: "import:*"}, "6.8.0-31-generic available"},
		{Filter{Match: "*amzn2*"}, "5.10.219-208.866.amzn2.x86_64 available"},
		{Filter{Arch: "riscv64"}, ""},
	} {
		if got := state(t, c, tc.f); got != tc.want {
			t.Errorf("%+v: got\n%s\nwant\n%s", tc.f, got, tc.want)
		}
	}
	for _, bad := range []string{"6.[1", "debian:", ":6.1", "[:6.1"} {
		if _, err := c.List(t.Context(), Filter{Match: bad}); err == nil || !strings.Contains(err.Error(), "is not a pattern") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if distros, err := c.Distros(t.Context()); err != nil || strings.Join(distros, " ") != "amazonlinux2 cos debian rocky ubuntu" {
		t.Errorf("%v, %v", distros, err)
	}
}

func TestGet(t *testing.T) {
	c := variety(t)
	for _, tc := range []struct{ selector, arch, says string }{ // says: of the error; empty: it is found
		{"6.1.0-56-cloud-amd64", "", ""},
		{"debian:6.1.0-56-cloud-amd64", "x86_64", ""},
		{"debian:6.1.0-56-cloud-amd64#1", "", ""},
		{"cos:17800.570.5", "", ""},
		{"ubuntu:6.8.0-31-generic", "aarch64", ""}, // the imported one, of no version, is the same
		{"6.8.0-31-generic#31~22.04.1", "", ""},
		{"rocky:4.18.0-372.119.1.el8_6.x86_64", "", ""},
		{"ubuntu:6.8.0-31-generic", "", "say which: --arch, release#version"},
		{"ubuntu:6.8.0-31-generic", "x86_64", "names 2 kernels (say which: release#version)"},
		{"cos:5.15.146+", "", "say which: distro:build-id"},
		{"debian:6.1.0-55-cloud-amd64", "", "did you mean debian:6.1.0-56-cloud-amd64?"},
		{"5.10.218-208.866.amzn2.x86_64", "", "did you mean 5.10.219-208.866.amzn2.x86_64?"},
		{"debain:6.1.0-56-cloud-amd64", "", `"debain" is no distro of it; did you mean "debian"?`},
		{"windows", "", "`mews kernels list` shows"},
		{"debian:6.1.0-56-cloud-amd64#2", "", "no kernel"},
		{"debian:", "", "names no kernel"},
		{"", "", "names no kernel"},
	} {
		got, err := c.Get(t.Context(), tc.selector, tc.arch)
		if tc.says == "" {
			if err != nil || !strings.Contains(tc.selector, got.Release) && !strings.Contains(tc.selector, got.BuildID) || got.Source == ImportSource {
				t.Errorf("%s: %+v, %v", tc.selector, got, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, not %s", tc.selector, err, tc.says)
		}
	}
	list, err := c.List(t.Context(), Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if whole, err := c.Whole(t.Context(), r); err != nil || whole.Kernel != r.Kernel || whole.Source != r.Source || len(whole.Image) != 1 {
			t.Errorf("the whole of %+v is %+v, %v", r, whole, err)
		}
	}
	got, err := c.Get(t.Context(), "17800.570.5", "")
	if err != nil || got.Name() != "cos:17800.570.5" || len(got.Policies) != 1 || got.Policies[0].Reason != "LoadPin" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := fresh(t).Get(t.Context(), "6.1", ""); err == nil || !strings.Contains(err.Error(), "mews kernels update") {
		t.Errorf("an empty catalogue: %v", err)
	}
}
