// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/native"
	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/results/cause"
)

// held is a probe that stays loaded when its consumer stops: to unload it is a call, and a verdict, of its own.
type held struct{ *modern.Driver }

func (held) Close() error { return nil }

// nativeConsumer makes a consumer of the probe that is loaded.
func (a *Agent) nativeConsumer() (consumer.Consumer, error) {
	if a.probe == nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "consumer native has no probe to read").Advise("load the probe first")
	}
	return native.New(held{a.probe.driver}), nil
}
