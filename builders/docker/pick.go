// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"fmt"

	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/results/cause"
)

// Builders are the names that [Pick] knows.
var Builders = []string{"auto", "docker", "local"}

// Pick returns the runner of that name, and why it is this one. auto is Docker where a daemon can be used, else local.
func Pick(ctx context.Context, name string) (r sandbox.Runner, why string, err error) {
	return pick(ctx, name, Options{})
}

func pick(ctx context.Context, name string, o Options) (sandbox.Runner, string, error) {
	switch name {
	case "local":
		return sandbox.Local{}, "local: asked for", nil
	case "docker", "auto":
	default:
		return nil, "", cause.Errorf(cause.Internal, cause.FaultHarness, "no builder is called %q: auto, docker and local are", name)
	}
	d, err := New(ctx, o)
	switch {
	case err == nil:
		return d, fmt.Sprintf("docker: %s at %s, images on %s", d.info.Version, d.info.Host, d.info.Storage), nil
	case name == "docker", ctx.Err() != nil:
		return nil, "", err
	}
	return sandbox.Local{}, "local: no Docker daemon can be used: " + err.Error(), nil
}
