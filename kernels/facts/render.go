// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Render writes the facts for people: one a line, aligned, to be pasted into an issue.
func (f *Facts) Render(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(label, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", label, fmt.Sprintf(format, args...))
	}
	more := func(format string, args ...any) { line("", format, args...) }

	name := []string{f.Distro, f.Release}
	if f.BuildID != "" {
		name = append(name, f.BuildID)
	}
	if f.Version != "" {
		name = append(name, "#"+f.Version)
	}
	line("kernel", "%s", strings.Join(append(name, f.Arch), " "))
	line("banner", "%s", orNone(f.Banner.Text))
	f.renderImage(line, more)
	f.renderCompilers(line, more)
	f.renderConfig(line, more)
	f.renderBTF(line, more)
	line("openat2", "system call %s, struct open_how %s", f.Openat2, f.openHow())
	f.renderBoot(line, more)
	for _, d := range f.Disagreements {
		line("DISAGREE", "%s", d)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the facts of %s: %w", f.Release, err)
	}
	return nil
}

// printer writes a line: with its label, or as one more under the label before.
type (
	printer func(label, format string, args ...any)
	further func(format string, args ...any)
)

func (f *Facts) renderImage(line printer, more further) {
	i := f.Image
	pvh := "no PVH entry"
	if i.PVH {
		pvh = "PVH entry"
	}
	line("image", "%s, %s, %s; vmlinux %s, %s", i.Format, i.Compression, size(i.Size), size(i.Vmlinux), pvh)
	more("sha256 %s", i.SHA256)
	more("build-id %s", orNone(i.BuildID))
}

func (f *Facts) renderCompilers(line printer, more further) {
	c := f.Compilers
	switch {
	case c.Family == "":
		line("compiler", "unknown")
	case c.Agree && len(c.Claims) == 1:
		line("compiler", "%s %s, by %s alone", c.Family, c.Version, c.Claims[0].From)
	case c.Agree:
		line("compiler", "%s %s, all agree", c.Family, c.Version)
	default:
		line("compiler", "%s %s, and they do not agree", c.Family, c.Version)
	}
	for _, n := range c.Claims {
		more("%s: %s", n.From, n.Text)
	}
}

func (f *Facts) renderConfig(line printer, more further) {
	c := f.Config
	if c == nil {
		line("config", "not found: no package has it, and the kernel has no IKCONFIG")
		return
	}
	line("config", "of the %s, sha256 %s", c.From, orNone(c.SHA256))
	more("%s", c.list("IKCONFIG", "DEBUG_INFO_BTF", "DEBUG_INFO_BTF_MODULES"))
	line("modules", "%s", c.list("MODVERSIONS", "MODULE_SIG", "MODULE_SIG_FORCE", "MODULE_SIG_HASH"))
	more("signatures %s", c.Signatures())
	line("lockdown", "%s", c.Lockdown())
	line("lsm", "%s", orNone(c.Options["LSM"]))
	line("tracing", "%s", c.list("FTRACE_SYSCALLS", "KPROBES", "BPF_SYSCALL", "BPF_JIT", "BPF_EVENTS"))
	line("hardening", "CFI %s; RANDSTRUCT %s", c.CFI(), c.Randstruct())
	line("machine", "%s", c.list("VIRTIO_PCI", "VIRTIO_CONSOLE", "VIRTIO_BLK", "OVERLAY_FS"))
}

// list is "SYMBOL=value ..." in the order asked for.
func (c *Config) list(symbols ...string) string {
	var out []string
	for _, s := range symbols {
		out = append(out, s+"="+c.Get(s))
	}
	return strings.Join(out, " ")
}

func (f *Facts) renderBTF(line printer, more further) {
	b := f.BTF
	if b == nil {
		line("btf", "none; of modules %s", f.ModuleBTF)
		return
	}
	line("btf", "%s, %d types, %d functions; of modules %s", size(b.Size), b.Types, b.Functions, f.ModuleBTF)
	more("sha256 %s", b.SHA256)
	line("bpf", "ringbuf %s, %d map types", tri(b.HasMap("ringbuf")), len(b.MapTypes))
	more("raw_tracepoint %s, tracing %s, %d program types",
		tri(b.HasProg("raw_tracepoint")), tri(b.HasProg("tracing")), len(b.ProgTypes))
	more("attach to trace_raw_tp %s, trace_fentry %s, trace_iter %s",
		tri(b.HasAttach("trace_raw_tp")), tri(b.HasAttach("trace_fentry")), tri(b.HasAttach("trace_iter")))
	var known []string
	for _, h := range notable {
		known = append(known, h+" "+string(tri(b.HasHelper(h))))
	}
	more("%d helpers: %s", len(b.Helpers), strings.Join(known, ", "))
}

// notable helpers are those that decide which programs a driver can load, oldest first.
var notable = []string{"probe_read_kernel", "ringbuf_reserve", "get_current_task_btf", "for_each_map_elem", "loop"}

func (f *Facts) openHow() string {
	switch {
	case f.BTF == nil:
		return string(Unknown)
	case len(f.BTF.OpenHow) == 0:
		return "absent from the BTF"
	}
	return "{" + strings.Join(f.BTF.OpenHow, ", ") + "}"
}

func (f *Facts) renderBoot(line printer, more further) {
	if f.Boot.OK {
		line("boots", "yes, as far as its artifacts tell")
	} else {
		line("boots", "no")
	}
	for _, r := range f.Boot.Reasons {
		more("%s", r)
	}
	for _, l := range f.Boot.Lacks {
		more("%s", l)
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func size(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
