// SPDX-License-Identifier: Apache-2.0

package splat

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/mews-farm/mews/results/cause"
)

const pageFault = `[    3.101010] systemd[1]: hello
[    3.123456][  T117] BUG: unable to handle page fault for address: ffffffffc0a01234
[    3.123460][  T117] #PF: supervisor write access in kernel mode
[    3.123461][  T117] #PF: error_code(0x0002) - not-present page
[    3.123470][  T117] Oops: 0002 [#1] PREEMPT SMP NOPTI
[    3.123480][  T117] CPU: 0 PID: 117 Comm: insmod Tainted: G           OE      6.1.0-56-cloud-amd64 #1  Debian 6.1.192-2
[    3.123481][  T117] Hardware name: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.2 04/01/2014
[    3.123490][  T117] RIP: 0010:scap_init+0x12/0x1000 [scap]
[    3.123491][  T117] Code: Unable to access opcode bytes at 0xffffffffc0a00fe8.
[    3.123492][  T117] RSP: 0018:ffffb0f4c0437c70 EFLAGS: 00010246
[    3.123500][  T117] Call Trace:
[    3.123501][  T117]  <TASK>
[    3.123502][  T117]  ? __die_body.cold+0x1a/0x1f
[    3.123503][  T117]  do_one_initcall+0x5a/0x220
[    3.123504][  T117]  do_init_module+0x60/0x240
[    3.123505][  T117]  </TASK>
[    3.123510][  T117] ---[ end trace 0000000000000000 ]---
[    3.200000][  T117] Kernel panic - not syncing: Fatal exception
[    3.200001][  T117] Kernel Offset: 0x2c000000 from 0xffffffff81000000
[    3.200002][  T117] ---[ end Kernel panic - not syncing: Fatal exception ]---
`

func TestScanGroupsAnOopsAndItsPanic(t *testing.T) {
	got := Scan("console.log", pageFault)
	if len(got) != 2 {
		t.Fatalf("%d splats, want the oops and the panic: %v", len(got), got)
	}
	oops, panicked := got[0], got[1]
	if oops.Kind != Oops || oops.Title != "BUG: unable to handle page fault for address: ADDR" {
		t.Errorf("oops: %s %q", oops.Kind, oops.Title)
	}
	if panicked.Kind != Panic || panicked.Title != "Kernel panic - not syncing: Fatal exception" {
		t.Errorf("panic: %s %q", panicked.Kind, panicked.Title)
	}
	var kept []string
	for _, l := range oops.Lines {
		kept = append(kept, fmt.Sprintf("%s:%d", l.File, l.Line))
	}
	want := []string{"console.log:2", "console.log:3", "console.log:4", "console.log:5", "console.log:6",
		"console.log:8", "console.log:11", "console.log:12", "console.log:14", "console.log:15"}
	if d := cmp.Diff(want, kept); d != "" {
		t.Errorf("lines kept of the oops:\n%s", d)
	}
}

func TestHeads(t *testing.T) {
	for _, tt := range []struct {
		line string
		want Kind // "" is no splat
	}{
		{"[    1.000000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000200", Panic},
		{"Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", Panic},
		{"<1>[   12.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008", Oops},
		{"[    1.0] BUG: scheduling while atomic: sysdig/213/0x00000002", Oops},
		{"[    1.0] BUG kmalloc-64 (Tainted: G           OE    ): Right Redzone overwritten", Oops},
		{"[    1.0] kernel BUG at mm/slub.c:305!", Oops},
		{"[    1.0] invalid opcode: 0000 [#1] SMP PTI", Oops},
		{"[    1.0] int3: 0000 [#1] PREEMPT SMP", Oops},
		{"[    1.0] Oops: general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1] SMP NOPTI", Oops},
		{"[    1.0] general protection fault, probably for non-canonical address 0x6b6b6b6b6b6b6b6b: 0000 [#1] SMP", Oops},
		{"[    1.0] Internal error: Oops: 0000000096000004 [#1] SMP", Oops},
		{"[   60.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:117]", Lockup},
		{"[   60.0] NMI watchdog: Watchdog detected hard LOCKUP on cpu 0", Lockup},
		{"[   60.0] rcu: INFO: rcu_preempt self-detected stall on CPU", Lockup},
		{"[   60.0] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", Lockup},
		{"[   60.0] INFO: rcu_tasks detected stalls on tasks:", Lockup},
		{"[  242.0] INFO: task kworker/0:1:12 blocked for more than 120 seconds.", Lockup},
		{"[    1.0] WARNING: CPU: 0 PID: 1 at kernel/jump_label.c:73 jump_label_cmp+0x3a/0x60", Warning},
		{"[    1.0] WARNING: kernel/jump_label.c:73 at jump_label_cmp+0x3a/0x60, CPU#0: swapper/0", Warning}, // 6.19's new form
		{"[    1.0] WARNING: possible circular locking dependency detected", Warning},
		{"[    1.0] UBSAN: array-index-out-of-bounds in drivers/x.c:1:2", Warning},
		{"[    1.0] Call Trace:", Warning},

		{"[    1.0] traps: sh[17] general protection fault ip:401000 sp:7ffd error:0 in sh[401000+1000]", ""},
		{"[    1.0] traps: x[9] trap invalid opcode ip:401000 sp:7ffd error:0", ""},
		{"[    1.0] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on", ""},
		{"[    1.0] ---[ end Kernel panic - not syncing: Fatal exception ]---", ""},
		{"[    1.0] rcu: Hierarchical RCU implementation.", ""},
		{"[    1.0] NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.", ""},
		{"[    1.0] debugging: BUG: is a word in a sentence", ""},
		{"", ""},
	} {
		var got Kind
		if s := Scan("", tt.line); len(s) > 0 {
			got = s[0].Kind
		}
		if got != tt.want {
			t.Errorf("%q is %q, want %q", tt.line, got, tt.want)
		}
	}
}

// An exit code says whose fault it is, and looks like half an address.
func TestTitleKeepsTheExitCode(t *testing.T) {
	line := "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000200"
	if got := Scan("", line)[0].Title; got != line {
		t.Errorf("Title = %q, want %q", got, line)
	}
}

func TestScannerIsBounded(t *testing.T) {
	var s Scanner
	for i := range 10 * MaxSplats {
		s.Line(cause.Evidence{Text: fmt.Sprintf("WARNING: CPU: %d PID: 1 at x.c:1", i)})
		for range 3 * MaxLines {
			s.Line(cause.Evidence{Text: " do_one_initcall+0x5a/0x220" + strings.Repeat("x", 4*maxText)})
		}
	}
	got := s.Splats()
	if len(got) != MaxSplats {
		t.Errorf("%d splats, want at most %d", len(got), MaxSplats)
	}
	for _, sp := range got {
		if len(sp.Lines) > MaxLines {
			t.Fatalf("%d lines, want at most %d", len(sp.Lines), MaxLines)
		}
		for _, l := range sp.Lines {
			if len(l.Text) > maxText {
				t.Fatalf("a line of %d bytes", len(l.Text))
			}
		}
	}
}

func TestCleanStripsWhatDrivesATerminal(t *testing.T) {
	got := Clean("\x1b]0;owned\x07a\tb\u202ec\u009b31m\xff\r\n")
	if want := "]0;owneda bc31m?"; got != want {
		t.Errorf("Clean = %q, want %q", got, want)
	}
}

// What the kernel prints of a process that came to the bound of its cgroup is no complaint, as one of its own want of memory is.
func TestABoundThatWasMetIsNoComplaint(t *testing.T) {
	const killed = `[   90.375248] dd invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
[   90.441429] CPU: 0 PID: 1826 Comm: dd Not tainted 6.1.0-57-cloud-amd64 #1  Debian 6.1.192-3
[   90.442023] Call Trace:
[   90.442541]  <TASK>
[   90.442878]  dump_stack_lvl+0x44/0x5c
[   90.443390]  oom_kill_process.cold+0xb/0x10
[   90.443454]  out_of_memory+0x1fd/0x4c0
[   90.443519]  mem_cgroup_out_of_memory+0x134/0x150
[   90.443598]  try_charge_memcg+0x696/0x780
[   90.451361]  </TASK>
`
	for log, want := range map[string]int{
		killed: 0,
		strings.ReplaceAll(killed, "mem_cgroup_out_of_memory", "__alloc_pages"):                              1,
		"WARNING: CPU: 0 PID: 1 at mm/memcontrol.c:1 x+0x1/0x2\n" + killed:                                   1,
		killed + "WARNING: CPU: 0 PID: 1 at kernel/x.c:1 x+0x1/0x2\n":                                        1,
		killed + "[   91.0] ---[ end trace 0 ]---\n[   92.0] Kernel panic - not syncing: Out of memory: x\n": 1,
	} {
		if got := Scan("dmesg.log", log); len(got) != want {
			t.Errorf("%d complaints, want %d: %+v in\n%s", len(got), want, got, log)
		}
	}
}

func TestSort(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	entry := func(match string) []Allowance {
		return []Allowance{{Match: regexp.MustCompile(match), Reason: "r", Until: now.Add(time.Hour)}}
	}
	splats := Scan("dmesg.log", `[    1.0] WARNING: CPU: 0 PID: 1 at kernel/jump_label.c:73 f+0x3a/0x60
[    1.1] Call Trace:
[    1.2]  static_key_enable+0x1/0x2
[    1.3] ---[ end trace 0000000000000000 ]---
[    2.0] Kernel panic - not syncing: x
`)
	for name, tt := range map[string]struct {
		allow []Allowance
		now   time.Time
		want  int // excused
	}{
		"nothing allowed":           {nil, now, 0},
		"by its title":              {entry(`^WARNING: .*jump_label`), now, 1},
		"by a line of its trace":    {entry(`^ static_key_enable\+`), now, 1},
		"another":                   {entry(`^WARNING: .*workqueue`), now, 0},
		"past its time":             {entry(`^WARNING: .*jump_label`), now.Add(2 * time.Hour), 0},
		"to the moment":             {entry(`^WARNING: .*jump_label`), now.Add(time.Hour), 0},
		"a panic cannot be excused": {entry(`not syncing`), now, 0},
	} {
		denied, excused := Sort(splats, tt.allow, tt.now)
		if len(excused) != tt.want || len(denied) != len(splats)-tt.want {
			t.Errorf("%s: %d denied, %d excused, want %d excused of %d", name, len(denied), len(excused), tt.want, len(splats))
		}
		for _, e := range excused {
			if e.Reason != "r" || e.Kind != Warning {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add(pageFault)
	f.Add("Call Trace:\n\x00\xff\n---[ end trace\n")
	f.Fuzz(func(t *testing.T, log string) {
		for _, s := range Scan("f", log) {
			if s.Kind == "" || len(s.Lines) == 0 || len(s.Lines) > MaxLines {
				t.Fatalf("bad splat: %+v", s)
			}
			for _, l := range s.Lines {
				if !utf8.ValidString(l.Text) || strings.ContainsAny(l.Text, "\x1b\n\r\x00") {
					t.Fatalf("evidence not clean: %q", l.Text)
				}
			}
		}
	})
}
