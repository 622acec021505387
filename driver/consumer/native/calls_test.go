// SPDX-License-Identifier: Apache-2.0

package native

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

// callOf is a call of process 60, with its arguments.
func callOf(syscall string, ret int64, raw ...uint64) modern.Event {
	e := modern.Event{Kind: modern.Call, Syscall: syscall, Ret: ret, PID: 60, TID: 61, PPID: 1, VPID: 2, Comm: "cp", UID: 0, GID: 0, Login: 0, TTY: 34816,
		Caps: modern.Caps{Effective: 1 << 21, Permitted: 1<<21 | 1, Inheritable: 1 << 40}}
	copy(e.Raw[:], raw)
	return e
}

func with(e modern.Event, change func(*modern.Event)) modern.Event {
	change(&e)
	return e
}

func twoNames(e modern.Event, name, dir, name2, dir2 string) modern.Event {
	e.Name, e.Dir, e.Name2, e.Dir2 = name, dir, name2, dir2
	return e
}

func ends(local, remote string) *modern.Socket {
	l := netip.MustParseAddrPort(local)
	family := unix.AF_INET
	if l.Addr().Is6() {
		family = unix.AF_INET6
	}
	s := &modern.Socket{Type: unix.SOCK_STREAM, Protocol: unix.IPPROTO_TCP, Local: modern.Endpoint{Family: family, IP: l}, Remote: modern.Endpoint{Family: family}}
	if remote != "" {
		s.Remote.IP = netip.MustParseAddrPort(remote)
	}
	return s
}

const cwdFD = 0xffffffffffffff9c // AT_FDCWD as a register holds it

// callTests hold events of each system call, with what they must look like to a rule. A field that must be absent is "".
var callTests = []struct {
	name  string
	event modern.Event
	want  map[string]string
}{
	{"connect", with(callOf("connect", -int64(unix.EINPROGRESS), 5), func(e *modern.Event) {
		e.Sock = ends("10.0.0.2:40000", "10.0.0.1:443")
	}), map[string]string{
		"evt.type": "connect", "evt.res": "EINPROGRESS", "evt.rawres": "-115", "evt.failed": "true", "evt.dir": "<", "evt.arg.res": "EINPROGRESS", "evt.arg.fd": "5",
		"fd.num": "5", "fd.name": "10.0.0.2:40000->10.0.0.1:443", "evt.arg.tuple": "10.0.0.2:40000->10.0.0.1:443", "fd.type": "ipv4", "fd.typechar": "4", "fd.sockfamily": "ip", "fd.l4proto": "tcp",
		"fd.cip": "10.0.0.2", "fd.cport": "40000", "fd.sip": "10.0.0.1", "fd.sport": "443", "fd.lip": "10.0.0.2", "fd.lport": "40000", "fd.rip": "10.0.0.1", "fd.rport": "443",
		"fd.sip.name": "api.example", "fd.rip.name": "api.example", "fd.cip.name": "client.example", "fd.lip.name": "client.example",
		"thread.tid": "61", "thread.cap_effective": "CAP_SYS_ADMIN", "thread.cap_permitted": "CAP_CHOWN CAP_SYS_ADMIN", "thread.cap_inheritable": "CAP_CHECKPOINT_RESTORE",
		"proc.tty": "34816", "user.loginuid": "0", "user.loginname": "root", "user.name": "root", "group.gid": "0", "group.name": "root", "proc.cwd": "/home/u/",
	}},
	{"refused connect", with(callOf("connect", -int64(unix.ECONNREFUSED), 5), func(e *modern.Event) {
		e.Sock = ends("[::1]:40000", "")
		e.Addr = &modern.Endpoint{Family: unix.AF_INET6, IP: netip.MustParseAddrPort("[::1]:22")}
	}), map[string]string{"fd.type": "ipv6", "fd.typechar": "6", "fd.name": "::1:40000->::1:22", "fd.sip": "::1", "fd.sip.name": "localhost", "fd.sport": "22", "evt.arg.addr": "::1:22"}},
	{"unix connect", with(callOf("connect", 0, 5), func(e *modern.Event) {
		e.Sock = &modern.Socket{Type: unix.SOCK_STREAM, Local: modern.Endpoint{Family: unix.AF_UNIX}}
		e.Addr = &modern.Endpoint{Family: unix.AF_UNIX, Path: "/run/docker.sock"}
	}), map[string]string{"fd.name": "/run/docker.sock", "fd.type": "unix", "fd.typechar": "u", "fd.sockfamily": "unix", "fd.sip": "", "evt.arg.addr": "/run/docker.sock"}},
	{"accept", with(callOf("accept4", 6, 4), func(e *modern.Event) { e.Sock = ends("10.0.0.2:80", "10.0.0.9:5000") }),
		map[string]string{"fd.num": "6", "fd.name": "10.0.0.9:5000->10.0.0.2:80", "fd.cip": "10.0.0.9", "fd.sport": "80", "fd.lport": "80", "fd.rport": "5000", "fd.cip.name": ""}},
	{"bind", with(callOf("bind", 0, 4), func(e *modern.Event) { e.Sock = ends("0.0.0.0:8080", "") }),
		map[string]string{"fd.name": "0.0.0.0:8080", "fd.sip": "0.0.0.0", "fd.sport": "8080", "fd.cip": "", "fd.rip": ""}},
	{"packet socket", with(callOf("socket", 7, unix.AF_PACKET, unix.SOCK_RAW, 0x300), func(e *modern.Event) {
		e.Sock = &modern.Socket{Type: unix.SOCK_RAW, Local: modern.Endpoint{Family: unix.AF_PACKET}}
	}), map[string]string{"evt.arg.domain": "AF_PACKET", "evt.arg.type": "3", "evt.arg.proto": "768", "fd.num": "7", "fd.type": ""}},
	{"dup", with(callOf("dup2", 0, 5, 0), func(e *modern.Event) { e.Sock = ends("10.0.0.2:40000", "10.0.0.1:443") }),
		map[string]string{"evt.rawres": "0", "fd.num": "0", "fd.type": "ipv4", "evt.arg.oldfd": "5", "evt.arg.newfd": "0", "fd.sip": "10.0.0.1"}},
	{"fcntl", callOf("fcntl", 0, 5, unix.F_DUPFD), map[string]string{"evt.arg.cmd": "F_DUPFD", "fd.num": "0", "fd.name": ""}},
	{"symlink", twoNames(callOf("symlinkat", 0, 0, cwdFD), "/etc/shadow", "", "x", "/tmp"), map[string]string{
		"evt.arg.target": "/etc/shadow", "evt.arg.linkdirfd": "AT_FDCWD", "evt.arg.linkpath": "/tmp/x",
		"fs.path.source": "/tmp/x", "fs.path.sourceraw": "x", "fs.path.target": "/etc/shadow", "fs.path.targetraw": "/etc/shadow"}},
	{"link", twoNames(callOf("linkat", 0, cwdFD, 0, 7, 0, unix.AT_SYMLINK_FOLLOW), "shadow", "/etc", "x", "/tmp"), map[string]string{
		"evt.arg.olddir": "AT_FDCWD", "evt.arg.oldpath": "/etc/shadow", "evt.arg.newdir": "7", "evt.arg.newpath": "/tmp/x", "fs.path.source": "/etc/shadow", "fs.path.target": "/tmp/x", "fs.path.name": ""}},
	{"rename", twoNames(callOf("renameat2", 0, cwdFD, 0, 7, 0, unix.RENAME_EXCHANGE), "a", "/", "b", ""), map[string]string{
		"evt.arg.olddirfd": "AT_FDCWD", "evt.arg.newdirfd": "7", "evt.arg.oldpath": "/a", "evt.arg.newpath": "", "evt.arg.flags": "RENAME_EXCHANGE"}},
	{"unlink", with(callOf("unlinkat", 0, cwdFD, 0, unix.AT_REMOVEDIR), func(e *modern.Event) { e.Name = "/var/../x" }), map[string]string{
		"evt.arg.name": "/x", "evt.arg.dirfd": "AT_FDCWD", "evt.arg.flags": "AT_REMOVEDIR", "fs.path.name": "/x", "fs.path.nameraw": "/var/../x"}},
	{"rmdir", with(callOf("rmdir", 0), func(e *modern.Event) { e.Name = "/x" }), map[string]string{"evt.arg.path": "/x"}},
	{"chmod", with(callOf("fchmodat", 0, cwdFD, 0, 0o4755), func(e *modern.Event) { e.Name = "/bin/x" }), map[string]string{
		"evt.arg.filename": "/bin/x", "evt.arg.mode": "S_IXOTH|S_IROTH|S_IXGRP|S_IRGRP|S_IXUSR|S_IWUSR|S_IRUSR|S_ISUID"}},
	{"fchmod", with(callOf("fchmod", 0, 5, 0o600), func(e *modern.Event) { e.Path = "/bin/x" }), map[string]string{
		"fd.name": "/bin/x", "fd.directory": "/bin", "fd.filename": "x", "fs.path.name": "/bin/x", "evt.arg.mode": "S_IWUSR|S_IRUSR"}},
	{"write", with(callOf("pwrite", 3, 5, 0, 9, 100), func(e *modern.Event) { e.Path = "/etc/x" }), map[string]string{
		"fd.name": "/etc/x", "fd.num": "5", "evt.arg.size": "9", "evt.arg.pos": "100", "evt.rawres": "3"}},
	{"mount", with(twoNames(callOf("mount", 0, 0, 0, 0, unix.MS_BIND|unix.MS_REC), "/dev/sda", "", "/mnt", ""), func(e *modern.Event) { e.Extra = "ext4" }), map[string]string{
		"evt.arg.dev": "/dev/sda", "evt.arg.dir": "/mnt", "evt.arg.type": "ext4", "evt.arg.flags": "BIND|REC"}},
	{"unshare", callOf("unshare", 0, unix.CLONE_NEWUSER|unix.CLONE_NEWNS), map[string]string{"evt.arg.flags": "CLONE_NEWNS|CLONE_NEWUSER"}},
	{"setns", callOf("setns", 0, 5, unix.CLONE_NEWNET), map[string]string{"evt.arg.nstype": "CLONE_NEWNET", "fd.num": "5"}},
	{"init_module", with(callOf("init_module", 0, 0, 4096), func(e *modern.Event) { e.Extra = "a=1" }), map[string]string{"evt.arg.length": "4096", "evt.arg.uargs": "a=1"}},
	{"memfd_create", with(callOf("memfd_create", 9, 0, unix.MFD_CLOEXEC), func(e *modern.Event) { e.Name = "x" }), map[string]string{"evt.arg.name": "x", "evt.arg.flags": "MFD_CLOEXEC", "evt.arg.fd": "9"}},
	{"bpf", callOf("bpf", 9, unix.BPF_PROG_LOAD), map[string]string{"evt.arg.cmd": "BPF_PROG_LOAD"}},
	{"ptrace", callOf("ptrace", 0, unix.PTRACE_ATTACH, 42), map[string]string{"evt.arg.request": "PTRACE_ATTACH", "evt.arg.pid": "42"}},
	{"an unknown request", callOf("ptrace", 0, 99999), map[string]string{"evt.arg.request": "99999"}},
	{"setresuid", callOf("setresuid", 0, 0xffffffff, 0, 1000), map[string]string{"evt.arg.ruid": "4294967295", "evt.arg.euid": "0", "evt.arg.suid": "1000"}},
	{"setresgid", callOf("setresgid", 0, 1, 2, 3), map[string]string{"evt.arg.rgid": "1", "evt.arg.egid": "2", "evt.arg.sgid": "3"}},
	{"setuid", callOf("setuid", 0, 5), map[string]string{"evt.arg.uid": "5"}},
	{"setgid", callOf("setgid", 0, 5), map[string]string{"evt.arg.gid": "5"}},
	{"clone3", callOf("clone3", 99, unix.CLONE_VM|unix.CLONE_VFORK), map[string]string{"evt.arg.flags": "CLONE_VM|CLONE_VFORK", "evt.arg.res": "99"}},
	{"openat2", modern.Event{Kind: modern.Open, Syscall: "openat2", PID: 60, PPID: 1, Comm: "cp", Ret: 3, Name: "x", Dir: "/etc", DirFD: unix.AT_FDCWD, Perm: 0o600, Resolve: unix.RESOLVE_BENEATH}, map[string]string{
		"evt.arg.resolve": "RESOLVE_BENEATH", "evt.arg.mode": "S_IWUSR|S_IRUSR", "evt.arg.name": "/etc/x", "fd.type": "file"}},
	{"chdir", with(callOf("chdir", 0), func(e *modern.Event) { e.Dir = "/dev/shm" }), map[string]string{"proc.cwd": "/dev/shm/", "evt.arg.path": "/dev/shm"}},
	{"procexit", modern.Event{Kind: modern.Exit, PID: 60, PPID: 1, Comm: "cp", Ret: 3 << 8}, map[string]string{
		"evt.type": "procexit", "evt.arg.status": "768", "evt.arg.ret": "3", "evt.res": "", "evt.rawres": "", "evt.failed": ""}},
}
