// SPDX-License-Identifier: Apache-2.0

package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// Versions are what a Falco driver answers for; empty with one older than such questions (before driver 2.0.0).
type Versions struct {
	API    string
	Schema string
}

// The ioctls of ppm_events_public.h: _IO('s', n).
const (
	getAPIVersion    = 's'<<8 | 24
	getSchemaVersion = 's'<<8 | 25
)

// devices counts the driver's device nodes, which must be one for each CPU online.
func devices(prefix string) (int, error) {
	online, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return 0, ours("list the CPUs", err)
	}
	cpus, err := parseCPUs(strings.TrimSpace(string(online)))
	if err != nil {
		return 0, ours("list the CPUs", err)
	}
	for n, cpu := range cpus {
		node := fmt.Sprintf("/dev/%s%d", prefix, cpu)
		info, err := os.Stat(node)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return n, cause.Failf(cause.ModuleInitFailed, cause.FaultDriver, "the module made no device %s, for CPU %d", node, cpu)
		case err != nil:
			return n, ours("look for the driver's device", err)
		case info.Mode()&fs.ModeCharDevice == 0:
			return n, cause.Failf(cause.ModuleInitFailed, cause.FaultDriver, "%s is not a character device but %s", node, info.Mode())
		}
	}
	return len(cpus), nil
}

// parseCPUs reads a list of CPUs as the kernel writes it: "0-2,4".
func parseCPUs(list string) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(list, ",") {
		lo, hi, ranged := strings.Cut(part, "-")
		first, err := strconv.ParseUint(lo, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("list of CPUs %q: %w", list, err)
		}
		last := first
		if ranged {
			if last, err = strconv.ParseUint(hi, 10, 16); err != nil || last < first {
				return nil, fmt.Errorf("list of CPUs %q: bad range", list)
			}
		}
		for cpu := first; cpu <= last; cpu++ {
			out = append(out, int(cpu))
		}
	}
	return out, nil
}

// askVersions asks the driver at a device node. To open the node makes this thread a consumer until it is
// closed again, which is harmless: no event is recorded before a tracepoint is asked for.
func askVersions(node string) (Versions, error) {
	fd, err := unix.Open(node, unix.O_RDWR|unix.O_SYNC|unix.O_CLOEXEC, 0)
	if err != nil {
		return Versions{}, cause.Failf(cause.ModuleInitFailed, cause.FaultDriver, "open the driver's device %s: %w", node, err)
	}
	defer unix.Close(fd)
	var v Versions
	for _, q := range []struct {
		request uintptr
		into    *string
	}{{getAPIVersion, &v.API}, {getSchemaVersion, &v.Schema}} {
		var packed uint64
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), q.request, uintptr(unsafe.Pointer(&packed)))
		switch errno {
		case 0:
			*q.into = unpack(packed)
		case unix.ENOTTY:
			return Versions{}, nil
		default:
			return Versions{}, cause.Failf(cause.APISchemaMismatch, cause.FaultDriver, "the driver does not answer for its version: %w", errno)
		}
	}
	return v, nil
}

// unpack reads a version as ppm_api_version.h packs it: major in bits 44 to 62, minor in 24 to 43, patch below.
func unpack(v uint64) string {
	return fmt.Sprintf("%d.%d.%d", v>>44&(1<<19-1), v>>24&(1<<20-1), v&(1<<24-1))
}
