// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/harness"
)

// selectFlags are the flags that choose cells; run and plan share them.
type selectFlags struct {
	file    string
	offline bool
	own     string // directory of the user's own scenarios; "": none
	sel     harness.Selection
}

func (f *selectFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.file, "file", "f", "matrix.yaml", "the matrix")
	c.Flags().StringVar(&f.sel.Profile, "profile", "", "the profile to run (default "+harness.Default+"; none is needed beside both --kernel and --driver)")
	c.Flags().StringSliceVar(&f.sel.Kernels, "kernel", nil, "only kernels that match: `[distro:]release`, with globs, or a name of the matrix")
	c.Flags().StringSliceVar(&f.sel.Drivers, "driver", nil, "only drivers that match this `glob`")
	c.Flags().StringSliceVar(&f.sel.Scenarios, "scenario", nil, "only scenarios that match this `glob`")
	c.Flags().StringArrayVar(&f.sel.Suites, "suite", nil, "do the tests of this `file` of event-generator's (suite, v0.13) in place of the profile's scenarios; may be repeated, and not be given beside --scenarios-dir")
	c.Flags().StringVar(&f.own, "scenarios-dir", "", "run the scenarios of this `directory`, if mews scenarios lint has nothing to complain of, beside those of the profile")
	c.Flags().BoolVar(&f.offline, "offline", false, "use the archive alone; touch no network")
}
