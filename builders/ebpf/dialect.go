// SPDX-License-Identifier: Apache-2.0

package ebpf

import "github.com/mews-farm/mews/kernels"

// dialect is what a kernel's own Makefile gives to all that includes its headers and a probe's Makefile does not, for it
// takes the kernel's preprocessor flags and not KBUILD_CFLAGS. The headers of 7.3.4 do not compile without:
//
//   - CONFIG_CC_MS_EXTENSIONS: a struct that has a name is a member without one. Else its own members are not there (struct
//     ns_common has no ns_id, and a static_assert of linux/fs.h fails). The configuration may name the narrower
//     -fms-anonymous-structs of the compiler that built the kernel; every clang knows -fms-extensions.
//   - CC_USING_FENTRY: asm/ftrace.h, which net/sock.h came to include by way of linux/bpf.h, is an #error without.
func dialect(c *kernels.Config) []string {
	if c.Get("CC_MS_EXTENSIONS") == "" {
		return nil
	}
	out := []string{"-fms-extensions"}
	if c.IsBuiltin("FUNCTION_TRACER") && c.IsBuiltin("HAVE_FENTRY") {
		out = append(out, "-DCC_USING_FENTRY")
	}
	return out
}
