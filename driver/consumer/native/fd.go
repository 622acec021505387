// SPDX-License-Identifier: Apache-2.0

package native

import (
	"net/netip"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/scenarios/rules"
)

// fd is the descriptor that the event is about: what was opened, or what the first argument or the result stands for.
func (e *event) fd(name string) (rules.Value, bool) {
	switch {
	case e.Kind == modern.Open:
		return e.openedFD(name)
	case e.Kind != modern.Call:
		return rules.Value{}, false
	case name == "fd.num":
		n, ok := e.descriptor()
		return rules.NumberValue(n), ok
	case e.Sock != nil:
		return e.socketFD(name)
	case e.Path == "":
		return rules.Value{}, false
	}
	return fileField(name, e.Path, "")
}

func (e *event) openedFD(name string) (rules.Value, bool) {
	kind := "file" // libsinsp goes by the flag, not by what the file turned out to be
	if e.Flags&unix.O_DIRECTORY != 0 {
		kind = "directory"
	}
	if e.Ret < 0 {
		kind = ""
	}
	switch name {
	case "fd.nameraw":
		return nonEmpty(e.Name, e.Name)
	case "fd.num":
		return rules.NumberValue(max(e.Ret, -1)), true
	case "fd.typechar", "fd.filename":
		if e.Ret < 0 { // libsinsp says f of whatever was not opened, and gives it a directory and no file name
			return rules.StringValue("f"), name == "fd.typechar"
		}
	}
	return fileField(name, e.absolute(e.Name, e.Dir), kind)
}

// fileField is a field of the file with a name, "" if that is not known; kind "" means that it is not a descriptor.
func fileField(field, name, kind string) (rules.Value, bool) {
	switch field {
	case "fd.name":
		return nonEmpty(name, name)
	case "fd.directory":
		return nonEmpty(name, path.Dir(name))
	case "fd.filename":
		return nonEmpty(name, path.Base(name))
	case "fd.type":
		return nonEmpty(kind, kind)
	case "fd.typechar":
		if kind == "" {
			return rules.Value{}, false
		}
		return str(kind[:1])
	}
	return rules.Value{}, false
}

// absolute is a name given by a caller, made absolute and clean, or "" if nobody could tell from where a relative one starts.
func (e *event) absolute(name, dir string) string {
	switch {
	case name == "":
		return ""
	case path.IsAbs(name):
		dir = "/"
	case !path.IsAbs(dir):
		return ""
	}
	return e.scratch.clean(dir, name)
}

// descriptor is the number of the descriptor that a call is about.
func (e *event) descriptor() (int64, bool) {
	switch e.Syscall {
	case "socket", "accept", "accept4", "dup", "dup2", "dup3", "fcntl", "memfd_create":
		return max(e.Ret, -1), true
	case "connect", "bind", "fchmod", "setns", "finit_module", "write", "writev", "pwrite", "pwritev":
		return int64(int32(e.Raw[0])), true
	}
	return 0, false
}

// ends are the local and the remote end of the event's socket. What connect was given counts where the kernel has not kept
// it, as of a connection that was refused.
func (e *event) ends() (local, remote netip.AddrPort) {
	local, remote = e.Sock.Local.IP, e.Sock.Remote.IP
	if e.Addr != nil && e.Addr.Family == e.Sock.Local.Family {
		switch {
		case e.Syscall == "connect" && !remote.IsValid():
			remote = e.Addr.IP
		case e.Syscall == "bind" && e.Ret < 0:
			local = e.Addr.IP
		}
	}
	return local, remote
}

func (e *event) socketFD(name string) (rules.Value, bool) {
	family := e.Sock.Local.Family
	if family == unix.AF_UNIX {
		return e.unixFD(name)
	}
	if family != unix.AF_INET && family != unix.AF_INET6 {
		return rules.Value{}, false
	}
	local, remote := e.ends()
	client, server := local, remote
	if e.Syscall == "accept" || e.Syscall == "accept4" {
		client, server = remote, local
	}
	if !remote.IsValid() { // it waits for clients, or for its first word
		client, server = netip.AddrPort{}, local
	}
	switch name {
	case "fd.type":
		if family == unix.AF_INET {
			return str("ipv4")
		}
		return str("ipv6")
	case "fd.typechar":
		if family == unix.AF_INET {
			return str("4")
		}
		return str("6")
	case "fd.sockfamily":
		return str("ip")
	case "fd.l4proto":
		return protocol(e.Sock)
	case "fd.name":
		switch {
		case client.IsValid() && server.IsValid():
			return str(e.scratch.join(e.plain(client), []string{e.plain(server)}, "->"))
		case server.IsValid() && server.Port() != 0:
			return str(e.plain(server))
		}
	case "fd.cip", "fd.cport", "fd.cnet", "fd.cip.name":
		return e.end(name[4:], client)
	case "fd.sip", "fd.sport", "fd.snet", "fd.sip.name":
		return e.end(name[4:], server)
	case "fd.lip", "fd.lport", "fd.lnet", "fd.lip.name":
		return e.end(name[4:], local)
	case "fd.rip", "fd.rport", "fd.rnet", "fd.rip.name":
		return e.end(name[4:], remote)
	}
	return rules.Value{}, false
}

// plain is address:port as libsinsp prints it, an IPv6 address without brackets.
func (e *event) plain(a netip.AddrPort) string {
	s := &e.scratch
	start := len(s.text)
	s.text = append(a.Addr().AppendTo(s.text), ':')
	s.text = strconv.AppendUint(s.text, uint64(a.Port()), 10)
	return s.since(start)
}

// end is the address, the port or the name of one end of a connection.
func (e *event) end(what string, a netip.AddrPort) (rules.Value, bool) {
	switch {
	case !a.IsValid():
		return rules.Value{}, false
	case what == "ip.name":
		name := e.hosts[a.Addr().Unmap()]
		return nonEmpty(name, name)
	case what == "port":
		return number(int(a.Port()))
	}
	return rules.AddressValue(a.Addr()), true
}

func protocol(s *modern.Socket) (rules.Value, bool) {
	switch s.Protocol {
	case unix.IPPROTO_TCP:
		return str("tcp")
	case unix.IPPROTO_UDP:
		return str("udp")
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return str("icmp")
	}
	if s.Type == unix.SOCK_RAW {
		return str("raw")
	}
	return rules.Value{}, false
}

func (e *event) unixFD(name string) (rules.Value, bool) {
	file := e.Sock.Local.Path
	if file == "" && e.Addr != nil && e.Addr.Family == unix.AF_UNIX {
		file = e.Addr.Path
	}
	switch name {
	case "fd.name":
		return nonEmpty(file, file)
	case "fd.type", "fd.sockfamily":
		return str("unix")
	case "fd.typechar":
		return str("u")
	}
	return rules.Value{}, false
}

// fs is what a system call does to the tree of files.
func (e *event) fs(name string) (rules.Value, bool) {
	if e.Kind == modern.Open {
		return e.treeField(name, "fs.path.name", e.Name, e.Dir)
	}
	switch e.Syscall {
	case "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "chmod", "fchmodat", "fchmodat2", "umount2":
		return e.treeField(name, "fs.path.name", e.Name, e.Dir)
	case "fchmod":
		return e.treeField(name, "fs.path.name", e.Path, "")
	case "rename", "renameat", "renameat2", "link", "linkat", "mount":
		if v, ok := e.treeField(name, "fs.path.source", e.Name, e.Dir); ok {
			return v, ok
		}
		return e.treeField(name, "fs.path.target", e.Name2, e.Dir2)
	case "symlink", "symlinkat":
		if v, ok := e.treeField(name, "fs.path.source", e.Name2, e.Dir2); ok {
			return v, ok
		}
		// What it holds is looked up from where the link lies, when somebody does.
		return e.treeField(name, "fs.path.target", e.Name, path.Dir(e.absolute(e.Name2, e.Dir2)))
	}
	return rules.Value{}, false
}

// treeField is the field that has what, or what with raw behind it, as its name.
func (e *event) treeField(name, what, file, dir string) (rules.Value, bool) {
	switch name {
	case what:
		file = e.absolute(file, dir)
		return nonEmpty(file, file)
	case what + "raw":
		return nonEmpty(file, file)
	}
	return rules.Value{}, false
}
