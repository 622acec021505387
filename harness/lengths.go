// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"regexp"

	"github.com/mews-farm/mews/harness/history"
	"github.com/mews-farm/mews/results"
)

// lengths is how long the parts of cells take on this machine, as far as earlier runs tell.
type lengths struct {
	*history.History
	accelerator string
	cores       int
}

// What was made once need only be looked at: the names that the history has for it.
func (c *Cell) unpackedName() string { kernel, _ := c.Label(); return "kernel " + kernel }
func (c *Cell) builtName() string {
	kernel, driver := c.Label()
	return "build " + kernel + " " + driver + " " + c.Version
}
func (c *Cell) bootedName() string {
	kernel, _ := c.Label()
	return "booted " + kernel + " " + c.Consumer.Userland.V
}

// deeds are how often a scenario is done in all, each in a clone of its own.
func (c *Cell) deeds() int { return (len(c.Scenarios) - len(c.Unable)) * max(1, c.Repeat) }

var line = regexp.MustCompile(`^\d+\.\d+`)

// key is what the history has a time under.
func (l lengths) key(c *Cell, stage string, made bool) history.Key {
	k := history.Key{Stage: stage, Driver: c.Driver.Name, Consumer: c.Driver.Consumer.V, Accelerator: l.accelerator, Made: made}
	if c.Resolved != nil {
		k.Line = line.FindString(c.Resolved.Kernel.Release)
	}
	switch stage {
	case results.StageResolve: // one for all drivers
		k.Driver, k.Consumer = "", ""
	case history.Kernel:
		k.Driver = ""
	case history.Start:
		k = history.Key{Stage: stage, Accelerator: l.accelerator}
	}
	return k
}

// of is how long a part of a cell takes by itself.
func (l lengths) of(c *Cell, part string) (seconds float64, known bool) {
	made := false
	switch part {
	case results.StageResolve:
		made = l.Made(c.unpackedName())
	case results.StageBuild:
		made = c.Driver.Source.Builtin.V != "" || l.Made(c.builtName())
	case history.Kernel:
		if l.Made(c.bootedName()) {
			return 0, true // its file is read
		}
	}
	return l.Seconds(l.key(c, part, made))
}

// rest is how long a cell takes from the begin of a stage on, of whose scenarios so many are not yet begun.
func (l lengths) rest(c *Cell, from string, undone int) float64 {
	var sum float64
	on := false
	for _, stage := range c.Stages() {
		if on = on || stage == from; !on {
			continue
		}
		seconds, _ := l.of(c, stage)
		sum += seconds
		if stage == results.StageScenarios {
			clone, _ := l.of(c, history.Clone)
			sum += clone * float64(undone) / float64(l.cores)
		}
	}
	return sum
}
