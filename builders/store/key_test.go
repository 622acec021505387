// SPDX-License-Identifier: Apache-2.0

package store

import (
	"strings"
	"testing"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels"
)

// Names as Falco's own grid has them (falcosecurity/test-infra, driverkit/config and output).
func TestNamesAreReadAndWritten(t *testing.T) {
	for path, want := range map[string]Names{
		"5.0.1+driver/x86_64/falco_amazonlinux2_5.10.179-168.710.amzn2.x86_64_1.ko": {"amazonlinux2", "5.10.179-168.710.amzn2.x86_64", "1"},
		"7.2.0+driver/x86_64/falco_almalinux_4.18.0-513.11.1.el8_9.x86_64_1.o":      {"almalinux", "4.18.0-513.11.1.el8_9.x86_64", "1"},
		"10.2.0+driver/aarch64/falco_debian_6.1.170-3-rt-arm64_1.ko":                {"debian", "6.1.170-3-rt-arm64", "1"},
		"7.2.0+driver/x86_64/falco_ubuntu-aws_5.15.0-1009-aws_26~22.04.1.ko":        {"ubuntu-aws", "5.15.0-1009-aws", "26~22.04.1"},
		"7.2.0+driver/x86_64/falco_talos_6.1.30-talos_1_v1.4.4.ko":                  {"talos", "6.1.30-talos", "1_v1.4.4"},
		"7.2.0+driver/x86_64/falco_minikube_5.10.57_1_1.26.1.o":                     {"minikube", "5.10.57", "1_1.26.1"},
		"7.2.0+driver/x86_64/falco_bottlerocket_5.10.165_1_1.13.0-aws.ko":           {"bottlerocket", "5.10.165", "1_1.13.0-aws"},
		"0.1.1dev+git20220316.e5c53d64/x86_64/falco_cos_5.15.146+_1.o":              {"cos", "5.15.146+", "1"},
	} {
		k, err := ParsePath(path)
		if err != nil || k.Kernel != want || k.Path() != path {
			t.Errorf("%s: got %+v, %v; written %s", path, k.Kernel, err, k.Path())
		}
		if k.Kernel == (Names{}) || (k.Variant == product.KMod) != strings.HasSuffix(path, ".ko") {
			t.Errorf("%s: variant %s", path, k.Variant)
		}
	}
}

// A CO-RE probe is filed once for all kernels, and never taken for the legacy probe of one.
func TestAnyBTF(t *testing.T) {
	k := Key{DriverVersion: "9.1.0+driver", Arch: "x86_64", Kernel: AnyBTF, Variant: product.Modern}
	if got := k.Path(); got != "9.1.0+driver/x86_64/falco_any_btf_1.bpf.o" {
		t.Error(got)
	}
	if got, err := ParsePath(k.Path()); err != nil || got != k {
		t.Errorf("it is read as %+v, %v", got, err)
	}
	debian := Names{Target: "debian", Release: "6.1.192-2-cloud-amd64", Version: "1"}
	for _, bad := range []Key{
		{k.DriverVersion, k.Arch, AnyBTF, product.EBPF},
		{k.DriverVersion, k.Arch, AnyBTF, product.KMod},
		{k.DriverVersion, k.Arch, debian, product.Modern},
		{k.DriverVersion, k.Arch, Names{"debian", "6.1", "1.bpf"}, product.EBPF},
	} {
		if bad.Check() == nil {
			t.Errorf("%s is taken for %s", bad.Path(), bad.Variant)
		}
	}
	for _, path := range []string{"1/x86_64/falco_any_btf_1.o", "1/x86_64/falco_any_btf_1.ko", "1/x86_64/falco_debian_6.1_1.bpf.o"} {
		if k, err := ParsePath(path); err == nil {
			t.Errorf("%s was taken for %+v", path, k)
		}
	}
}

func TestBadNamesAreRefused(t *testing.T) {
	for _, path := range []string{
		"", "falco_debian_6.1_1.ko", "1/x86_64/debian_6.1_1.ko", "1/amd64/falco_debian_6.1_1.ko", "../x86_64/falco_debian_6.1_1.ko",
		"1/x86_64/falco_debian_6.1.ko", "1/x86_64/falco_debian_6.1_1.ko.json", "1/x86_64/falco_Debian_6.1_1.ko", "logs/x86_64/falco_debian_6.1_1.ko",
		"1/x86_64/falco_debian__1.ko", "1/x86_64/falco_debian_6.1_.ko", "1/x86_64/falco_talos_6.1_1.ko", "1/x86_64/falco_debian_.._1.ko",
		"1/x86_64/falco_debian_6.1%2B_1.ko", "1/x86_64/falco_debian_6.1 _1.ko", "1/x86_64/falco_debian_" + strings.Repeat("6", 81) + "_1.ko",
	} {
		if k, err := ParsePath(path); err == nil {
			t.Errorf("%q was taken for %+v", path, k)
		}
	}
}

func TestNamesOfAreFalcoctls(t *testing.T) {
	for _, tt := range []struct {
		kernel  kernels.Kernel
		version string
		want    string
	}{
		{kernels.Kernel{Distro: "debian", Release: "6.1.0-56-cloud-amd64", Version: "1"}, "6.1.192-2", "debian_6.1.192-2-cloud-amd64_1"},
		{kernels.Kernel{Distro: "debian", Release: "6.1.0-47-rt-arm64", Version: "1"}, "6.1.170-3", "debian_6.1.170-3-rt-arm64_1"},
		{kernels.Kernel{Distro: "debian", Release: "6.12.57+deb13-amd64", Version: "1"}, "6.12.57-1", "debian_6.12.57-1-amd64_1"},
		// falcoctl would take the next one for the former; they are two builds.
		{kernels.Kernel{Distro: "debian", Release: "6.12.57+deb12-amd64", Version: "1"}, "6.12.57-1~bpo12+1", "debian_6.12.57+deb12-amd64_1"},
		{kernels.Kernel{Distro: "ubuntu", Release: "5.15.0-1009-aws", Version: "26~22.04.1-Ubuntu"}, "5.15.0-1009.11", "ubuntu-aws_5.15.0-1009-aws_26~22.04.1"},
		{kernels.Kernel{Distro: "ubuntu", Release: "5.15.0-60-generic-64k", Version: "66"}, "", "ubuntu-generic_5.15.0-60-generic-64k_66"},
		{kernels.Kernel{Distro: "amazonlinux2", Release: "5.10.219-208.866.amzn2.x86_64", Version: "1"}, "", "amazonlinux2_5.10.219-208.866.amzn2.x86_64_1"},
	} {
		n, err := NamesOf(tt.kernel, tt.version)
		if err != nil || n.String() != tt.want {
			t.Errorf("%s: got %s, %v", tt.want, n, err)
		}
	}
	if _, err := NamesOf(kernels.Kernel{Distro: "debian", Release: "../../x"}, ""); err == nil {
		t.Error("a release that leads out of the store was taken")
	}
}

// Whatever is read as a name is written as the same name.
func FuzzParsePath(f *testing.F) {
	f.Add(plusKo.Path())
	f.Add("7.2.0+driver/x86_64/falco_talos_6.1.30-talos_1_v1.4.4.ko")
	f.Add("1/aarch64/falco_a_b_c_d.o")
	f.Fuzz(func(t *testing.T, path string) {
		k, err := ParsePath(path)
		if err != nil {
			return
		}
		if k.Path() != path {
			t.Errorf("%q is written %q", path, k.Path())
		}
		if n, err := ParseNames(k.Kernel.String()); err != nil || n != k.Kernel {
			t.Errorf("%+v is read as %+v, %v", k.Kernel, n, err)
		}
	})
}

// Whatever parts make a key, its path is read as them.
func FuzzKey(f *testing.F) {
	f.Add("7.2.1+driver", "debian", "6.12.57+deb12-amd64", "1")
	f.Add("1", "talos", "6.1_x", "1_v1")
	f.Add("1", "rocky", "6_1", "1_1")
	f.Fuzz(func(t *testing.T, version, target, release, kversion string) {
		k := Key{DriverVersion: version, Arch: "aarch64", Kernel: Names{target, release, kversion}, Variant: product.EBPF}
		if k.Check() != nil {
			return
		}
		if got, err := ParsePath(k.Path()); err != nil || got != k {
			t.Errorf("%+v is read as %+v, %v", k, got, err)
		}
	})
}
