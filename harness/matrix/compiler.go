// SPDX-License-Identifier: Apache-2.0

package matrix

import "slices"

// compiler checks what a driver says of how it is built.
func (c *checker) compiler(key Str, d Driver) {
	built := slices.Contains([]string{"kmod", "ebpf"}, d.Variant.V)
	switch {
	case d.Compiler.V != "" && !built:
		c.errorf(d.Compiler, "%s: mews builds no driver of variant %s for one kernel; a compiler is of no use to it", key.V, d.Variant.V)
	case d.Compiler.V != "":
		c.oneOf("compiler", d.Compiler, c.voc.Compilers)
	case d.Force:
		c.errorf(key, "%s: force builds although a compiler broke the kernel's promises, and no compiler is named", key.V)
	}
	if d.Until.V == UntilBuild && !built {
		c.errorf(d.Until, "%s: mews builds no driver of variant %s for one kernel; there is no verdict to come to by then", key.V, d.Variant.V)
	}
}
