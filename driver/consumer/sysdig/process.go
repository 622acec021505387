// SPDX-License-Identifier: Apache-2.0

package sysdig

import (
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/child"
	"github.com/mews-farm/mews/driver/ebpf"
	"github.com/mews-farm/mews/results/cause"
)

// process is one sysdig and its watch.
type process struct {
	*child.Process
	watch consumer.Watch
	probe bool          // it loads a probe of its own
	ready chan struct{} // closed at the first fence
	once  sync.Once
}

func (p *process) start(cmd *exec.Cmd, deliver func(*process, consumer.Match)) (err error) {
	p.Process, err = child.Start(cmd, func(line []byte) error {
		m, err := ParseLine(line, p.watch)
		if err == nil {
			deliver(p, m)
		}
		return err
	})
	return err
}

// interrupt asks the process to end with its totals. One that has ended already is died's matter.
func (p *process) interrupt() error {
	if p.Ended() {
		return p.died()
	}
	if err := p.Signal(os.Interrupt); err != nil {
		return cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "interrupt sysdig for %s: %w", p.watch.Name, err)
	}
	return nil
}

// died says why a process ended that should not have.
func (p *process) died() error {
	text := p.Stderr()
	if err := ebpf.Refusal(text); p.probe && err != nil {
		return err
	}
	if ebpf.Incompatible(text) {
		return cause.Failf(cause.APISchemaMismatch, cause.FaultDriver, "sysdig refuses the driver for its API or schema version").With(evidence(text)...)
	}
	return cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "sysdig for %s ended by itself: %s", p.watch.Name, p.State()).With(evidence(text)...).
		Advise("a field, an operator or a syntax that this sysdig does not know, or no driver: its own words are in the evidence")
}

// totals reads the summary of a process that has ended.
func (p *process) totals() (events, drops uint64, err error) {
	if err := p.ReadErr(); err != nil {
		return 0, 0, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "read the output of sysdig for %s: %w", p.watch.Name, err)
	}
	if events, drops, err = ParseTotals(p.Stderr()); err != nil {
		return 0, 0, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "sysdig for %s ended (%s) without its totals: %w", p.watch.Name, p.State(), err).
			With(evidence(p.Stderr())...)
	}
	if s := p.KilledBy(); s != 0 && s != syscall.SIGINT {
		return events, drops, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "sysdig for %s was killed by %s", p.watch.Name, s)
	}
	return events, drops, nil
}

func evidence(text string) []cause.Evidence { return child.Evidence("sysdig's stderr", text) }
