// SPDX-License-Identifier: Apache-2.0

package grid

import (
	"slices"
	"testing"

	"github.com/mews-farm/mews/builders/product"
)

// A CO-RE probe has one cell, whatever kernels there are; a module has none for all of them.
func TestCellsOfAnyBTF(t *testing.T) {
	ks := []*Kernel{kernel("6.1.0-56-cloud-amd64"), {Name: "gone"}, AnyBTF("x86_64")}
	ds := []*Driver{driver("kmod", product.KMod), driver("core", product.Modern), driver("ebpf", product.EBPF)}
	ids := func(compilers ...string) (out []string) {
		for _, c := range Cells(ks, ds, compilers) {
			out = append(out, c.ID)
		}
		return out
	}
	if got, want := ids(), []string{
		"debian-6.1.0-56-cloud-amd64--kmod", "debian-6.1.0-56-cloud-amd64--ebpf", "gone--kmod", "gone--ebpf", "any_kernel_with_BTF--core",
	}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got, want := ids("gcc-12", "clang-19"), []string{
		"debian-6.1.0-56-cloud-amd64--kmod--gcc-12", "debian-6.1.0-56-cloud-amd64--kmod--clang-19", "debian-6.1.0-56-cloud-amd64--ebpf--clang-19",
		"gone--kmod--gcc-12", "gone--kmod--clang-19", "gone--ebpf--clang-19", "any_kernel_with_BTF--core--clang-19",
	}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
