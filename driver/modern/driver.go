// SPDX-License-Identifier: Apache-2.0

// Package modern knows how the eBPF probe mews-modern gets into a running kernel, and how to read its events.
//
// Every program of the probe is loaded by itself. One that the kernel refuses is reported by name, with the
// verifier's own words, and the others run: a single refused program silenced a whole driver in falco#3417.
package modern

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/bpf"
	"github.com/mews-farm/mews/results/cause"
)

// DefaultRingSize is the size of the ring buffer in bytes where the options name none.
const DefaultRingSize = 8 << 20

// Options change how the probe is loaded. The zero value loads it as it is meant to be.
type Options struct {
	Edition  Edition   // "": [Good]
	BTF      *btf.Spec // the kernel types to relocate against; nil: those of the running kernel
	RingSize int       // bytes, a power of two and a multiple of the page size; 0: DefaultRingSize
	Stats    bool      // ask the verifier what each program cost it
	Writes   []string  // write(2) is seen where the file was opened by a name with one of these prefixes; nil: DefaultWrites
}

// DefaultWrites are where a write may change what a machine does or what it remembers. The names count as they were given
// to open(2): one that is relative is never seen.
var DefaultWrites = []string{"/etc/", "/root/", "/var/log/", "/var/spool/cron/", "/proc/sys/", "/sys/", "/dev/shm/", "/boot/", "/usr/lib/modules/", "/lib/modules/"}

func (o Options) writes() []string {
	if o.Writes == nil {
		return DefaultWrites
	}
	return o.Writes
}

// lookEvery is how long an event may wait in the ring buffer while it is nearly empty: the probe wakes nobody then, which would
// cost more than the event.
const lookEvery = 25 * time.Millisecond

// Driver is the probe in the kernel. Attach, Detach, Flush and Stats may be called beside Read; Read is for one reader.
type Driver struct {
	edition Edition
	maps    map[string]*ebpf.Map
	progs   map[string]*ebpf.Program
	links   []link.Link
	ring    *ringbuf.Reader
	record  ringbuf.Record

	detached atomic.Bool
	last     bool // Read has begun its last look
}

// tracepoints lists what is attached where, in the order of attachment: processes are followed before the
// events of their system calls come. None is a raw one, whose programs the kernel skips since 7.0 (bpf/syscall.h).
var tracepoints = []struct{ program, group, tracepoint string }{
	{bpf.ProbeProgTaskNewtask, "task", "task_newtask"},
	{bpf.ProbeProgSchedProcessExec, "sched", "sched_process_exec"},
	{bpf.ProbeProgSchedProcessExit, "sched", "sched_process_exit"},
	{bpf.ProbeProgSysExit, "raw_syscalls", "sys_exit"},
}

// Load puts the probe into the kernel, where it does nothing before Attach. It reports on every program, in the
// order of their names, whether or not it returns an error; the error says that no program could be loaded, or
// why the attempt ended before the first.
func Load(opts Options) (*Driver, []ProgramReport, error) {
	if err := liftMemlock(); err != nil {
		return nil, nil, err
	}
	types := opts.BTF
	if types == nil {
		var err error
		if types, err = btf.LoadKernelSpec(); err != nil {
			return nil, nil, cause.Failf(cause.MissingBTF, cause.FaultKernel, "read the kernel's own types: %w", err).
				Advise("/sys must be mounted and the kernel be built with CONFIG_DEBUG_INFO_BTF")
		}
	}
	d := &Driver{edition: opts.Edition, maps: map[string]*ebpf.Map{}, progs: map[string]*ebpf.Program{}}
	spec, err := d.edition.collection()
	if err != nil {
		return nil, nil, err
	}
	var modules []*btf.Spec
	if opts.BTF == nil { // types that were named stand for the kernel as a whole
		if modules, err = d.edition.moduleTypes(); err != nil {
			return nil, nil, err
		}
	}

	if err := d.createMaps(spec, opts); err != nil {
		return nil, nil, errors.Join(err, d.Close())
	}
	reports := d.loadPrograms(spec, opts.Stats, types, modules)
	if len(d.progs) == 0 {
		return nil, reports, errors.Join(reports[0].Err, d.Close())
	}
	if err := errors.Join(d.fillSyscalls(), d.fillPrefixes(opts.writes())); err != nil {
		return nil, reports, errors.Join(err, d.Close())
	}
	return d, reports, nil
}

func (d *Driver) createMaps(spec *ebpf.CollectionSpec, opts Options) error {
	size := opts.RingSize
	if size == 0 {
		size = DefaultRingSize
	}
	spec.Maps[bpf.ProbeMapEvents].MaxEntries = uint32(size)
	for _, name := range sortedKeys(spec.Maps) {
		m, err := ebpf.NewMap(spec.Maps[name])
		if err != nil {
			return mapError(spec.Maps[name], err)
		}
		d.maps[name] = m
	}
	ring, err := ringbuf.NewReader(d.maps[bpf.ProbeMapEvents])
	if err != nil {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "map the ring buffer: %w", err)
	}
	ring.SetDeadline(time.Now()) // it is Read that goes on from there
	d.ring = ring
	return nil
}

func (d *Driver) loadPrograms(spec *ebpf.CollectionSpec, stats bool, types *btf.Spec, modules []*btf.Spec) []ProgramReport {
	var reports []ProgramReport
	for _, name := range sortedKeys(spec.Programs) {
		report := ProgramReport{Name: name}
		begun := time.Now()
		prog, err := d.loadProgram(spec, name, ebpf.ProgramOptions{KernelTypes: types, ExtraRelocationTargets: modules}, stats)
		report.Took = time.Since(begun)
		if err != nil {
			report.Log = verifierLog(err)
			refused := programError(name, err)
			if refused.Cause == cause.CORERelocation && report.Log != "" {
				refused.With(poisoned(spec, name, append([]*btf.Spec{types}, modules...), report.Log)...)
			}
			report.Err = refused
		} else {
			d.progs[name] = prog
			report.Loaded, report.Log = true, prog.VerifierLog
			if info, err := prog.Info(); err == nil {
				report.Verified, _ = info.VerifiedInstructions()
			}
		}
		reports = append(reports, report)
	}
	return reports
}

// loadProgram loads one program of the collection, with the maps that all of them share.
func (d *Driver) loadProgram(spec *ebpf.CollectionSpec, name string, opts ebpf.ProgramOptions, stats bool) (*ebpf.Program, error) {
	if d.edition != BadOpenHow {
		if err := missingType(name, opts.KernelTypes); err != nil {
			return nil, err
		}
	}
	one := spec.Copy()
	one.Programs = map[string]*ebpf.ProgramSpec{name: one.Programs[name]}
	if stats {
		opts.LogLevel = ebpf.LogLevelStats
	}
	coll, err := ebpf.NewCollectionWithOptions(one, ebpf.CollectionOptions{MapReplacements: d.maps, Programs: opts})
	if err != nil && stats {
		// At that level the verifier does not say why it refused.
		opts.LogLevel = 0
		coll, err = ebpf.NewCollectionWithOptions(one, ebpf.CollectionOptions{MapReplacements: d.maps, Programs: opts})
	}
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	return coll.DetachProgram(name), nil
}

// fillSyscalls tells the dispatcher which program belongs to which system call, and the programs what its arguments are.
func (d *Driver) fillSyscalls() error {
	for name, nr := range numbers {
		prog := d.progs[program(name)]
		if prog == nil {
			continue // its report says why
		}
		if err := d.maps[bpf.ProbeMapShapes].Put(nr, forms[name].shape); err != nil {
			return cause.Errorf(cause.Internal, cause.FaultHarness, "say what the arguments of %s are: %w", name, err)
		}
		if err := d.maps[bpf.ProbeMapSyscalls].Put(nr, prog); err != nil {
			return cause.Failf(cause.VerifierRejection, cause.FaultDriver, "put program %s where system call %s finds it: %w", program(name), name, err)
		}
	}
	return nil
}

// fillPrefixes names the files whose writes are seen.
func (d *Driver) fillPrefixes(prefixes []string) error {
	for _, p := range prefixes {
		key := bpf.ProbePrefix{Bits: uint32(8 * len(p))}
		if len(p) > len(key.Name) || !strings.HasPrefix(p, "/") {
			return cause.Errorf(cause.Internal, cause.FaultHarness, "%q is no prefix whose writes can be watched: it begins with / and has at most %d bytes", p, len(key.Name))
		}
		copy(key.Name[:], p)
		if err := d.maps[bpf.ProbeMapPrefixes].Put(key, uint32(1)); err != nil {
			return cause.Errorf(cause.Internal, cause.FaultHarness, "watch the writes below %s: %w", p, err)
		}
	}
	return nil
}

// Attach makes the events flow. When it returns, what happens from then on is seen.
func (d *Driver) Attach() error {
	if err := mountTracefs(); err != nil {
		return err
	}
	d.detached.Store(false)
	for _, tp := range tracepoints {
		prog := d.progs[tp.program]
		if prog == nil {
			continue // its report says why
		}
		l, err := link.Tracepoint(tp.group, tp.tracepoint, prog, nil)
		if err != nil {
			return cause.Failf(cause.UnsupportedProgramType, cause.FaultKernel, "attach program %s to tracepoint %s: %w", tp.program, tp.tracepoint, err)
		}
		d.links = append(d.links, l)
	}
	return nil
}

// mountTracefs mounts tracefs where everybody expects it, unless it is there. Attaching to a tracepoint takes its number, which only
// tracefs tells. It stays mounted, as it is on a machine that systemd started.
func mountTracefs() error {
	const dir = "/sys/kernel/tracing"
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil && st.Type == unix.TRACEFS_MAGIC {
		return nil
	}
	if err := unix.Mount("tracefs", dir, "tracefs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return denied("mount tracefs on "+dir, err)
	}
	return nil
}

// Detach ends the events. Read still returns those that happened before, and then io.EOF.
func (d *Driver) Detach() error {
	var errs []error
	for _, l := range d.links {
		errs = append(errs, l.Close())
	}
	d.links = nil
	d.detached.Store(true)
	return errors.Join(append(errs, d.Flush())...)
}

// Flush has a Read that waits look at once for what happened until now.
func (d *Driver) Flush() error { return d.ring.Flush() }

// Read waits for the next event. It returns io.EOF when there is none any more after Detach, and os.ErrClosed
// after Close. An error that wraps ErrRecord says that one record was lost.
func (d *Driver) Read() (Event, error) {
	for {
		err := d.ring.ReadInto(&d.record)
		switch {
		case err == nil:
			return Decode(d.record.RawSample)
		case errors.Is(err, os.ErrDeadlineExceeded):
			d.ring.SetDeadline(time.Now().Add(lookEvery))
		case errors.Is(err, ringbuf.ErrFlushed):
			if !d.detached.Load() {
				continue
			}
			if d.last {
				d.last = false // it may be attached again
				return Event{}, io.EOF
			}
			// This look may have begun before the end of the events. The next one has not.
			d.last = true
			if err := d.Flush(); err != nil {
				return Event{}, cause.Errorf(cause.Internal, cause.FaultHarness, "look at the ring buffer once more: %w", err)
			}
		case errors.Is(err, ringbuf.ErrClosed):
			return Event{}, os.ErrClosed
		default:
			return Event{}, cause.Errorf(cause.Internal, cause.FaultHarness, "read the ring buffer: %w", err)
		}
	}
}

// Stats says how many events the probe sent, and how many were lost, by what they were and why.
type Stats struct {
	Events  uint64
	DropsBy map[string]uint64 // "exec: ring buffer full"; only what was lost at least once
}

// Stats reads the probe's counters. The kernel's own, of programs that it did not run, are package skipped's.
func (d *Driver) Stats() (Stats, error) {
	s := Stats{DropsBy: map[string]uint64{}}
	for kind, name := range kindNames {
		var perCPU []bpf.ProbeCounters
		if err := d.maps[bpf.ProbeMapCounts].Lookup(uint32(kind), &perCPU); err != nil {
			return Stats{}, cause.Errorf(cause.Internal, cause.FaultHarness, "read the counters of %s events: %w", name, err)
		}
		for _, c := range perCPU {
			s.Events += c.Sent
			if c.Full > 0 {
				s.DropsBy[name+": ring buffer full"] += c.Full
			}
			if c.Unbuilt > 0 {
				s.DropsBy[name+": no room to build it"] += c.Unbuilt
			}
		}
	}
	return s, nil
}

// Close takes the probe out of the kernel. A Read that waits returns os.ErrClosed.
func (d *Driver) Close() error {
	var errs []error
	for _, l := range d.links {
		errs = append(errs, l.Close())
	}
	d.links = nil
	if d.ring != nil {
		errs = append(errs, d.ring.Close())
	}
	for _, p := range d.progs {
		errs = append(errs, p.Close())
	}
	for _, m := range d.maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// liftMemlock lets maps take the memory they need on kernels before 5.11, which charge it as locked memory. The
// rlimit package of cilium/ebpf is not for us: it asks the kernel in an init function, which reads
// /proc/self/mountinfo, and remembers the failure for good in a process that is PID 1 and has yet to mount /proc.
func liftMemlock() error {
	lim := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &lim)
	if err != nil && !errors.Is(err, unix.EPERM) { // without the right, it may still be enough: making the maps tells
		return cause.Errorf(cause.Internal, cause.FaultHarness, "lift the limit of locked memory: %w", err)
	}
	return nil
}

func denied(what string, err error) *cause.Err {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "%s: %w", what, err)
	}
	return cause.Failf(cause.PolicyDenied, cause.FaultKernel, "%s: %w", what, err).
		Advise("the probe needs CAP_BPF, CAP_PERFMON and CAP_SYS_RESOURCE, and no lockdown in confidentiality mode")
}
