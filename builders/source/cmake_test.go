// SPDX-License-Identifier: Apache-2.0

package source

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/results/cause"
)

func TestCMakeFailed(t *testing.T) {
	const refused = "-- x\nCMake Error at driver/CMakeLists.txt:7 (message):\n  no drivers today\n"
	for _, c := range []struct {
		name, said string
		res        sandbox.Result
		cause      cause.Cause
		fault      cause.Fault
		evidence   string
	}{
		{"it refuses the checkout", refused, sandbox.Result{ExitCode: 1}, cause.SourceUnusable, cause.FaultDriver, "cmake.log: no drivers today"},
		{"it is not there", "cmake: error while loading shared libraries: x\n", sandbox.Result{ExitCode: 127}, cause.ToolchainBroken, cause.FaultToolchain, "shared libraries"},
		{"it died", refused, sandbox.Result{ExitCode: -1, Signal: syscall.SIGSEGV}, cause.ToolchainBroken, cause.FaultToolchain, "no drivers today"},
		{"no room", "CMake Error: cannot write x: No space left on device\n", sandbox.Result{ExitCode: 1}, cause.DiskFull, cause.FaultInfra, "No space"},
		{"stopped", refused, sandbox.Result{ExitCode: -1, Signal: syscall.SIGKILL, TimedOut: true, Elapsed: time.Minute}, cause.BuildTimeout, cause.FaultInfra, "1m0s"},
		{"killed", refused, sandbox.Result{ExitCode: -1, Signal: syscall.SIGKILL}, cause.OutOfMemory, cause.FaultInfra, "memory"},
		{"a child was", refused, sandbox.Result{ExitCode: 1, OutOfMemory: true}, cause.OutOfMemory, cause.FaultInfra, "memory"},
	} {
		f := cause.Of(CMakeFailed("scap-1", &c.res, c.said))
		if f.Cause != c.cause || f.Fault != c.fault || !strings.Contains(fmt.Sprint(f.Evidence), c.evidence) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}
