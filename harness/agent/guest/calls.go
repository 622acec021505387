// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// callFields are what a driver must tell of the calls of [doCalls], beside what is in checkFields.
var callFields = []string{
	"evt.arg.request", "evt.arg.flags", "evt.arg.cmd", "evt.arg.name", "evt.arg.target", "evt.arg.linkpath", "evt.arg.oldpath",
	"evt.arg.newpath", "evt.arg.path", "evt.arg.filename", "evt.arg.mode", "evt.arg.domain", "evt.arg.uid", "evt.arg.euid", "evt.arg.dev",
	"evt.arg.dir", "evt.arg.type", "evt.arg.nstype", "evt.arg.resolve", "evt.arg.size", "evt.arg.uargs",
	"fd.type", "fd.l4proto", "fd.sip", "fd.sport", "fd.cip", "fd.cport", "fd.lport", "fd.rport", "proc.cwd",
}

// call is a system call that was made, and what must be seen of it.
type call struct {
	Type   string            `json:"type"`
	Fields map[string]string `json:"fields"`
}

// caller makes calls one after the other. What was made stays in the order of the calls.
type caller struct {
	dir  string
	made []call
	keep []any // what the kernel was given pointers to
}

// text is a C string.
func (c *caller) text(s string) uintptr {
	p, err := unix.BytePtrFromString(s)
	if err != nil {
		panic("a name of mews's own holds a NUL: " + s)
	}
	c.keep = append(c.keep, p)
	return uintptr(unsafe.Pointer(p))
}

func (c *caller) bytes(b []byte) uintptr {
	c.keep = append(c.keep, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

// do makes a call and remembers it. The fields are pairs of name and value. That it fails is no error: an event must be right then
// too.
func (c *caller) do(name string, nr uintptr, args []uintptr, fields ...string) int {
	var a [6]uintptr
	copy(a[:], args)
	r, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	ret := int(r)
	if errno != 0 {
		ret = -int(errno)
	}
	one := call{Type: name, Fields: map[string]string{"evt.rawres": strconv.Itoa(ret)}}
	for i := 0; i+1 < len(fields); i += 2 {
		one.Fields[fields[i]] = fields[i+1]
	}
	c.made = append(c.made, one)
	return ret
}

// number is a field of the last call that only its result tells.
func (c *caller) also(field, value string) { c.made[len(c.made)-1].Fields[field] = value }

const cwd = ^uintptr(99) // AT_FDCWD

// doCalls makes each kind of system call that the probe watches once, in a directory that is there. It leaves nothing that
// outlives its process: what would need to be undone is refused by the kernel, for want of a file or a module of such a name.
func doCalls(dir string) []call {
	runtime.LockOSThread() // a namespace and a working directory are the thread's or the process's; nothing must come between
	c := &caller{dir: dir}
	c.files()
	c.sockets()
	c.privileges()
	c.legacy()
	return c.made
}

func (c *caller) in(name string) string { return filepath.Join(c.dir, name) }

func (c *caller) files() {
	how := unix.OpenHow{Flags: unix.O_RDWR | unix.O_CREAT | unix.O_CLOEXEC, Mode: 0o600, Resolve: unix.RESOLVE_NO_SYMLINKS}
	c.keep = append(c.keep, &how)
	c.do("mkdirat", unix.SYS_MKDIRAT, []uintptr{cwd, c.text(c.dir), 0o700}, "evt.arg.path", c.dir, "evt.arg.mode", "S_IXUSR|S_IWUSR|S_IRUSR")
	c.do("chdir", unix.SYS_CHDIR, []uintptr{c.text(c.dir)}, "proc.cwd", c.dir+"/", "evt.arg.path", c.dir)
	fd := c.do("openat2", unix.SYS_OPENAT2, []uintptr{cwd, c.text("./a"), uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how)},
		"fd.name", c.in("a"), "fd.type", "file", "evt.arg.flags", "O_CREAT|O_RDWR|O_CLOEXEC", "evt.arg.mode", "S_IWUSR|S_IRUSR", "evt.arg.resolve", "RESOLVE_NO_SYMLINKS")
	c.also("fd.num", strconv.Itoa(fd))
	watched := c.do("openat", unix.SYS_OPENAT, []uintptr{cwd, c.text(c.in("b")), unix.O_WRONLY | unix.O_CREAT | unix.O_CLOEXEC, 0o600},
		"fd.name", c.in("b"), "evt.arg.flags", "O_CREAT|O_WRONLY|O_CLOEXEC")
	c.do("write", unix.SYS_WRITE, []uintptr{uintptr(watched), c.text("word"), 4}, "fd.name", c.in("b"), "evt.arg.size", "4", "fd.num", strconv.Itoa(watched))
	c.do("fchmod", unix.SYS_FCHMOD, []uintptr{uintptr(watched), 0o400}, "fd.name", c.in("b"), "evt.arg.mode", "S_IRUSR")
	c.do("fchmodat", unix.SYS_FCHMODAT, []uintptr{cwd, c.text("b"), 0o4711}, "evt.arg.filename", c.in("b"), "evt.arg.mode", "S_IXOTH|S_IXGRP|S_IXUSR|S_IWUSR|S_IRUSR|S_ISUID")
	c.do("symlinkat", unix.SYS_SYMLINKAT, []uintptr{c.text("/etc/shadow"), cwd, c.text("s")}, "evt.arg.target", "/etc/shadow", "evt.arg.linkpath", c.in("s"))
	c.do("linkat", unix.SYS_LINKAT, []uintptr{cwd, c.text("a"), cwd, c.text(c.in("l")), 0}, "evt.arg.oldpath", c.in("a"), "evt.arg.newpath", c.in("l"))
	c.do("renameat2", unix.SYS_RENAMEAT2, []uintptr{cwd, c.text("l"), cwd, c.text("m"), unix.RENAME_NOREPLACE},
		"evt.arg.oldpath", c.in("l"), "evt.arg.newpath", c.in("m"), "evt.arg.flags", "RENAME_NOREPLACE")
	for _, name := range []string{"a", "b", "m", "s"} {
		c.do("unlinkat", unix.SYS_UNLINKAT, []uintptr{cwd, c.text(name), 0}, "evt.arg.name", c.in(name))
	}
	c.do("memfd_create", unix.SYS_MEMFD_CREATE, []uintptr{c.text("mews-none"), unix.MFD_CLOEXEC}, "evt.arg.name", "mews-none", "evt.arg.flags", "MFD_CLOEXEC")
	c.do("finit_module", unix.SYS_FINIT_MODULE, []uintptr{uintptr(fd), c.text("p=1"), 0}, "fd.num", strconv.Itoa(fd), "fd.name", c.in("a"))
	c.do("chdir", unix.SYS_CHDIR, []uintptr{c.text("/")}, "proc.cwd", "/")
	c.do("unlinkat", unix.SYS_UNLINKAT, []uintptr{cwd, c.text(c.dir), unix.AT_REMOVEDIR}, "evt.arg.name", c.dir, "evt.arg.flags", "AT_REMOVEDIR")
	unix.Close(fd)
	unix.Close(watched)
}

// sockets talks to itself, in a network of its own whose loopback is up.
func (c *caller) sockets() {
	if c.do("unshare", unix.SYS_UNSHARE, []uintptr{unix.CLONE_NEWNET}, "evt.arg.flags", "CLONE_NEWNET") < 0 {
		return // the event tells; without a network of its own there is nobody to talk to
	}
	for _, family := range []struct {
		number    int
		name, typ string
		ip        string
		loopback  []byte
	}{
		{unix.AF_INET, "AF_INET", "ipv4", "127.0.0.1", []byte{127, 0, 0, 1}},
		{unix.AF_INET6, "AF_INET6", "ipv6", "::1", append(make([]byte, 19), 1, 0, 0, 0, 0)},
	} {
		socket := func() int {
			return c.do("socket", unix.SYS_SOCKET, []uintptr{uintptr(family.number), unix.SOCK_STREAM | unix.SOCK_CLOEXEC, 0},
				"evt.arg.domain", family.name, "fd.type", family.typ, "fd.l4proto", "tcp")
		}
		server, client := socket(), socket()
		if server < 0 || client < 0 {
			continue // a kernel without IPv6
		}
		if err := loopbackUp(server); err != nil {
			continue
		}
		const port = 4022
		addr := binary.NativeEndian.AppendUint16(nil, uint16(family.number))
		addr = binary.BigEndian.AppendUint16(addr, port)
		addr = append(addr, family.loopback...)
		addr = append(addr, make([]byte, 28-len(addr))...)
		size := uintptr(28)
		if family.number == unix.AF_INET {
			size = 16
		}
		c.do("bind", unix.SYS_BIND, []uintptr{uintptr(server), c.bytes(addr), size}, "fd.sip", family.ip, "fd.sport", strconv.Itoa(port), "fd.name", family.ip+":"+strconv.Itoa(port))
		if err := unix.Listen(server, 1); err != nil {
			continue
		}
		c.do("connect", unix.SYS_CONNECT, []uintptr{uintptr(client), c.bytes(addr), size}, "fd.sip", family.ip, "fd.sport", strconv.Itoa(port), "fd.cip", family.ip, "fd.rport", strconv.Itoa(port))
		local := localPort(client)
		c.also("fd.cport", local)
		c.also("fd.name", fmt.Sprintf("%s:%s->%s:%d", family.ip, local, family.ip, port))
		accepted := c.do("accept4", unix.SYS_ACCEPT4, []uintptr{uintptr(server), 0, 0, unix.SOCK_CLOEXEC}, "fd.sip", family.ip, "fd.lport", strconv.Itoa(port), "fd.cport", local,
			"fd.name", fmt.Sprintf("%s:%s->%s:%d", family.ip, local, family.ip, port))
		c.do("dup3", unix.SYS_DUP3, []uintptr{uintptr(client), 0, 0}, "fd.num", "0", "fd.type", family.typ, "fd.sip", family.ip)
		unix.Close(0)
		c.do("fcntl", unix.SYS_FCNTL, []uintptr{uintptr(client), unix.F_DUPFD, 0}, "fd.num", "0", "evt.arg.cmd", "F_DUPFD", "fd.type", family.typ)
		unix.Close(accepted)
		unix.Close(client)
		unix.Close(server)
	}
	fd := c.do("socket", unix.SYS_SOCKET, []uintptr{unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, 0}, "evt.arg.domain", "AF_UNIX", "fd.type", "unix")
	name := append(binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX), "/mews/none.sock\x00"...)
	c.do("connect", unix.SYS_CONNECT, []uintptr{uintptr(fd), c.bytes(name), uintptr(len(name))}, "fd.name", "/mews/none.sock", "fd.type", "unix")
	unix.Close(fd)
}

func localPort(fd int) string {
	sa, err := unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return strconv.Itoa(sa.Port)
	case *unix.SockaddrInet6:
		return strconv.Itoa(sa.Port)
	}
	return fmt.Sprint(err)
}

func loopbackUp(fd int) error {
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

func (c *caller) privileges() {
	ns, err := os.Open("/proc/self/ns/uts")
	if err == nil {
		c.do("setns", unix.SYS_SETNS, []uintptr{ns.Fd(), unix.CLONE_NEWUTS}, "evt.arg.nstype", "CLONE_NEWUTS", "fd.num", strconv.Itoa(int(ns.Fd())))
		ns.Close()
	}
	c.do("ptrace", unix.SYS_PTRACE, []uintptr{unix.PTRACE_ATTACH, 0}, "evt.arg.request", "PTRACE_ATTACH")
	c.do("bpf", unix.SYS_BPF, []uintptr{unix.BPF_OBJ_GET, 0, 0}, "evt.arg.cmd", "BPF_OBJ_GET")
	c.do("init_module", unix.SYS_INIT_MODULE, []uintptr{0, 0, c.text("p=2")}, "evt.arg.uargs", "p=2")
	c.do("delete_module", unix.SYS_DELETE_MODULE, []uintptr{c.text("mews_none"), unix.O_NONBLOCK}, "evt.arg.name", "mews_none", "evt.arg.flags", "O_NONBLOCK")
	c.do("mount", unix.SYS_MOUNT, []uintptr{c.text("mews"), c.text("/mews/none"), c.text("tmpfs"), unix.MS_NOSUID}, "evt.arg.dev", "mews", "evt.arg.dir", "/mews/none", "evt.arg.type", "tmpfs", "evt.arg.flags", "NOSUID")
	c.do("umount2", unix.SYS_UMOUNT2, []uintptr{c.text("/mews/none"), unix.MNT_DETACH}, "evt.arg.name", "/mews/none", "evt.arg.flags", "DETACH")
	c.do("setuid", unix.SYS_SETUID, []uintptr{0}, "evt.arg.uid", "0")
	c.do("setresuid", unix.SYS_SETRESUID, []uintptr{0, 0, 0}, "evt.arg.euid", "0")
}
