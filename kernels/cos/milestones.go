// SPDX-License-Identifier: Apache-2.0

package cos

import (
	"strconv"
	"strings"
)

// Milestone is a release branch of COS.
type Milestone struct {
	Number int    // as in cos-109-lts
	Branch int    // the first number of its builds' IDs
	Kernel string // the line of its kernels: 6.1
}

// Milestones are the branches with long-term support since 81, by number. An image's name holds both numbers
// (cos-89-16108-604-19); the kernel lines are those of Google's release notes.
var Milestones = []Milestone{
	{81, 12871, "4.19"},
	{85, 13310, "5.4"},
	{89, 16108, "5.4"},
	{93, 16623, "5.10"},
	{97, 16919, "5.10"},
	{101, 17162, "5.15"},
	{105, 17412, "5.15"},
	{109, 17800, "6.1"},
	{113, 18244, "6.1"},
	{117, 18613, "6.6"},
	{121, 18867, "6.6"},
	{125, 19216, "6.12"},
}

// MilestoneOf says which branch a build is of. Builds of short-lived branches, and development builds, are of none.
func MilestoneOf(build string) (Milestone, bool) {
	first, _, _ := strings.Cut(build, ".")
	n, err := strconv.Atoi(first)
	if err != nil || IsDev(build) {
		return Milestone{}, false
	}
	for _, m := range Milestones {
		if m.Branch == n {
			return m, true
		}
	}
	return Milestone{}, false
}
