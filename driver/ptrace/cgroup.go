// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"encoding/binary"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroups knows the ids of cgroups of the default hierarchy.
type cgroups struct {
	mount string            // where the hierarchy is mounted; "" if it is not
	ids   map[string]uint64 // by path
}

// maxCgroups bounds what is remembered.
const maxCgroups = 1 << 12

func newCgroups() *cgroups {
	c := &cgroups{ids: map[string]uint64{}}
	mounts, _, err := readProc("/proc/self/mountinfo", 1<<20)
	if err != nil {
		return c
	}
	for line := range strings.Lines(mounts) {
		if m, ok := parseMount(line); ok && m.fstype == "cgroup2" && m.root == "/" {
			c.mount = m.point
		}
	}
	return c
}

// id is the id that the kernel gives to a cgroup, 0 if it cannot be told. It is what the handle of its directory holds.
func (c *cgroups) id(path string) uint64 {
	if id, ok := c.ids[path]; ok || path == "" || c.mount == "" {
		return id
	}
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, filepath.Join(c.mount, path), 0)
	if err != nil || h.Size() != 8 {
		return 0
	}
	if len(c.ids) >= maxCgroups {
		clear(c.ids)
	}
	c.ids[path] = binary.NativeEndian.Uint64(h.Bytes())
	return c.ids[path]
}
