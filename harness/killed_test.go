// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

func TestKilled(t *testing.T) {
	lost := func(line string) error {
		return cause.Errorf(cause.AgentLost, cause.FaultHarness, "the guest powered itself off").With(cause.Text("[    0.1] x", line)...)
	}
	for _, c := range []struct {
		err  error
		want cause.Cause
	}{
		{lost("mews-agent: init: the agent was killed by killed"), cause.ScenarioBroken},
		{lost("mews-agent: init: the agent exited with 2"), cause.AgentLost},
		{cause.Errorf(cause.KernelPanic, cause.FaultKernel, "x").With(cause.Text("init: the agent was killed by killed")...), cause.KernelPanic},
		{errors.New("x"), cause.Internal},
	} {
		if f := cause.Of(killed("a's attack", c.err)); f.Cause != c.want || c.want == cause.ScenarioBroken && f.Fault != cause.FaultScenario {
			t.Errorf("%v: %+v, want %s", c.err, f, c.want)
		}
	}
}
