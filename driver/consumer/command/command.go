// SPDX-License-Identifier: Apache-2.0

// Package command knows how to take a verdict from a program that the user ships: a loader or a consumer such as
// scap-open, which loads a driver, looks at events by itself and says by its exit status how that went.
package command

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mews-farm/mews/driver/consumer/child"
	"github.com/mews-farm/mews/results/cause"
)

// ExitUnsupported is the exit status of a program that found that the kernel lacks what its driver needs: ENOTSUP, as
// scap-open of falcosecurity/libs exits.
const ExitUnsupported = 95

// maxLines bounds the output that is kept of a run, its first and its last.
const maxLines = 200

// Report is a run that ended by itself, whatever its verdict.
type Report struct {
	ExitCode int
	Took     time.Duration
	Output   []string // lines of standard output; of a long one the first and the last, with a line between that says so
	Stderr   string   // the last of it
}

// Run runs argv, whose first is a path or a name of $PATH, until it ends or ctx does. The report is there whenever the
// program ended; the error, a *cause.Err, is nil for exit status 0, unsupported for [ExitUnsupported], and a fail of
// the driver for every other. A program that does not end in its time, is killed by a signal, or is not there is no
// verdict on the driver.
func Run(ctx context.Context, argv, env []string) (*Report, error) {
	if len(argv) == 0 || argv[0] == "" {
		return nil, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "no command was given")
	}
	name := filepath.Base(argv[0])
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "LC_ALL=C", "TZ=UTC"}, env...)
	var out output
	begun := time.Now()
	p, err := child.Start(cmd, out.line)
	if err != nil {
		return nil, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "start %s: %w", argv[0], err).
			Advise("put the program and the libraries it is linked to into the userland")
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Kill()
		return nil, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "%s did not end in its time: %w", name, ctx.Err()).
			With(evidence(p, &out)...).Advise("have it end by itself, as `scap-open --num_events 50` does, or give it more time")
	}
	r := &Report{ExitCode: p.ExitCode(), Took: time.Since(begun), Output: out.lines(), Stderr: p.Stderr()}
	switch {
	case p.KilledBy() != 0:
		return r, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "%s was killed by %s", name, p.KilledBy()).With(evidence(p, &out)...)
	case p.ReadErr() != nil:
		return r, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "read the output of %s: %w", name, p.ReadErr())
	case r.ExitCode == 0:
		return r, nil
	case r.ExitCode == ExitUnsupported:
		return r, &cause.Err{
			Finding: cause.Finding{State: cause.Unsupported, Cause: cause.ConsumerUnsupported, Fault: cause.FaultKernel, Evidence: evidence(p, &out)},
			What:    fmt.Sprintf("%s exited with %d: this kernel lacks what its driver needs", name, ExitUnsupported),
		}
	}
	return r, cause.Failf(cause.ConsumerFailed, cause.FaultDriver, "%s exited with %d", name, r.ExitCode).With(evidence(p, &out)...)
}

func evidence(p *child.Process, out *output) []cause.Evidence {
	ev := child.Evidence("its stderr", p.Stderr())
	return append(ev, child.Evidence("its output", strings.Join(out.lines(), "\n"))...)
}

// output keeps the first and the last lines.
type output struct {
	first, last []string
	cut         int
}

func (o *output) line(b []byte) error {
	switch {
	case len(o.first) < maxLines/2:
		o.first = append(o.first, string(b))
		return nil
	case len(o.last) == maxLines/2:
		o.last = o.last[1:]
		o.cut++
	}
	o.last = append(o.last, string(b))
	return nil
}

func (o *output) lines() []string {
	out := append([]string(nil), o.first...)
	if o.cut > 0 {
		out = append(out, fmt.Sprintf("... %d lines ...", o.cut))
	}
	return append(out, o.last...)
}
