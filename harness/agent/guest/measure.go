// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/mews-farm/mews/harness/agent/meter"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

// Measure finds out what system calls cost, in a process of its own that a driver sees. A consumer that runs goes on.
func (a *Agent) Measure(ctx context.Context, r *wire.MeasureRequest) (*wire.MeasureReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	plan, err := json.Marshal(meter.Plan{Paths: r.GetPaths(), Repeats: int(r.GetRepeats()), Batches: int(r.GetBatches())})
	if err != nil {
		return nil, ours("write the plan of a measurement", err)
	}
	cmd := meter.Command(ctx, selfPath, a.State+"/meter")
	var out, words bounded
	out.limit, words.limit = maxResult, maxWords
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(plan), &out, &words
	begun := time.Now()
	if err = a.launch(ctx, cmd); err == nil {
		err = cmd.Wait()
	}
	var costs []meter.Cost
	if err == nil {
		err = json.Unmarshal(out.buf.Bytes(), &costs)
	}
	if err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "the process that measures failed: %w", err).With(cause.Text(words.String())...)
	}
	reply := &wire.MeasureReply{Seconds: time.Since(begun).Seconds()}
	for _, c := range costs {
		reply.Costs = append(reply.Costs, &wire.PathCost{Path: c.Path, Calls: int32(c.Calls), Ticks: c.Ticks, Failure: wire.Text(c.Failure), Lacking: c.Lacking})
	}
	return reply, nil
}
