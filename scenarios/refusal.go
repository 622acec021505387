// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"bufio"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// refusal is an error that proves that the kernel does not give what a deed needs: because it has it not
// (KERNEL_LACKS), or because somebody forbade it (POLICY_DENIED).
type refusal struct {
	cause cause.Cause
	proof string
	err   error
}

func (r *refusal) Error() string { return r.err.Error() }

func (r *refusal) Unwrap() error { return r.err }

// present is the line of the kernel's own table of symbols that says that it has one of the system calls, or "". Who gets
// ENOSYS from it all the same was not answered by the kernel.
func present(calls []string) string {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return "" // a kernel without CONFIG_KALLSYMS; the errno is all that there is
	}
	defer f.Close()
	return symbol(f, calls)
}

// symbol finds in r, in the form of /proc/kallsyms, the function of one of the system calls. A weak one (W) is what stands in
// for a call that was left out of the kernel (COND_SYSCALL in kernel/sys_ni.c).
func symbol(r io.Reader, calls []string) string {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 3 || f[1] != "T" && f[1] != "t" {
			continue
		}
		for _, prefix := range []string{"__x64_sys_", "__arm64_sys_", "sys_", "SyS_"} {
			if call, ok := strings.CutPrefix(f[2], prefix); ok && slices.Contains(calls, call) {
				return f[1] + " " + f[2]
			}
		}
	}
	return ""
}
