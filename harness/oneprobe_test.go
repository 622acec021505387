// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"testing"

	"github.com/mews-farm/mews/harness/matrix"
)

// With a probe that each sysdig loads for itself, one runs at a time: that of the check alone, then one for each rule.
func TestOneProbeAtATime(t *testing.T) {
	c := stableCell(t, "falco-kmod")
	if c.oneByOne() || c.opening().Bare || len(c.opening().Watches) < 2 {
		t.Fatalf("a module takes several: %+v", c.opening())
	}
	c.Driver.Variant.V = "ebpf"
	if o := c.opening(); o.Bare || len(o.Watches) != 0 {
		t.Errorf("the check runs beside %d watches", len(o.Watches))
	}
	for i, b := range c.batches() {
		if spec := c.consumer(b); !spec.Bare || len(spec.Watches) != 1 {
			t.Errorf("batch %d has %d watches, with the check: %t", i, len(spec.Watches), !spec.Bare)
		}
	}
	if n := len(c.batches()); n < len(c.Rules) {
		t.Errorf("%d batches for %d rules", n, len(c.Rules))
	}
	c.Consumer.Kind.V = matrix.Falco
	if c.oneByOne() || len(c.batches()) != 1 {
		t.Error("a Falco has all rules in one process")
	}
}
