// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// Capabilities are their names by number (include/uapi/linux/capability.h).
var Capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW",
	"CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// DockerCapabilities are what Docker leaves to a container that is given no options.
var DockerCapabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// KnownCapabilities are those that this kernel knows: it answers EINVAL for any other.
func KnownCapabilities() []string {
	known := 0
	for known < len(Capabilities) {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(known), 0, 0, 0); err != nil {
			break
		}
		known++
	}
	return Capabilities[:known]
}

// able is nil if this process has the capabilities of those names.
func able(names []string) error {
	if len(names) == 0 {
		return nil
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	return enough(names, len(KnownCapabilities()), uint64(data[1].Effective)<<32|uint64(data[0].Effective))
}

// enough is nil if the capabilities of those names are among the effective ones. One that is beyond the first known is a
// [*refusal]: nobody can have it there.
func enough(names []string, known int, effective uint64) error {
	for _, name := range names {
		n := slices.Index(Capabilities, name)
		switch {
		case n < 0:
			return fmt.Errorf("no capability is named %q", name)
		case n >= known:
			return &refusal{cause.KernelLacks, fmt.Sprintf("prctl(PR_CAPBSET_READ, %s): %v", name, unix.EINVAL), fmt.Errorf("this kernel has no %s: %w", name, unix.EINVAL)}
		case effective&(1<<n) == 0:
			return fmt.Errorf("the acting process has no %s, which the scenario needs", name)
		}
	}
	return nil
}
