// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"github.com/mews-farm/mews/results/cause"
)

// Err is the finding of the changes of one cell: nil if none is a regression. What was measured before and is not measured
// now, or not well enough, is an error, as nobody can say that it did not get worse.
func Err(changes []Change) error {
	var worse, gone []cause.Evidence
	for _, c := range Worst(changes) {
		switch {
		case c.Gates():
			worse = append(worse, cause.Evidence{Text: c.String()})
		case !c.Lacks():
		case c.Verdict == Gone:
			gone = append(gone, cause.Evidence{Text: c.Name() + " was measured before, and is not any more"})
		default:
			gone = append(gone, cause.Evidence{Text: c.Name() + ": " + c.Why})
		}
	}
	switch {
	case len(worse) > 0:
		return cause.Failf(cause.OverheadRegression, cause.FaultDriver, "%d of %d costs grew: %s", len(worse), len(changes), worse[0].Text).With(worse[1:]...).
			Advise("`mews perf compare` with the two runs shows all of them")
	case len(gone) > 0:
		return cause.Errorf(cause.NotRecorded, cause.FaultHarness, "%d costs cannot be compared: %s", len(gone), gone[0].Text).With(gone[1:]...)
	}
	return nil
}
