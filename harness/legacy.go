// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/driver/ebpf"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/results/cause"
)

// probeLimit is [startLimit] of a legacy probe. Every process that captures has the verifier look at 170 programs: about
// 12 s of an emulated guest with 6.1 on an idle host, and 80 s with 7.3.4; several times that on a busy one.
const probeLimit = 90 * time.Second

func (c *cellRun) legacy() bool { return c.Driver.Variant.V == string(product.EBPF) }

// startLimit is how long the load of the driver may take, and likewise the start of a consumer.
func (c *cellRun) startLimit() time.Duration {
	if c.legacy() {
		return probeLimit
	}
	return startLimit
}

// loadLegacy has the userland's sysdig load the probe, and keeps what was said of it. Another consumer loads it itself.
func (c *cellRun) loadLegacy(ctx context.Context, g *guest) (string, error) {
	f, err := c.built.Open()
	if err != nil {
		return "", cause.Errorf(cause.Internal, cause.FaultHarness, "open the built probe: %w", err)
	}
	defer f.Close()
	if c.Consumer.Kind.V != matrix.Sysdig {
		return "the consumer loads it", g.c.KeepLegacy(ctx, f)
	}
	r, err := g.c.LoadLegacy(ctx, f)
	if r.Log != "" {
		if err := os.WriteFile(filepath.Join(g.dir, ebpf.LogFile), []byte(r.Log), 0o644); err != nil {
			return "", broken{err}
		}
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("sysdig loaded it, captured an event and was gone after %.1f s", r.Took.Seconds()), nil
}
