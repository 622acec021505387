// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"bufio"
	"io"
	"os"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// maxSystemMap bounds a System.map; RHEL's have 6 MB.
const maxSystemMap = 64 << 20

// mappedSyscalls returns the system calls whose entry points a System.map ("address type name" lines) lists.
// No path is none.
func mappedSyscalls(path string) (map[string]bool, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read System.map: %w", err)
	}
	defer f.Close()
	calls := map[string]bool{}
	in := bufio.NewScanner(io.LimitReader(f, maxSystemMap))
	for in.Scan() {
		fields := strings.Fields(in.Text())
		if len(fields) != 3 {
			continue
		}
		if call, ok := entryPoint(fields[2]); ok {
			calls[call] = true
		}
	}
	if err := in.Err(); err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read System.map: %w", err)
	}
	return calls, nil
}
