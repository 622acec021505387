// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"strings"

	"github.com/mews-farm/mews/kernels"
)

// Config is what a kernel's configuration says that decides on a driver.
type Config struct {
	From    string            `json:"from"`              // package or IKCONFIG
	SHA256  string            `json:"sha256,omitempty"`  // of the text
	Options map[string]string `json:"options,omitempty"` // of symbols, by their names without CONFIG_; what is not set is not there
}

// symbols are the options that Config.Options tells of.
var symbols = []string{
	// What a module needs to load. RHEL 8 and Ubuntu 4.15 carry the patch set that came before the lockdown LSM.
	"MODVERSIONS", "MODULE_SIG", "MODULE_SIG_ALL", "MODULE_SIG_FORCE", "MODULE_SIG_HASH",
	"SECURITY_LOCKDOWN_LSM", "SECURITY_LOCKDOWN_LSM_EARLY",
	"LOCK_DOWN_KERNEL_FORCE_NONE", "LOCK_DOWN_KERNEL_FORCE_INTEGRITY", "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY",
	"LOCK_DOWN_KERNEL", "LOCK_DOWN_IN_EFI_SECURE_BOOT",
	"LSM", "SECURITY_LOADPIN", "SECURITY_LOADPIN_ENFORCE",
	// What a machine needs.
	"OVERLAY_FS", "EXT4_FS", "VIRTIO", "VIRTIO_PCI", "VIRTIO_BLK", "VIRTIO_CONSOLE", "HW_RANDOM_VIRTIO", "PVH",
	// What a driver attaches to.
	"FTRACE", "FTRACE_SYSCALLS", "KPROBES", "KALLSYMS", "BPF_SYSCALL", "BPF_JIT", "BPF_JIT_ALWAYS_ON", "BPF_EVENTS", "BPF_LSM",
	"BPF_UNPRIV_DEFAULT_OFF", "DEBUG_INFO_BTF", "DEBUG_INFO_BTF_MODULES", "IKCONFIG", "IKCONFIG_PROC",
	// What changes the layout of structures, or the code that a compiler has to make. CFI was CFI_CLANG once.
	"X86_KERNEL_IBT", "CFI_CLANG", "CFI", "RANDSTRUCT_FULL", "RANDSTRUCT_PERFORMANCE", "GCC_PLUGIN_RANDSTRUCT",
	"PREEMPT", "PREEMPT_DYNAMIC", "PREEMPT_RT", "CC_HAS_ASM_INLINE", "RUST",
}

func newConfig(from string, text []byte, c *kernels.Config) *Config {
	out := &Config{From: from, Options: map[string]string{}}
	if text != nil {
		out.SHA256 = digest(text)
	}
	for _, s := range symbols {
		if value := c.Get(s); value != "" {
			out.Options[s] = value
		}
	}
	return out
}

// Get is an option: y, m, a number or a string; n where it is not set.
func (c *Config) Get(symbol string) string {
	if v := c.Options[symbol]; v != "" {
		return v
	}
	return "n"
}

func (c *Config) on(symbol string) bool { return c.Get(symbol) == "y" }

// Signatures says what becomes of a module without a signature that the kernel trusts.
func (c *Config) Signatures() string {
	switch {
	case c.on("MODULE_SIG_FORCE"):
		return "enforced: an unsigned module is refused"
	case c.on("MODULE_SIG"):
		return "checked, not enforced: an unsigned module taints the kernel; under lockdown it is refused"
	}
	return "not checked"
}

// Lockdown says when the kernel locks itself down.
func (c *Config) Lockdown() string {
	switch {
	case c.on("LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY"):
		return "confidentiality, always"
	case c.on("LOCK_DOWN_KERNEL_FORCE_INTEGRITY"):
		return "integrity, always"
	case c.on("LOCK_DOWN_KERNEL"):
		return "before the LSM: under Secure Boot"
	case !c.on("SECURITY_LOCKDOWN_LSM"):
		return "none"
	case c.on("LOCK_DOWN_IN_EFI_SECURE_BOOT"):
		return "under Secure Boot, or by lockdown= on the command line"
	}
	return "by lockdown= on the command line"
}

// CFI says which control-flow integrity the kernel has.
func (c *Config) CFI() string {
	var out []string
	if c.on("X86_KERNEL_IBT") {
		out = append(out, "IBT")
	}
	if c.on("CFI") || c.on("CFI_CLANG") {
		out = append(out, "kCFI")
	}
	if out == nil {
		return "none"
	}
	return strings.Join(out, ", ")
}

// Randstruct says whether the members of structures are in a random order.
func (c *Config) Randstruct() string {
	switch {
	case c.on("RANDSTRUCT_FULL"), c.on("GCC_PLUGIN_RANDSTRUCT"):
		return "full"
	case c.on("RANDSTRUCT_PERFORMANCE"):
		return "within cache lines"
	}
	return "no"
}
