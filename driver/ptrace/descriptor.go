// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

// describe tells what a descriptor of a stopped thread stands for: the kernel's word, whatever the name was that it was
// opened by. A descriptor that is none leaves the event as it is.
func describe(s status, fd int, ev *modern.Event) error {
	if fd < 0 {
		return nil
	}
	var st unix.Stat_t
	if unix.Stat(procPath(s.tid, "fd", strconv.Itoa(fd)), &st) != nil {
		return nil
	}
	ev.Mode = st.Mode
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		ev.Path = linkOf(s.tid, "fd", strconv.Itoa(fd))
		return nil
	}
	own, err := duplicate(s.pid, fd)
	if err != nil {
		return err
	}
	defer unix.Close(own)
	ev.Sock, err = socketOf(own)
	return err
}

// duplicate takes a descriptor of another process. It takes a kernel from 5.6 on.
func duplicate(pid, fd int) (int, error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(process)
	return unix.PidfdGetfd(process, fd, 0)
}

// socketOf tells both ends of a socket, in the words of the probe.
func socketOf(fd int) (*modern.Socket, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, err
	}
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return nil, err
	}
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return nil, err
	}
	s := &modern.Socket{
		Type: kind, Protocol: protocol, Local: modern.Endpoint{Family: family}, Remote: modern.Endpoint{Family: family},
	}
	switch family {
	case unix.AF_INET, unix.AF_INET6, unix.AF_UNIX:
	default:
		return s, nil
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	setEnd(&s.Local, local)
	remote, err := unix.Getpeername(fd)
	switch {
	case errors.Is(err, unix.ENOTCONN):
	case err != nil:
		return nil, err
	default:
		setEnd(&s.Remote, remote)
	}
	if family == unix.AF_UNIX { // of both, the one that has a name
		if s.Local.Path == "" {
			s.Local.Path = s.Remote.Path
		}
		s.Remote.Path = s.Local.Path
	}
	return s, nil
}

func setEnd(e *modern.Endpoint, addr unix.Sockaddr) {
	switch a := addr.(type) {
	case *unix.SockaddrInet4:
		e.IP = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		e.IP = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	case *unix.SockaddrUnix:
		if a.Name != "@" { // so x/sys calls a socket without a name
			e.Path = a.Name
		}
	}
}
