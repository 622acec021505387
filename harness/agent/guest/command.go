// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"strings"

	"github.com/mews-farm/mews/driver/consumer/command"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

// placeProbe puts the path of the legacy probe into an argument that asks for it.
func (a *Agent) placeProbe(arg string) (string, error) {
	if !strings.Contains(arg, agent.ProbePlace) {
		return arg, nil
	}
	if a.legacy == nil {
		return "", cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "the argument %q asks for the legacy probe, and the driver has none", arg).
			Advise("only a driver of variant ebpf has a %s", agent.ProbePlace)
	}
	return strings.ReplaceAll(arg, agent.ProbePlace, a.legacy.path), nil
}

// maxCommandLine bounds one line of a program's output: two hundred of them must fit one message.
const maxCommandLine = 4 << 10

// RunCommand runs a program of the user's own over the driver that is loaded, until it ends or the call's time is over.
func (a *Agent) RunCommand(ctx context.Context, r *wire.RunCommandRequest) (*wire.RunCommandReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	if a.session != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "a consumer runs already").Advise("stop it first")
	}
	var argv []string
	for _, arg := range r.GetArgv() {
		arg, err := a.placeProbe(arg)
		if err != nil {
			return nil, err
		}
		argv = append(argv, arg)
	}
	report, err := command.Run(ctx, argv, nil)
	if report == nil {
		return nil, err
	}
	reply := &wire.RunCommandReply{ExitCode: int32(report.ExitCode), Seconds: report.Took.Seconds(), Stderr: wire.Text(report.Stderr)}
	for _, line := range report.Output {
		reply.Output = append(reply.Output, wire.Text(line[:min(len(line), maxCommandLine)]))
	}
	if err != nil {
		reply.Failure = wire.FailureFrom(err)
	}
	return reply, nil
}
