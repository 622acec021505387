// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/scenarios"
)

// mappedRoot is whom a container's root is on the host in a user namespace: as Docker's userns-remap has it where
// /etc/subuid begins at its usual 100000.
const (
	mappedRoot  = 100000
	mappedCount = 65536
)

// spec is what the engine would hand to runc for a container, but for the seccomp filter (a deed's system calls must
// reach the driver) and the agent's binary.
func (c *container) spec(deed string) *specs.Spec {
	capabilities := scenarios.DockerCapabilities
	if c.setup.Privileged {
		capabilities = scenarios.KnownCapabilities()
	}
	s := &specs.Spec{
		Version:  "1.0.2", // the oldest runc that is used here, bookworm's 1.1.5, knows this one
		Hostname: c.id[:12],
		Root:     &specs.Root{Path: "rootfs"},
		Process: &specs.Process{
			Args: []string{containerAgent, "act"},
			Cwd:  "/",
			Env:  []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=" + c.id[:12], "HOME=/root", scenarios.EnvID + "=" + deed},
			Capabilities: &specs.LinuxCapabilities{
				Bounding: capabilities, Effective: capabilities, Permitted: capabilities,
			},
			OOMScoreAdj: new(int),
		},
		Mounts: c.mounts(),
		Linux: &specs.Linux{
			CgroupsPath: cgroupPath(c.setup, c.id),
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.MountNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.UTSNamespace},
				{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.CgroupNamespace},
			},
		},
	}
	if c.setup.Engine == scenarios.Podman {
		s.Process.Env = append(s.Process.Env, "container=podman")
	}
	if c.setup.UserNamespace {
		ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: mappedRoot, Size: mappedCount}}
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings, s.Linux.GIDMappings = ids, ids
	}
	if c.setup.Privileged {
		s.Linux.Resources = c.bounds(specs.LinuxDeviceCgroup{Allow: true, Access: "rwm"})
		s.Linux.Devices = hostDevices("/dev")
		return s
	}
	s.Linux.Resources = c.bounds(specs.LinuxDeviceCgroup{Allow: false, Access: "rwm"})
	s.Linux.MaskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
		"/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	s.Linux.ReadonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
	return s
}

// bounds are those of a deed, and the devices of its container. Among cgroups of version 1 there is no controller of memory.
func (c *container) bounds(devices specs.LinuxDeviceCgroup) *specs.LinuxResources {
	r := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{devices}}
	var bytes, processes int64 = maxDeedBytes, maxProcesses
	if c.legacy != nil || unified() {
		r.Pids = &specs.LinuxPids{Limit: &processes}
	}
	if unified() {
		r.Memory = &specs.LinuxMemory{Limit: &bytes}
	}
	return r
}

func (c *container) mounts() []specs.Mount {
	access := "ro"
	if c.setup.Privileged {
		access = "rw"
	}
	out := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", access}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{access, "nosuid", "noexec", "nodev"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=67108864"}},
		{Destination: containerAgent, Type: "bind", Source: selfPath, Options: []string{"rbind", "ro", "rprivate"}},
	}
	if _, err := os.Stat(sparesDir); err == nil && c.setup.Privileged {
		// As somebody gives a privileged container the host's /lib/modules.
		out = append(out, specs.Mount{Destination: "/.mews/modules", Type: "bind", Source: sparesDir, Options: []string{"rbind", "ro", "rprivate"}})
	}
	for _, dir := range c.setup.Tmpfs {
		out = append(out, specs.Mount{Destination: dir, Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=1777", "size=64m"}})
	}
	for i, dir := range c.setup.Binds {
		out = append(out, specs.Mount{Destination: dir, Type: "bind", Source: c.bind(i), Options: []string{"rbind", "rprivate"}})
	}
	return out
}

// hostDevices are the device nodes right below dir, as Docker gives them to a privileged container. What runc makes
// by itself (null, zero, tty, ...) is among them, which it allows; what is no device of its own, console and ptmx, is not.
func hostDevices(dir string) []specs.LinuxDevice {
	nodes, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return nil // the pattern is sound
	}
	var out []specs.LinuxDevice
	for _, path := range nodes {
		var st unix.Stat_t
		if base := filepath.Base(path); base == "console" || base == "ptmx" || unix.Lstat(path, &st) != nil {
			continue
		}
		kind := map[uint32]string{unix.S_IFCHR: "c", unix.S_IFBLK: "b"}[st.Mode&unix.S_IFMT]
		if kind == "" {
			continue
		}
		out = append(out, specs.LinuxDevice{Path: path, Type: kind, Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)), UID: &st.Uid, GID: &st.Gid})
	}
	return out
}
