// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"fmt"
	"net/netip"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is a system call of the vocabulary.
type call struct {
	args     map[string]kind
	required []string
	do       func(values) (int, error)
}

var (
	text      = kind{what: "text", text: true}
	number    = kind{what: "number"}
	fd        = kind{what: "descriptor or binding", flags: map[string]uint64{"AT_FDCWD": atCwd}}
	address   = kind{what: "address", addr: true}
	openFlags = kind{what: "flag of open", flags: map[string]uint64{
		"O_RDONLY": unix.O_RDONLY, "O_WRONLY": unix.O_WRONLY, "O_RDWR": unix.O_RDWR, "O_APPEND": unix.O_APPEND, "O_ASYNC": unix.O_ASYNC,
		"O_CLOEXEC": unix.O_CLOEXEC, "O_CREAT": unix.O_CREAT, "O_DIRECT": unix.O_DIRECT, "O_DIRECTORY": unix.O_DIRECTORY, "O_DSYNC": unix.O_DSYNC,
		"O_EXCL": unix.O_EXCL, "O_LARGEFILE": unix.O_LARGEFILE, "O_NOATIME": unix.O_NOATIME, "O_NOCTTY": unix.O_NOCTTY, "O_NOFOLLOW": unix.O_NOFOLLOW,
		"O_NONBLOCK": unix.O_NONBLOCK, "O_NDELAY": unix.O_NDELAY, "O_PATH": unix.O_PATH, "O_SYNC": unix.O_SYNC, "O_TMPFILE": unix.O_TMPFILE, "O_TRUNC": unix.O_TRUNC,
	}}
	modes = kind{what: "mode", flags: map[string]uint64{
		"S_IRWXU": unix.S_IRWXU, "S_IRUSR": unix.S_IRUSR, "S_IWUSR": unix.S_IWUSR, "S_IXUSR": unix.S_IXUSR,
		"S_IRWXG": unix.S_IRWXG, "S_IRGRP": unix.S_IRGRP, "S_IWGRP": unix.S_IWGRP, "S_IXGRP": unix.S_IXGRP,
		"S_IRWXO": unix.S_IRWXO, "S_IROTH": unix.S_IROTH, "S_IWOTH": unix.S_IWOTH, "S_IXOTH": unix.S_IXOTH,
		"S_ISUID": unix.S_ISUID, "S_ISGID": unix.S_ISGID, "S_ISVTX": unix.S_ISVTX,
	}}
	resolveFlags = kind{what: "flag of resolve", flags: map[string]uint64{
		"RESOLVE_BENEATH": unix.RESOLVE_BENEATH, "RESOLVE_IN_ROOT": unix.RESOLVE_IN_ROOT, "RESOLVE_NO_MAGICLINKS": unix.RESOLVE_NO_MAGICLINKS,
		"RESOLVE_NO_SYMLINKS": unix.RESOLVE_NO_SYMLINKS, "RESOLVE_NO_XDEV": unix.RESOLVE_NO_XDEV, "RESOLVE_CACHED": 0x20,
	}}
	linkFlags   = kind{what: "flag of linkat", flags: map[string]uint64{"AT_EMPTY_PATH": unix.AT_EMPTY_PATH, "AT_SYMLINK_FOLLOW": unix.AT_SYMLINK_FOLLOW}}
	moduleFlags = kind{what: "flag of finit_module", flags: map[string]uint64{
		"MODULE_INIT_IGNORE_MODVERSIONS": unix.MODULE_INIT_IGNORE_MODVERSIONS, "MODULE_INIT_IGNORE_VERMAGIC": unix.MODULE_INIT_IGNORE_VERMAGIC,
		"MODULE_INIT_COMPRESSED_FILE": 4,
	}}
	dupFlags = kind{what: "flag of dup3", flags: map[string]uint64{"O_CLOEXEC": unix.O_CLOEXEC}}
	domains  = kind{what: "domain", flags: map[string]uint64{
		"AF_UNIX": unix.AF_UNIX, "AF_LOCAL": unix.AF_LOCAL, "AF_INET": unix.AF_INET, "AF_INET6": unix.AF_INET6, "AF_NETLINK": unix.AF_NETLINK, "AF_PACKET": unix.AF_PACKET,
	}}
	types = kind{what: "type of socket", flags: map[string]uint64{
		"SOCK_STREAM": unix.SOCK_STREAM, "SOCK_DGRAM": unix.SOCK_DGRAM, "SOCK_RAW": unix.SOCK_RAW, "SOCK_SEQPACKET": unix.SOCK_SEQPACKET,
		"SOCK_RDM": unix.SOCK_RDM, "SOCK_NONBLOCK": unix.SOCK_NONBLOCK, "SOCK_CLOEXEC": unix.SOCK_CLOEXEC,
	}}
	protocols = kind{what: "protocol", flags: map[string]uint64{
		"IPPROTO_IP": unix.IPPROTO_IP, "IPPROTO_ICMP": unix.IPPROTO_ICMP, "IPPROTO_TCP": unix.IPPROTO_TCP, "IPPROTO_UDP": unix.IPPROTO_UDP,
		"IPPROTO_ICMPV6": unix.IPPROTO_ICMPV6, "IPPROTO_RAW": unix.IPPROTO_RAW,
	}}
	sendFlags = kind{what: "flag of sendto", flags: map[string]uint64{
		"MSG_CONFIRM": unix.MSG_CONFIRM, "MSG_DONTROUTE": unix.MSG_DONTROUTE, "MSG_DONTWAIT": unix.MSG_DONTWAIT, "MSG_EOR": unix.MSG_EOR,
		"MSG_MORE": unix.MSG_MORE, "MSG_NOSIGNAL": unix.MSG_NOSIGNAL, "MSG_OOB": unix.MSG_OOB,
	}}
	signals = kind{what: "signal", flags: map[string]uint64{
		"SIGHUP": 1, "SIGINT": 2, "SIGQUIT": 3, "SIGKILL": 9, "SIGUSR1": 10, "SIGUSR2": 12, "SIGPIPE": 13, "SIGALRM": 14, "SIGTERM": 15, "SIGCONT": 18, "SIGSTOP": 19,
	}}
)

// atCwd is AT_FDCWD, as what a number becomes.
const atCwd = ^uint64(99)

// calls are all of them, each with upstream's names of the arguments.
var calls map[string]call

func init() {
	open := map[string]kind{"pathname": text, "flags": openFlags, "mode": modes}
	openat := map[string]kind{"dirFd": fd, "pathname": text, "flags": openFlags, "mode": modes}
	calls = map[string]call{
		"write": {map[string]kind{"fd": fd, "buffer": text, "len": number}, []string{"fd"}, func(v values) (int, error) {
			return unix.Write(v.fd("fd"), v.buffer("buffer"))
		}},
		"read": {map[string]kind{"fd": fd, "buffer": text, "len": number}, []string{"fd"}, func(v values) (int, error) {
			return unix.Read(v.fd("fd"), make([]byte, min(max(v.uint("len"), uint64(len(v.text("buffer")))), maxBuffer)))
		}},
		"open": {open, []string{"pathname", "flags"}, func(v values) (int, error) {
			return legacyOpen(v.text("pathname"), int(v.uint("flags")), uint32(v.uint("mode")))
		}},
		"openat": {openat, []string{"pathname", "flags"}, func(v values) (int, error) {
			return unix.Openat(v.fd("dirFd"), v.text("pathname"), int(v.uint("flags")), uint32(v.uint("mode")))
		}},
		"openat2": {map[string]kind{"dirFd": fd, "pathname": text, "how.flags": openFlags, "how.mode": modes, "how.resolve": resolveFlags}, []string{"pathname"},
			func(v values) (int, error) {
				return unix.Openat2(v.fd("dirFd"), v.text("pathname"), &unix.OpenHow{Flags: v.uint("how.flags"), Mode: v.uint("how.mode"), Resolve: v.uint("how.resolve")})
			}},
		"symlink": {map[string]kind{"target": text, "linkPath": text}, []string{"target", "linkPath"}, func(v values) (int, error) {
			return 0, legacySymlink(v.text("target"), v.text("linkPath"))
		}},
		"symlinkat": {map[string]kind{"target": text, "newDirFd": fd, "linkPath": text}, []string{"target", "linkPath"}, func(v values) (int, error) {
			return 0, unix.Symlinkat(v.text("target"), v.fd("newDirFd"), v.text("linkPath"))
		}},
		"link": {map[string]kind{"oldPath": text, "newPath": text}, []string{"oldPath", "newPath"}, func(v values) (int, error) {
			return 0, legacyLink(v.text("oldPath"), v.text("newPath"))
		}},
		"linkat": {map[string]kind{"oldDirFd": fd, "oldPath": text, "newDirFd": fd, "newPath": text, "flags": linkFlags}, []string{"oldPath", "newPath"},
			func(v values) (int, error) {
				return 0, unix.Linkat(v.fd("oldDirFd"), v.text("oldPath"), v.fd("newDirFd"), v.text("newPath"), int(v.uint("flags")))
			}},
		"init_module": {map[string]kind{"moduleImage": text, "paramValues": text}, []string{"moduleImage"}, func(v values) (int, error) {
			return 0, unix.InitModule([]byte(v.text("moduleImage")), v.text("paramValues"))
		}},
		"finit_module": {map[string]kind{"fd": fd, "paramValues": text, "flags": moduleFlags}, []string{"fd"}, func(v values) (int, error) {
			return 0, unix.FinitModule(v.fd("fd"), v.text("paramValues"), int(v.uint("flags")))
		}},
		"dup": {map[string]kind{"oldFd": fd}, []string{"oldFd"}, func(v values) (int, error) { return unix.Dup(v.fd("oldFd")) }},
		"dup2": {map[string]kind{"oldFd": fd, "newFd": fd}, []string{"oldFd", "newFd"}, func(v values) (int, error) {
			return legacyDup2(v.fd("oldFd"), v.fd("newFd"))
		}},
		"dup3": {map[string]kind{"oldFd": fd, "newFd": fd, "flags": dupFlags}, []string{"oldFd", "newFd"}, func(v values) (int, error) {
			return v.fd("newFd"), unix.Dup3(v.fd("oldFd"), v.fd("newFd"), int(v.uint("flags")))
		}},
		"connect": {map[string]kind{"fd": fd, "address": address}, []string{"fd", "address"}, func(v values) (int, error) {
			a, err := sockaddr(v.text("address"))
			if err != nil {
				return 0, err
			}
			return 0, unix.Connect(v.fd("fd"), a)
		}},
		"socket": {map[string]kind{"domain": domains, "type": types, "protocol": protocols}, []string{"domain", "type", "protocol"}, func(v values) (int, error) {
			return unix.Socket(int(v.uint("domain")), int(v.uint("type")), int(v.uint("protocol")))
		}},
		"sendto": {map[string]kind{"fd": fd, "buf": text, "len": number, "flags": sendFlags, "address": address}, []string{"fd", "buf"}, func(v values) (int, error) {
			a, err := sockaddr(v.text("address"))
			if err != nil {
				return 0, err
			}
			return 0, unix.Sendto(v.fd("fd"), v.buffer("buf"), int(v.uint("flags")), a)
		}},
		"kill": {map[string]kind{"pid": number, "sig": signals}, []string{"pid", "sig"}, func(v values) (int, error) {
			return 0, unix.Kill(int(v.uint("pid")), unix.Signal(v.uint("sig")))
		}},
	}
}

// sockaddr reads unix://PATH, ADDRESS:PORT or [ADDRESS]:PORT.
func sockaddr(text string) (unix.Sockaddr, error) {
	if path, ok := strings.CutPrefix(text, "unix://"); ok {
		if len(path) == 0 || len(path) >= int(unsafe.Sizeof(unix.RawSockaddrUnix{}))-2 {
			return nil, fmt.Errorf("the address %q is no path of a socket", text)
		}
		return &unix.SockaddrUnix{Name: path}, nil
	}
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		return nil, fmt.Errorf("the address %q is none of unix://PATH, ADDRESS:PORT and [ADDRESS]:PORT", text)
	}
	if ap.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}, nil
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}, nil
}
