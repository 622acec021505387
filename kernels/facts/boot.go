// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"fmt"

	"github.com/mews-farm/mews/kernels"
)

// Boot says whether a machine of mews can boot a kernel, as far as its artifacts tell.
type Boot struct {
	OK      bool     `json:"ok"`
	Reasons []string `json:"reasons,omitempty"` // why not
	Lacks   []string `json:"lacks,omitempty"`   // what it boots without, and a run with containers wants
}

// devices are the drivers of a machine's devices. The agent speaks through a virtio-serial port on PCI: without those two
// nothing of a guest is ever heard. The disk is the consumers' root, the overlay the containers'.
var devices = []struct {
	symbol, module, use string
	needed              bool
}{
	{"VIRTIO_PCI", "virtio_pci", "devices", true},
	{"VIRTIO_CONSOLE", "virtio_console", "connection to the agent", true},
	{"VIRTIO_BLK", "virtio_blk", "disks", false},
	{"EXT4_FS", "ext4", "file system on disks", false},
	{"OVERLAY_FS", "overlay", "containers", false},
}

// bootability needs the configuration; without one nothing can be said, and that is a reason too.
func bootability(f *kernels.Files, image Image, arch string, c *Config) Boot {
	if c == nil {
		return Boot{Reasons: []string{"no configuration was found: whether the kernel has virtio is not known"}}
	}
	var b Boot
	if image.Format == FormatELF && arch == "x86_64" && !image.PVH {
		b.Reasons = append(b.Reasons, "the image is a bare vmlinux without CONFIG_PVH: QEMU has no way into it")
	}
	for _, d := range devices {
		why := missing(f, c, d.symbol, d.module)
		switch {
		case why == "":
		case d.needed:
			b.Reasons = append(b.Reasons, "no "+d.use+": "+why)
		default:
			b.Lacks = append(b.Lacks, "no "+d.use+": "+why)
		}
	}
	b.OK = len(b.Reasons) == 0
	return b
}

// missing says why a driver cannot be had, or nothing where it can.
func missing(f *kernels.Files, c *Config, symbol, module string) string {
	switch value := c.Get(symbol); {
	case value == "y":
		return ""
	case value != "m":
		return fmt.Sprintf("CONFIG_%s is not set", symbol)
	case f.ModuleDir == "":
		return fmt.Sprintf("CONFIG_%s=m, and there are no modules", symbol)
	}
	if _, err := f.Modules(module); err != nil {
		return fmt.Sprintf("CONFIG_%s=m, and %v", symbol, err)
	}
	return ""
}
