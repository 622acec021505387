// SPDX-License-Identifier: Apache-2.0

package results

import "testing"

// The two pictures of a driver show the same bars, each where it belongs.
func TestPlotsShowTheSame(t *testing.T) {
	list := overheads(sampleRun())
	if len(list) != 1 || len(list[0].Kernels) != 2 {
		t.Fatalf("%+v", list)
	}
	type at struct{ path, kernel string }
	kernels := list[0].Kernels
	byPath, byKernel := map[at]plotBar{}, map[at]plotBar{}
	for _, g := range plotOf(list[0]).Groups {
		for _, b := range g.Bars {
			byPath[at{g.Path, kernels[b.Series]}] = b
		}
	}
	for _, g := range plotByKernel(list[0]).Groups {
		for _, b := range g.Bars {
			byKernel[at{b.Path, g.Kernel}] = b
		}
	}
	if len(byPath) != 3 || len(byKernel) != 3 {
		t.Fatalf("%d bars by path and %d by kernel, want 3", len(byPath), len(byKernel))
	}
	for k, b := range byPath {
		if o := byKernel[k]; o.Length != b.Length || o.Text != b.Text || o.Series != b.Series {
			t.Errorf("%v: %+v and %+v", k, b, o)
		}
	}
}
