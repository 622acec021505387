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

// killed lays the loss of a guest at a deed's door, where PID 1 says that somebody killed the agent while it was done: nothing
// but the deed runs in a guest then. Every other error is as it was.
func killed(deed string, err error) error {
	f := cause.Of(err)
	if f.Cause != cause.AgentLost || !slices.ContainsFunc(f.Evidence, func(l cause.Evidence) bool { return strings.Contains(l.Text, agentKilled) }) {
		return err
	}
	return cause.Errorf(cause.ScenarioBroken, cause.FaultScenario, "%s killed mews's agent, and with it the guest", deed).With(f.Evidence...)
}
