// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Endpoint is one end of a socket, or the address of one.
type Endpoint struct {
	Family int            // AF_UNIX, AF_INET, AF_INET6, or one that has no known form
	IP     netip.AddrPort // of AF_INET and AF_INET6
	Path   string         // of AF_UNIX; an abstract name begins with a @; "" if it has none
}

// Socket is what the kernel knows of a socket when the system call returns.
type Socket struct {
	Type     int // SOCK_STREAM, ...
	Protocol int // IPPROTO_TCP, ...
	Local    Endpoint
	Remote   Endpoint // without an IP where it is not connected; a unix socket has one name, here and there
}

// endpoints is struct endpoints of bpf/event.h.
type endpoints struct {
	Family, Type, Protocol, LocalPort, RemotePort, PathLen uint16
	Local, Remote                                          [16]byte
	Path                                                   [108]byte
}

// decodeSocket reads the section of a socket; it is nil where there is none.
func decodeSocket(b []byte) (*Socket, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var e endpoints
	if len(b) != binary.Size(e) {
		return nil, badRecord("a socket of %d bytes, not %d", len(b), binary.Size(e))
	}
	if _, err := binary.Decode(b, binary.NativeEndian, &e); err != nil {
		return nil, badRecord("%v", err)
	}
	if int(e.PathLen) > len(e.Path) {
		return nil, badRecord("the name of a socket has %d of %d bytes", e.PathLen, len(e.Path))
	}
	family := int(e.Family)
	s := &Socket{
		Type: int(e.Type), Protocol: int(e.Protocol),
		Local: Endpoint{Family: family, IP: addrPort(family, e.Local, e.LocalPort)}, Remote: Endpoint{Family: family},
	}
	if e.RemotePort != 0 {
		s.Remote.IP = addrPort(family, e.Remote, e.RemotePort)
	}
	if family == unix.AF_UNIX {
		s.Local.Path = unixPath(e.Path[:e.PathLen])
		s.Remote.Path = s.Local.Path
	}
	return s, nil
}

func addrPort(family int, ip [16]byte, port uint16) netip.AddrPort {
	switch family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[:4])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(ip), port)
	}
	return netip.AddrPort{}
}

// unixPath is the name of a unix socket: a file up to its NUL, or an abstract name, which begins with a NUL and may hold more.
func unixPath(b []byte) string {
	if len(b) > 1 && b[0] == 0 {
		return "@" + unix.ByteSliceToString(b[1:])
	}
	return unix.ByteSliceToString(b)
}

// ParseAddress reads a struct sockaddr as a process gave it, which may be anything. It is nil where it is too short for its
// family.
func ParseAddress(b []byte) *Endpoint {
	if len(b) < 2 {
		return nil
	}
	e := &Endpoint{Family: int(binary.NativeEndian.Uint16(b))}
	var ip [16]byte
	switch e.Family {
	case unix.AF_UNIX:
		e.Path = unixPath(b[2:])
	case unix.AF_INET: // port, address
		if len(b) < 8 {
			return nil
		}
		copy(ip[:4], b[4:])
		e.IP = addrPort(e.Family, ip, binary.BigEndian.Uint16(b[2:]))
	case unix.AF_INET6: // port, flow, address
		if len(b) < 24 {
			return nil
		}
		copy(ip[:], b[8:])
		e.IP = addrPort(e.Family, ip, binary.BigEndian.Uint16(b[2:]))
	}
	return e
}
