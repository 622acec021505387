// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"os"
	"slices"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// Log is the log of a build that somebody else ran and published. It is a cell of its own: what mews reads out of it is
// the verdict, and what is foreseen stands beside it.
type Log struct {
	Name     Str `yaml:"name,required"`   // it takes the place of a driver's
	Distro   Str `yaml:"distro,required"` // of the kernel that was built for, with Kernel its release
	Kernel   Str `yaml:"kernel,required"`
	File     Str `yaml:"file,required"` // relative to the matrix
	State    Str `yaml:"state,required"`
	Cause    Str `yaml:"cause,required"`
	Evidence Str `yaml:"evidence,required"` // what a line of the evidence must hold
}

// Expected is the verdict that is foreseen.
func (l Log) Expected() *results.Expect {
	return &results.Expect{State: cause.State(l.State.V), Cause: cause.Cause(l.Cause.V), Evidence: l.Evidence.V}
}

// logs checks those of a profile.
func (c *checker) logs(p Profile) {
	for i, l := range p.Logs {
		for _, s := range []Str{l.Name, l.Kernel} {
			if results.CheckID(s.V) != nil {
				c.errorf(s, "%q cannot be part of a file's name: letters, digits and . _ + ~ - are allowed", s.V)
			}
		}
		c.oneOf("distro", l.Distro, distros)
		c.oneOf("cause", l.Cause, causes())
		if err := l.Expected().Check(); err != nil {
			c.errorf(l.State, "%v", err)
		}
		if info, err := os.Stat(l.File.V); err != nil || !info.Mode().IsRegular() {
			c.errorf(l.File, "log: %s is no file that can be read from here", l.File.V)
		}
		taken := slices.Contains(Values(p.Drivers), l.Name.V)
		if taken || slices.ContainsFunc(p.Logs[:i], func(o Log) bool { return o.Name.V == l.Name.V }) {
			c.errorf(l.Name, "%s is the name of another log or driver of this profile", l.Name.V)
		}
	}
}
