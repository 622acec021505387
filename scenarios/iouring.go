// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// What is used here of include/uapi/linux/io_uring.h.
const (
	ringEntries = 4

	ringOpOpenat  = 18
	ringOpOpenat2 = 28

	ringGetEvents     = 1 << 0 // of io_uring_enter
	ringSingleMmap    = 1 << 0 // a feature of io_uring_setup, of Linux 5.4
	ringRegisterProbe = 8
	ringProbeOps      = 64
	ringOpSupported   = 1 << 0

	ringOffSQEs = 0x10000000
)

// ringParams is struct io_uring_params.
type ringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sq                                                                     struct {
		head, tail, ringMask, ringEntries, flags, dropped, array, _ uint32
		_                                                           uint64
	}
	cq struct {
		head, tail, ringMask, ringEntries, overflow, cqes, flags, _ uint32
		_                                                           uint64
	}
}

// ringEntry is struct io_uring_sqe, as an open has it.
type ringEntry struct {
	opcode, flags uint8
	ioprio        uint16
	fd            int32
	off           uint64 // openat2: the address of struct open_how
	addr          uint64 // the path
	len           uint32 // openat: the mode; openat2: the size of struct open_how
	openFlags     uint32
	userData      uint64
	_             [3]uint64
}

// ringEnd is struct io_uring_cqe.
type ringEnd struct {
	userData uint64
	res      int32
	flags    uint32
}

// ring is an io_uring with room for few entries, of which one at a time is under way.
type ring struct {
	fd      int
	params  ringParams
	rings   []byte // those of submission and completion, in one mapping
	entries []byte
}

// newRing makes one. Where a sysctl forbids it, that is the proof.
func newRing() (*ring, error) {
	r := &ring{}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringEntries, uintptr(unsafe.Pointer(&r.params)), 0)
	if errno != 0 {
		return nil, forbidden(fmt.Errorf("io_uring_setup: %w", errno), "/proc/sys/kernel/io_uring_disabled")
	}
	r.fd = int(fd)
	unix.CloseOnExec(r.fd)
	if r.params.features&ringSingleMmap == 0 {
		return nil, errors.Join(errors.New("io_uring_setup: a kernel before 5.4, whose rings are two mappings"), r.close())
	}
	p := &r.params
	size := max(int(p.sq.array+p.sqEntries*4), int(p.cq.cqes)+int(p.cqEntries)*int(unsafe.Sizeof(ringEnd{})))
	var err error
	if r.rings, err = unix.Mmap(r.fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err == nil {
		r.entries, err = unix.Mmap(r.fd, ringOffSQEs, int(p.sqEntries)*int(unsafe.Sizeof(ringEntry{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map an io_uring: %w", err), r.close())
	}
	return r, nil
}

// forbidden adds to EPERM the sysctl that explains it: kernel.io_uring_disabled (Linux 6.6) is 1 for whoever is not of a
// group, 2 for everybody. Without it somebody else forbade the call, and nothing is proven.
func forbidden(err error, sysctl string) error {
	value, readErr := os.ReadFile(sysctl)
	set := strings.TrimSpace(string(value))
	if !errors.Is(err, unix.EPERM) || readErr != nil || set == "0" {
		return err
	}
	return &refusal{cause.PolicyDenied, sysctl + ": " + set, err}
}

// supports asks the kernel whether it knows an operation (Linux 5.6, as IORING_OP_OPENAT is).
func (r *ring) supports(op uint8) error {
	var probe struct {
		lastOp, opsLen uint8
		_              [7]uint16
		ops            [ringProbeOps]struct {
			op, _ uint8
			flags uint16
			_     uint32
		}
	}
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), ringRegisterProbe, uintptr(unsafe.Pointer(&probe)), ringProbeOps, 0, 0)
	switch {
	case errno == unix.EINVAL:
		return &refusal{cause.KernelLacks, "io_uring_register(IORING_REGISTER_PROBE): " + errno.Error(), fmt.Errorf("this io_uring cannot be asked what it knows: %w", errno)}
	case errno != 0:
		return fmt.Errorf("io_uring_register: %w", errno)
	case int(op) >= ringProbeOps || probe.ops[op].flags&ringOpSupported == 0:
		return &refusal{cause.KernelLacks, fmt.Sprintf("IORING_REGISTER_PROBE: operation %d is not among the %d supported", op, probe.opsLen), fmt.Errorf("io_uring has no operation %d: %w", op, unix.EINVAL)}
	}
	return nil
}

// do hands one entry to the kernel and waits for its end. What the entry points to must stay where it is.
func (r *ring) do(e ringEntry) (int, error) {
	word := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[off])) }
	p := &r.params
	slot := *word(p.sq.tail) & *word(p.sq.ringMask)
	*(*ringEntry)(unsafe.Pointer(&r.entries[uintptr(slot)*unsafe.Sizeof(ringEntry{})])) = e
	*word(p.sq.array + 4*slot) = slot
	// Nobody but this thread touches the submission until io_uring_enter, a system call, hands it over: no barrier is needed.
	*word(p.sq.tail)++
	head := word(p.cq.head)
	for submit := uintptr(1); *head == atomic.LoadUint32(word(p.cq.tail)); {
		// A signal may end the wait: with EINTR, or with the number of what was submitted before it.
		n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), submit, 1, ringGetEvents, 0, 0)
		switch errno {
		case 0:
			submit -= n
		case unix.EINTR:
		default:
			return -1, fmt.Errorf("io_uring_enter: %w", errno)
		}
	}
	end := *(*ringEnd)(unsafe.Pointer(&r.rings[uintptr(p.cq.cqes)+uintptr(*head&*word(p.cq.ringMask))*unsafe.Sizeof(ringEnd{})]))
	*head++
	if end.res < 0 {
		return -1, unix.Errno(-end.res)
	}
	return int(end.res), nil
}

func (r *ring) close() error {
	var errs []error
	for _, m := range [][]byte{r.rings, r.entries} {
		if m != nil {
			errs = append(errs, unix.Munmap(m))
		}
	}
	return errors.Join(append(errs, unix.Close(r.fd))...)
}

// ringOpen opens a file by the operation of io_uring that is IORING_OP_OPENAT2, or IORING_OP_OPENAT. No system call has the
// path: io_uring_enter(2) has a descriptor and a number.
func ringOpen(op uint8, path string, how unix.OpenHow) (int, error) {
	r, err := newRing()
	if err != nil {
		return -1, err
	}
	defer r.close()
	if err := r.supports(op); err != nil {
		return -1, err
	}
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(name)
	pin.Pin(&how)
	e := ringEntry{opcode: op, fd: unix.AT_FDCWD, addr: uint64(uintptr(unsafe.Pointer(name)))}
	if op == ringOpOpenat2 {
		e.len, e.off = uint32(unsafe.Sizeof(how)), uint64(uintptr(unsafe.Pointer(&how)))
	} else {
		e.len, e.openFlags = uint32(how.Mode), uint32(how.Flags)
	}
	fd, err := r.do(e)
	if err != nil {
		return -1, err
	}
	// No system call shows that the deed was done; the descriptor does.
	var opened, named unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &opened), unix.Stat(path, &named)); err != nil || opened.Dev != named.Dev || opened.Ino != named.Ino {
		return -1, errors.Join(fmt.Errorf("io_uring opened another file than %s", path), err, unix.Close(fd))
	}
	return fd, nil
}
