// SPDX-License-Identifier: Apache-2.0

// Package skipped knows which eBPF programs a kernel did not run though what they are attached to happened. No counter
// of a driver or of a consumer knows that: the program that would count was not run.
//
// The kernel runs no program within itself, and to tell that it counts for each program and CPU whether one is under way
// (__bpf_trace_run in kernel/trace/bpf_trace.c). Until 7.0 preemption was off meanwhile, so that only a program's own
// doings were skipped. Since then a program at a raw tracepoint may be preempted, and until it goes on, it is skipped for
// every other task of that CPU. bpf_prog_info.recursion_misses says how often, since 5.12; before, raw tracepoints had no
// such check.
package skipped

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// kinds are the types of program that carry a driver's events.
var kinds = []ebpf.ProgramType{ebpf.RawTracepoint, ebpf.TracePoint, ebpf.Tracing, ebpf.Kprobe}

// Count is how often one program was skipped.
type Count struct {
	Program string // as the kernel has its name: 15 bytes at most
	Calls   uint64
}

// Programs are those that are counted; the zero value holds none. They stay in the kernel as long as they are held.
type Programs struct{ held []program }

type program struct {
	name string
	prog *ebpf.Program
}

// Hold takes hold of every program of this kernel that could carry events, whoever loaded it.
func (p *Programs) Hold() error {
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOSYS) { // a kernel without bpf(2) has none
			return nil
		}
		if err != nil {
			return errors.Join(ours("list the eBPF programs", err), p.Close())
		}
		id = next
		if err := p.hold(id); err != nil {
			return errors.Join(ours("look at an eBPF program", err), p.Close())
		}
	}
}

func (p *Programs) hold(id ebpf.ProgramID) error {
	prog, err := ebpf.NewProgramFromID(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil // gone since
	}
	if err != nil {
		return err
	}
	info, err := prog.Info()
	if err != nil || !slices.Contains(kinds, info.Type) {
		return errors.Join(err, prog.Close())
	}
	p.held = append(p.held, program{info.Name, prog})
	return nil
}

// None says that there are none: the driver is not of eBPF.
func (p Programs) None() bool { return len(p.held) == 0 }

// Reading is what the kernel had counted at one time, for each of the programs in their order.
type Reading []Count

// Read asks the kernel.
func (p *Programs) Read() (Reading, error) {
	r := make(Reading, 0, len(p.held))
	for _, h := range p.held {
		s, err := h.prog.Stats()
		if err != nil {
			return nil, ours("ask how often an eBPF program was skipped", err)
		}
		r = append(r, Count{h.name, s.RecursionMisses})
	}
	return r, nil
}

// Since are the programs that were skipped after an earlier reading of the same, each name once, in the order in which they
// were loaded.
func (r Reading) Since(before Reading) []Count {
	var out []Count
	for i, now := range r {
		n := now.Calls - before[i].Calls
		if n == 0 {
			continue
		}
		if at := slices.IndexFunc(out, func(c Count) bool { return c.Program == now.Program }); at >= 0 {
			out[at].Calls += n
			continue
		}
		out = append(out, Count{now.Program, n})
	}
	return out
}

// Sum is how often any of them was skipped.
func Sum(counts []Count) uint64 {
	var n uint64
	for _, c := range counts {
		n += c.Calls
	}
	return n
}

// Evidence says it of a kernel, a line for each program.
func Evidence(release string, counts []Count) []cause.Evidence {
	var lines []string
	for _, c := range counts {
		lines = append(lines, fmt.Sprintf("kernel %s did not run program %s for %d events that it is attached to (recursion_misses)", release, c.Program, c.Calls))
	}
	return cause.Text(lines...)
}

// Close lets go of the programs.
func (p *Programs) Close() error {
	var errs []error
	for _, h := range p.held {
		errs = append(errs, h.prog.Close())
	}
	p.held = nil
	return errors.Join(errs...)
}

func ours(what string, err error) error {
	return cause.Errorf(cause.Internal, cause.FaultHarness, "%s: %w", what, err)
}
