// SPDX-License-Identifier: Apache-2.0

package matrix

import "regexp"

// parameter is one of a kernel module: the kernel splits what it is given at white space, and takes quotes for its own.
var parameter = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=[A-Za-z0-9_.,:/+-]+$`)

// params checks the parameters of a driver.
func (c *checker) params(key Str, d Driver) {
	for _, p := range d.Params {
		switch {
		case d.Variant.V != "kmod":
			c.errorf(p, "%s: only a kernel module has parameters, not variant %s", key.V, d.Variant.V)
		case !parameter.MatchString(p.V):
			c.errorf(p, "%s: parameter %q is not name=value, of letters, digits and _.,:/+-", key.V, p.V)
		}
	}
}
