// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strconv"
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
	if err := pidsFrom(firstPid); err != nil {
		return nil, err
	}
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
		reply.Costs = append(reply.Costs, &wire.PathCost{Path: c.Path, Calls: int32(c.Calls), Ticks: c.Ticks, Means: c.Means, Failure: wire.Text(c.Failure), Lacking: c.Lacking})
	}
	return reply, nil
}

// firstPid is where the ids of what is measured begin: above 4096, at which the kernel's tree of them grows by a level and
// each clone costs 1 % more, and below 32768 by more than a measurement makes processes.
const firstPid = 16384

// pidsFrom has the kernel go on from an id, so that every measurement walks the same tree. A kernel without
// CONFIG_CHECKPOINT_RESTORE cannot: the price of clone may then step once in a while, which its repeats show.
func pidsFrom(id int) error {
	err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(id)), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ours("set the next process id", err)
	}
	return nil
}
