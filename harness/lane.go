// SPDX-License-Identifier: Apache-2.0

package harness

import "github.com/mews-farm/mews/harness/matrix"

// The lanes of a cell: what its verdict comes from.
const (
	LaneStatic = "static" // nothing is run: a log is read
	LaneBuild  = "build"  // the driver is built
	LaneBoot   = "boot"   // the kernel is booted
	LanePerf   = "perf"   // it is booted where instructions are counted
)

// Lane is how the cell comes to its verdict.
func (c *Cell) Lane() string {
	switch {
	case c.Log != nil:
		return LaneStatic
	case c.Driver.Until.V == matrix.UntilBuild:
		return LaneBuild
	case c.Measured:
		return LanePerf
	}
	return LaneBoot
}

// Boots says that the cell needs a guest.
func (c *Cell) Boots() bool {
	lane := c.Lane()
	return lane == LaneBoot || lane == LanePerf
}
