// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Socket makes a socket and closes it again.
type Socket struct {
	Domain string `yaml:"domain,required" json:"domain"` // AF_INET, AF_INET6 or AF_PACKET
	Type   string `yaml:"type,required" json:"type"`     // SOCK_DGRAM, SOCK_RAW or SOCK_STREAM
}

var (
	socketDomains = map[string]uint64{"AF_INET": unix.AF_INET, "AF_INET6": unix.AF_INET6, "AF_PACKET": unix.AF_PACKET}
	socketTypes   = map[string]uint64{"SOCK_DGRAM": unix.SOCK_DGRAM, "SOCK_RAW": unix.SOCK_RAW, "SOCK_STREAM": unix.SOCK_STREAM}
)

// Kind implements [Action].
func (Socket) Kind() string { return "socket" }

// Do implements [Action].
func (a Socket) Do(context.Context) (Detail, error) {
	domain, kind, protocol := int(socketDomains[a.Domain]), int(socketTypes[a.Type]), 0
	if kind == unix.SOCK_RAW && domain != unix.AF_PACKET {
		protocol = unix.IPPROTO_ICMP // a raw socket of IP must name one
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return Detail{FD: -1}, fmt.Errorf("socket %s %s: %w", a.Domain, a.Type, err)
	}
	return Detail{FD: fd}, unix.Close(fd)
}

func (a Socket) check() error {
	_, errD := sum("domain", []string{a.Domain}, socketDomains)
	_, errT := sum("type", []string{a.Type}, socketTypes)
	return errors.Join(errD, errT)
}

func (Socket) needs() []string { return nil }

func (a Socket) fill(sub substitution) (Action, error) { return filled(a, sub) }

// Listen waits for connections by TCP until the acting process ends. Of each it reads all that comes, and then closes it; or
// it sends a file's bytes, and closes it then.
type Listen struct {
	Address string `yaml:"address,required" json:"address"` // 127.0.0.1:443
	Send    string `yaml:"send" json:"send,omitempty"`      // the file; none: nothing is sent
}

// listeners are those of this process: what nobody holds, the collector closes.
var listeners []net.Listener

// Kind implements [Action].
func (Listen) Kind() string { return "listen" }

// Do implements [Action].
func (a Listen) Do(ctx context.Context) (Detail, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", a.Address)
	if err != nil {
		return Detail{FD: -1}, err
	}
	listeners = append(listeners, l)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // it was closed
			}
			go a.answer(c)
		}
	}()
	return Detail{Path: a.Address, FD: -1}, nil
}

// answer does what is to be done with one connection. What the other end makes of it is of no interest.
func (a Listen) answer(c net.Conn) {
	defer c.Close()
	if a.Send == "" {
		_, _ = io.Copy(io.Discard, c)
		return
	}
	f, err := os.Open(a.Send)
	if err != nil {
		return // nothing is sent, which who fetches tells of
	}
	defer f.Close()
	_, _ = io.Copy(c, f)
}

func (a Listen) check() error {
	if a.Send == "" {
		return addressPort(a.Address)
	}
	return errors.Join(addressPort(a.Address), absolute(a.Send))
}

func (Listen) needs() []string { return nil }

func (a Listen) fill(sub substitution) (Action, error) { return filled(a, sub) }

// Connect connects by TCP to where somebody listens, and may make another descriptor of the connection, as a shell is given
// one that works for somebody far away. Both stay open until the acting process ends.
type Connect struct {
	Address string `yaml:"address,required" json:"address"`
	Dup     string `yaml:"dup" json:"dup,omitempty"` // dup2 or dup3: the system call that makes the descriptor Onto
	Onto    int    `yaml:"onto" json:"onto,omitempty"`
}

var dupCalls = []string{"dup2", "dup3"}

// maxDescriptor is the highest that a deed may make by number: below what every process may have, 1024.
const maxDescriptor = 1000

// Kind implements [Action].
func (Connect) Kind() string { return "connect" }

// Do implements [Action].
func (a Connect) Do(context.Context) (Detail, error) {
	d := Detail{Path: a.Address, FD: -1}
	to, err := netip.ParseAddrPort(a.Address)
	if err != nil {
		return d, err
	}
	domain, sa := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	// A socket that blocks, so that the call returns when it is connected and not EINPROGRESS before.
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return d, fmt.Errorf("socket: %w", err)
	}
	if err := unix.Connect(fd, sa); err != nil {
		return d, errors.Join(fmt.Errorf("connect %s: %w", a.Address, err), unix.Close(fd))
	}
	d.FD = fd
	switch a.Dup {
	case "":
		return d, nil
	case "dup2":
		err = sysDup2(fd, a.Onto)
	default:
		err = unix.Dup3(fd, a.Onto, 0)
	}
	if err != nil {
		return d, fmt.Errorf("%s %d %d: %w", a.Dup, fd, a.Onto, err)
	}
	return d, nil
}

func (a Connect) check() error {
	err := addressPort(a.Address)
	switch {
	case a.Dup == "" && a.Onto != 0:
		err = errors.Join(err, errors.New("onto says which descriptor dup makes, and there is no dup"))
	case a.Dup != "":
		err = errors.Join(err, oneOf("dup", a.Dup, dupCalls))
	}
	if a.Onto < 0 || a.Onto > maxDescriptor {
		err = errors.Join(err, fmt.Errorf("onto is %d, which is no descriptor from 0 to %d", a.Onto, maxDescriptor))
	}
	return err
}

func (Connect) needs() []string { return nil }

func (a Connect) fill(sub substitution) (Action, error) { return filled(a, sub) }

// addressPort refuses what is not an IPv4 address that stays in the guest, with a port: deeds have no business on a network.
func addressPort(s string) error {
	if strings.Contains(s, "${") {
		return nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil || !a.Addr().Is4() || a.Port() == 0 {
		return fmt.Errorf("the address %q is not one of IPv4 with a port, as in 127.0.0.1:443", s)
	}
	if !a.Addr().IsLoopback() && !documentation.Contains(a.Addr()) {
		return fmt.Errorf("the address %s is neither the machine's own (127.0.0.0/8) nor one that is nobody's (%s)", a.Addr(), documentation)
	}
	return nil
}

// documentation is TEST-NET-2 of RFC 5737, which nobody has, and which counts as another machine's for every rule.
var documentation = netip.MustParsePrefix("198.51.100.0/24")
