// SPDX-License-Identifier: Apache-2.0

package skipped

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

func TestSince(t *testing.T) {
	before := Reading{{"sys_exit", 3}, {"sys_enter", 0}, {"sys_exit", 10}, {"sched_switch", 7}}
	for _, c := range []struct {
		name string
		now  Reading
		want []Count
	}{
		{"nothing", before, nil},
		{"one", Reading{{"sys_exit", 3}, {"sys_enter", 2}, {"sys_exit", 10}, {"sched_switch", 7}}, []Count{{"sys_enter", 2}}},
		{"of two probes", Reading{{"sys_exit", 4}, {"sys_enter", 0}, {"sys_exit", 15}, {"sched_switch", 8}}, []Count{{"sys_exit", 6}, {"sched_switch", 1}}},
	} {
		if got := c.now.Since(before); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if n := Sum([]Count{{"a", 2}, {"b", 40}}); n != 42 {
		t.Errorf("2 and 40 are %d", n)
	}
	if e := Evidence("7.3.4", []Count{{"sys_exit", 6}}); len(e) != 1 || !strings.Contains(e[0].Text, "kernel 7.3.4 did not run program sys_exit for 6 events") {
		t.Errorf("evidence %v", e)
	}
}

// A program that makes its own tracepoint happen is skipped there, on any kernel that counts: here one that is attached to
// the tracepoint of bpf_trace_printk, and prints.
func TestLive(t *testing.T) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "mews_nested", Type: ebpf.RawTracepoint, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R1, 'x'), // and its NUL
		asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, -8),
		asm.Mov.Imm(asm.R2, 2),
		asm.FnTracePrintk.Call(),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	}})
	if errors.Is(err, unix.EPERM) || errors.Is(err, ebpf.ErrNotSupported) {
		t.Skip("no right to load eBPF programs here:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Stats(); err != nil {
		t.Fatal(err)
	}
	l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sys_exit", Program: p})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	inner, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "bpf_trace_printk", Program: p})
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("this kernel has no tracepoint bpf_trace_printk")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	var held Programs
	if err := held.Hold(); err != nil {
		t.Fatal(err)
	}
	if held.None() {
		t.Fatal("the program that is there is not held")
	}
	before, err := held.Read()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	after, err := held.Read()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(after.Since(before), func(c Count) bool { return c.Program == "mews_nested" }) {
		t.Errorf("the kernel skipped %v", after.Since(before))
	}
	if err := held.Close(); err != nil || !held.None() {
		t.Errorf("after the end: %v, held none: %v", err, held.None())
	}
}
