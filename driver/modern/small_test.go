// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"os"
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// The types in testdata/btf are 4 KB of 1.8 MB. They are to every program of every edition what the whole of them is: each
// relocation comes to the same.
func TestSmallTypesAreAsGoodAsTheWhole(t *testing.T) {
	f, err := os.Open("../../testdata/btf/rhel8-4.18.0-2022-03.btf")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	small, err := btf.LoadSpecFromReader(f)
	if err != nil {
		t.Fatal(err)
	}
	whole := rhel8(t)
	for _, name := range Editions() {
		spec, err := Edition(name).collection()
		if err != nil {
			t.Fatal(err)
		}
		for program, p := range spec.Programs {
			var relocations []*btf.CORERelocation
			for i := range p.Instructions {
				if r := btf.CORERelocationMetadata(&p.Instructions[i]); r != nil {
					relocations = append(relocations, r)
				}
			}
			if len(relocations) == 0 {
				continue
			}
			fixups := func(types *btf.Spec) []string {
				list, err := btf.CORERelocate(relocations, []*btf.Spec{types}, spec.ByteOrder, func(btf.Type) (btf.TypeID, error) { return 0, nil })
				if err != nil {
					t.Fatalf("%s, %s: %v", name, program, err)
				}
				var out []string
				for _, fixup := range list {
					out = append(out, fixup.String())
				}
				return out
			}
			if got, want := fixups(small), fixups(whole); !slices.Equal(got, want) {
				t.Errorf("%s, %s: %d relocations are not the same; make the file anew (testdata/btf/README.md)", name, program, len(want))
			}
		}
	}
}
