// SPDX-License-Identifier: Apache-2.0

package sysdig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/child"
	"github.com/mews-farm/mews/driver/ebpf"
	"github.com/mews-farm/mews/results/cause"
)

// command is sysdig with a chisel for each watch, which are written to dir. sysdig looks for them in its working directory
// before it looks anywhere else.
func (o Options) command(dir string, watches []consumer.Watch) (*exec.Cmd, error) {
	var all []string
	if o.Probe != "" {
		all = append(all, ebpf.Flag(o.Probe))
	}
	all = append(all, args...)
	for i, w := range watches {
		lua, err := Chisel(w, prefixOf(i))
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("watch%d", i)
		if err := os.WriteFile(filepath.Join(dir, name+".lua"), []byte(lua), 0o600); err != nil {
			return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "write a chisel: %w", err)
		}
		all = append(all, "-c", name)
	}
	if f := Filter(watches); f != "" {
		all = append(all, f)
	}
	cmd := exec.Command(o.Path, all...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "LC_ALL=C", "TZ=UTC"}
	return cmd, nil
}

// interrupt asks the process to end with its totals. One that has ended already is died's matter.
func (c *Consumer) interrupt() error {
	if c.proc.Ended() {
		return c.died()
	}
	if err := c.proc.Signal(os.Interrupt); err != nil {
		return cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "interrupt sysdig: %w", err)
	}
	return nil
}

// died says why a process ended that should not have.
func (c *Consumer) died() error {
	text := c.proc.Stderr()
	if err := ebpf.Refusal(text); c.opts.Probe != "" && err != nil {
		return err
	}
	if ebpf.Incompatible(text) {
		return cause.Failf(cause.APISchemaMismatch, cause.FaultDriver, "sysdig refuses the driver for its API or schema version").With(evidence(text)...)
	}
	return cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "sysdig ended by itself: %s", c.proc.State()).With(c.named(text)...).
		Advise("a field, an operator or a syntax that this sysdig does not know, or no driver: its own words are in the evidence")
}

// totals reads the summary of a process that has ended.
func (c *Consumer) totals() (consumer.Stats, error) {
	if err := c.proc.ReadErr(); err != nil {
		return consumer.Stats{}, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "read sysdig's output: %w", err)
	}
	events, drops, err := ParseTotals(c.proc.Stderr())
	if err != nil {
		return consumer.Stats{}, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "sysdig ended (%s) without its totals: %w", c.proc.State(), err).
			With(evidence(c.proc.Stderr())...)
	}
	stats := consumer.Stats{Events: events, Drops: drops, DropsBy: map[string]uint64{}}
	if drops > 0 {
		stats.DropsBy[dropsOfDriver] = drops
	}
	if s := c.proc.KilledBy(); s != 0 && s != syscall.SIGINT {
		return stats, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "sysdig was killed by %s", s)
	}
	return stats, nil
}

func evidence(text string) []cause.Evidence { return child.Evidence("sysdig's stderr", text) }

// named is text as evidence, with the watch whose chisel it is about: the numbers say nothing to a reader.
func (c *Consumer) named(text string) []cause.Evidence {
	out := evidence(text)
	for i, w := range c.watches {
		if chiselIn(text, i) {
			out = append(out, cause.Evidence{File: fmt.Sprintf("watch%d.lua", i), Text: w.Name + ": " + w.Condition})
		}
	}
	return out
}

func stderrOf(err error) []cause.Evidence {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return nil
	}
	return evidence(string(exit.Stderr))
}
