// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"context"
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/skipped"
	"github.com/mews-farm/mews/results/cause"
)

// CrowdWord makes this binary the process of [Crowd].
const CrowdWord = "crowd"

// What a crowd does: long enough that the scheduler takes the CPU from each of its threads many times.
const (
	crowdThreads = 4
	crowdOpens   = 500
)

// Crowd is `mews-agent crowd`: threads that open a directory as fast as they can, all at once, each often enough to be
// preempted within whatever a driver does in the kernel.
func Crowd() error {
	var all sync.WaitGroup
	failed := make([]error, crowdThreads)
	for i := range failed {
		all.Go(func() {
			runtime.LockOSThread()
			for range crowdOpens {
				fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
				if err != nil {
					failed[i] = err
					return
				}
				unix.Close(fd)
			}
		})
	}
	all.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// crowd has the driver's programs, if it has any, run for several threads at once, so that those are found out which the kernel
// skips when it takes the CPU from one that is within them.
func (a *Agent) crowd(ctx context.Context, programs skipped.Programs) error {
	if programs.None() {
		return nil
	}
	cmd := exec.CommandContext(ctx, selfPath, CrowdWord)
	var words bytes.Buffer
	cmd.Stderr = &words
	err := a.launch(ctx, cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "the process that crowds the driver: %w", err).With(cause.Text(words.String())...)
	}
	return nil
}
