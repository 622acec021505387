// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/native"
	"github.com/mews-farm/mews/results/cause"
)

// held is a driver that stays when its consumer stops: to unload it is a call, and a verdict, of its own.
type held struct{ native.Driver }

func (held) Close() error { return nil }

// lost is how many events were lost until now, as far as a driver can tell while it runs: the probe can.
func (a *Agent) lost() (uint64, error) {
	if a.probe == nil {
		return 0, nil
	}
	stats, err := a.probe.driver.Stats()
	var sum uint64
	for _, n := range stats.DropsBy {
		sum += n
	}
	return sum, err
}

// nativeConsumer makes a consumer of the probe that is loaded, or of the tracer that runs.
func (a *Agent) nativeConsumer() (consumer.Consumer, error) {
	switch {
	case a.probe != nil && a.tracer != nil:
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "consumer native has a probe and a tracer to read").Advise("unload one of them")
	case a.probe != nil:
		return native.New(held{a.probe.driver}), nil
	case a.tracer != nil:
		return native.New(held{a.tracer}), nil
	}
	return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "consumer native has no probe or tracer to read").Advise("load one first")
}
