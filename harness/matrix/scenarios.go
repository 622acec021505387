// SPDX-License-Identifier: Apache-2.0

package matrix

// AllScenarios stands for every scenario that there is.
const AllScenarios = "all"

// scenarios checks those of a profile.
func (c *checker) scenarios(p Profile) {
	if len(p.Scenarios) == 1 && p.Scenarios[0].V == AllScenarios {
		return
	}
	for _, s := range p.Scenarios {
		if s.V == AllScenarios {
			c.errorf(s, "%s stands for every scenario: it leaves nothing to be named beside it", AllScenarios)
			return
		}
	}
	c.someOf("scenario", p.Scenarios, c.voc.Scenarios)
}
