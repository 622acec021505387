// SPDX-License-Identifier: Apache-2.0

package falco

import (
	"context"
	"os/exec"

	"github.com/mews-farm/mews/driver/consumer/child"
	"github.com/mews-farm/mews/results/cause"
)

// maxVersion bounds the line that names a version, in bytes.
const maxVersion = 100

// Version is the first line that a Falco prints of itself when asked for its version.
func Version(ctx context.Context, path string) (string, error) {
	var first string
	p, err := child.Start(exec.Command(path, "--version"), func(line []byte) error {
		if first == "" {
			first = string(line[:min(len(line), maxVersion)])
		}
		return nil
	})
	if err != nil {
		return "", cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "start %s: %w", path, err).
			Advise("name a Falco binary for this machine, and put the libraries it is linked to into the userland")
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Kill()
		return "", cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "%s does not say its version: %w", path, ctx.Err()).With(evidence(p.Stderr())...)
	}
	if p.ExitCode() != 0 || first == "" {
		return "", cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "%s does not say its version: %s", path, p.State()).With(evidence(p.Stderr())...)
	}
	return first, nil
}
