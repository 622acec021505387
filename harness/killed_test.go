// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

func TestKilled(t *testing.T) {
	lost := func(lines ...string) error {
		return cause.Errorf(cause.AgentLost, cause.FaultHarness, "the guest powered itself off").With(cause.Text(append([]string{"[    0.1] x"}, lines...)...)...)
	}
	const bySignal = "mews-agent: init: the agent was killed by killed"
	for _, c := range []struct {
		err  error
		want cause.Cause
	}{
		{lost(bySignal), cause.ScenarioBroken},
		{lost("[   14.2] Out of memory: Killed process 61 (agent) total-vm:1300000kB, anon-rss:40000kB, oom_score_adj:0", bySignal), cause.AgentLost},
		{lost("[   14.2] Memory cgroup out of memory: Killed process 88 (eater) total-vm:300000kB", bySignal), cause.ScenarioBroken},
		{lost("mews-agent: init: the agent exited with 2"), cause.AgentLost},
		{cause.Errorf(cause.KernelPanic, cause.FaultKernel, "x").With(cause.Text("init: the agent was killed by killed")...), cause.KernelPanic},
		{errors.New("x"), cause.Internal},
	} {
		if f := cause.Of(killed("a's attack", c.err)); f.Cause != c.want || c.want == cause.ScenarioBroken && f.Fault != cause.FaultScenario {
			t.Errorf("%v: %+v, want %s", c.err, f, c.want)
		}
	}
}
