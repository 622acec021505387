// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"slices"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// agentKilled is what PID 1 of a guest says when a signal ended the agent (harness/agent/guest/init.go). The agent never sends
// itself one; a panic of its own would be an exit.
const agentKilled = "init: the agent was killed by"

// outOfMemory is the line of a kernel that ran out of memory as a whole (mm/oom_kill.c). That of a deed which came to the bound
// of its own cgroup begins with "Memory cgroup out of memory", and never meets the agent.
const outOfMemory = "Out of memory: Killed process"

// killed lays the loss of a guest at a deed's door, where PID 1 says that somebody killed the agent while it was done: nothing
// but the deed runs in a guest then, unless it was the kernel, for want of memory. Every other error is as it was.
func killed(deed string, err error) error {
	f := cause.Of(err)
	says := func(text string) bool {
		return slices.ContainsFunc(f.Evidence, func(l cause.Evidence) bool { return strings.Contains(l.Text, text) })
	}
	switch {
	case f.Cause != cause.AgentLost || !says(agentKilled):
		return err
	case says(outOfMemory):
		return cause.Errorf(cause.AgentLost, cause.FaultHarness, "the guest ran out of memory while %s was done, and its kernel killed mews's agent", deed).With(f.Evidence...)
	}
	return cause.Errorf(cause.ScenarioBroken, cause.FaultScenario, "%s killed mews's agent, and with it the guest", deed).With(f.Evidence...)
}
