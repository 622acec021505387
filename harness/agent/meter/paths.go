// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// path is one way through the kernel.
type path struct {
	name  string
	calls int // a batch: 700,000 instructions at most, so that it fits between two of a thousand interrupts a second
	// churns: each call has the kernel make things that it frees later, when RCU says that nobody looks at them any more.
	// Batches without a rest would have the next make theirs where the last one's are still in the way.
	churns bool
	// prepare makes what the calls need. A call must not allocate, nor enter Go's scheduler: it makes raw calls alone.
	prepare func(dir string) (call func() unix.Errno, undo func(), err error)
}

// all are the paths, in the order in which they are measured and shown.
var all = []path{
	{"getppid", 200, false, getppid},
	{"openat", 40, true, openat},
	{"openat2", 40, true, openat2},
	{"read", 100, false, reading(64)},
	{"read-64k", 3, false, reading(64 << 10)},
	{"write", 60, false, writing(64)},
	{"write-64k", 3, false, writing(64 << 10)},
	{"epoll", 100, false, epoll},
	{"connect", 10, true, connect},
	{"clone", 10, true, clone},
	{"execve", 3, true, execve},
}

// Names lists the paths.
func Names() []string {
	var out []string
	for _, p := range all {
		out = append(out, p.name)
	}
	return out
}

func raw(nr, a, b, c, d uintptr) (uintptr, unix.Errno) {
	r, _, errno := unix.RawSyscall6(nr, a, b, c, d, 0, 0)
	return r, errno
}

// getppid is the floor: the way in and out of the kernel, with next to nothing in between.
func getppid(string) (func() unix.Errno, func(), error) {
	return func() unix.Errno {
		_, errno := raw(unix.SYS_GETPPID, 0, 0, 0, 0)
		return errno
	}, nil, nil
}

// file makes a file of n bytes on the directory's filesystem, and its name as the kernel takes it.
func file(dir string, n int) (name *byte, undo func(), err error) {
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
		return nil, nil, err
	}
	name, err = unix.BytePtrFromString(path)
	return name, func() { os.Remove(path) }, err
}

const atCwd = ^uintptr(99) // AT_FDCWD as the kernel takes it

// openat opens a file that is there, and closes it.
func openat(dir string) (func() unix.Errno, func(), error) {
	name, undo, err := file(dir, 1)
	return func() unix.Errno {
		fd, errno := raw(unix.SYS_OPENAT, atCwd, uintptr(unsafe.Pointer(name)), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errno == 0 {
			_, errno = raw(unix.SYS_CLOSE, fd, 0, 0, 0)
		}
		return errno
	}, undo, err
}

func openat2(dir string) (func() unix.Errno, func(), error) {
	name, undo, err := file(dir, 1)
	how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC}
	return func() unix.Errno {
		fd, errno := raw(unix.SYS_OPENAT2, atCwd, uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(how)), unix.SizeofOpenHow)
		if errno == 0 {
			_, errno = raw(unix.SYS_CLOSE, fd, 0, 0, 0)
		}
		return errno
	}, undo, err
}

// reading and writing move bytes between memory and a file on tmpfs, and go back to its start.
func reading(n int) func(string) (func() unix.Errno, func(), error) {
	return transfer(unix.SYS_READ, n)
}
func writing(n int) func(string) (func() unix.Errno, func(), error) {
	return transfer(unix.SYS_WRITE, n)
}

func transfer(nr uintptr, n int) func(string) (func() unix.Errno, func(), error) {
	return func(dir string) (func() unix.Errno, func(), error) {
		name, remove, err := file(dir, n)
		if err != nil {
			return nil, nil, err
		}
		fd, errno := raw(unix.SYS_OPENAT, atCwd, uintptr(unsafe.Pointer(name)), unix.O_RDWR|unix.O_CLOEXEC, 0)
		if errno != 0 {
			remove()
			return nil, nil, errno
		}
		buf := make([]byte, n)
		return func() unix.Errno {
			_, errno := raw(nr, fd, uintptr(unsafe.Pointer(&buf[0])), uintptr(n), 0)
			if errno == 0 {
				_, errno = raw(unix.SYS_LSEEK, fd, 0, 0, 0)
			}
			return errno
		}, func() { unix.Close(int(fd)); remove() }, nil
	}
}

// epoll asks for what is ready, which one descriptor is.
func epoll(string) (func() unix.Errno, func(), error) {
	ready, err := unix.Eventfd(1, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	undo := func() { unix.Close(ready); unix.Close(set) }
	if err == nil {
		err = unix.EpollCtl(set, unix.EPOLL_CTL_ADD, ready, &unix.EpollEvent{Events: unix.EPOLLIN})
	}
	events := make([]unix.EpollEvent, 4)
	return func() unix.Errno {
		_, errno := raw(unix.SYS_EPOLL_PWAIT, uintptr(set), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0)
		return errno
	}, undo, err
}

// connect makes a TCP connection to the machine itself, takes it and resets it, so that nothing lingers.
func connect(string) (func() unix.Errno, func(), error) {
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	undo := func() { unix.Close(listener) }
	if err := unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, undo, err
	}
	if err := unix.Listen(listener, 4); err != nil {
		return nil, undo, err
	}
	bound, err := unix.Getsockname(listener)
	if err != nil {
		return nil, undo, err
	}
	port := bound.(*unix.SockaddrInet4).Port
	addr := &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: uint16(port>>8 | port<<8), Addr: [4]byte{127, 0, 0, 1}}
	linger := &unix.Linger{Onoff: 1}
	return func() unix.Errno {
		fd, errno := raw(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0, 0)
		if errno != 0 {
			return errno
		}
		_, _, errno = unix.RawSyscall6(unix.SYS_SETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(linger)), unix.SizeofLinger, 0)
		if errno == 0 {
			_, errno = raw(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(addr)), unix.SizeofSockaddrInet4, 0)
		}
		var peer uintptr
		if errno == 0 {
			peer, errno = raw(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, unix.SOCK_CLOEXEC)
		}
		if errno == 0 {
			_, errno = raw(unix.SYS_CLOSE, fd, 0, 0, 0)
		}
		if errno == 0 {
			_, errno = raw(unix.SYS_CLOSE, peer, 0, 0, 0)
		}
		return errno
	}, undo, nil
}

// clone makes a process in the same memory that ends at once, as vfork(2) does, and waits for it. One with a memory of its
// own would cost what copying the page tables of this process costs, ten times as much as all else.
func clone(string) (func() unix.Errno, func(), error) {
	return func() unix.Errno { return wait(vfork()) }, nil, nil
}

// execve has a child of vfork become the smallest program that there is, and waits for its end.
func execve(dir string) (func() unix.Errno, func(), error) {
	path := filepath.Join(dir, "nothing")
	if err := os.WriteFile(path, smallest(), 0o700); err != nil {
		return nil, nil, err
	}
	undo := func() { os.Remove(path) }
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return nil, undo, err
	}
	argv, envp := &[2]*byte{name}, &[1]*byte{}
	return func() unix.Errno { return wait(spawn(name, &argv[0], &envp[0])) }, undo, nil
}

// wait waits for a child, which must have ended with 0. pid is its, or an error as the kernel returns it. The kernel looks
// for it among this thread's children alone, so that what the search costs is not a question of how many threads Go has.
func wait(pid int) unix.Errno {
	if pid < 0 {
		return unix.Errno(-pid)
	}
	var status unix.WaitStatus
	for {
		_, errno := raw(unix.SYS_WAIT4, uintptr(pid), uintptr(unsafe.Pointer(&status)), unix.WNOTHREAD, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return errno
		case status != 0:
			return unix.ENOEXEC
		default:
			return 0
		}
	}
}
