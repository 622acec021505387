// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/falco"
	"github.com/mews-farm/mews/driver/consumer/fence"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

// falcoConsumer makes a consumer of the Falco that the user put into the userland.
func (a *Agent) falcoConsumer(ctx context.Context, options map[string]string, f *fence.Fence) (consumer.Consumer, string, error) {
	o := falco.Options{Path: options[agent.FalcoPath], Dir: filepath.Join(a.State, "falco"), Fence: f}
	if o.Path == "" {
		return nil, "", cause.Errorf(cause.Internal, cause.FaultHarness, "consumer falco was given no path of its binary")
	}
	if args := options[agent.FalcoArgs]; args != "" {
		if err := json.Unmarshal([]byte(args), &o.Args); err != nil {
			return nil, "", ours("read the arguments of consumer falco", err)
		}
	}
	for i, arg := range o.Args {
		var err error
		if o.Args[i], err = a.placeProbe(arg); err != nil {
			return nil, "", err
		}
	}
	for _, known := range []string{agent.FalcoPath, agent.FalcoArgs} {
		delete(options, known)
	}
	if len(options) > 0 {
		return nil, "", cause.Errorf(cause.Internal, cause.FaultHarness, "consumer falco knows no options %q", slices.Sorted(maps.Keys(options)))
	}
	if err := mkdirs(o.Dir); err != nil {
		return nil, "", ours("make a directory for Falco", err)
	}
	version, err := falco.Version(ctx, o.Path)
	if err != nil {
		return nil, "", err
	}
	return falco.New(o), wire.Text(version), nil
}
