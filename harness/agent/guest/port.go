// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/harness/agent"
)

// findPort is the device node of the virtio-serial port named [agent.Port]. The name comes in a message from
// the device after the port was made: the kernel announces it with an event, which is waited for.
func findPort(deadline time.Duration) (string, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return "", fmt.Errorf("listen to the kernel's device events: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		return "", fmt.Errorf("listen to the kernel's device events: %w", err)
	}
	end := time.Now().Add(deadline)
	event := make([]byte, 8<<10)
	for {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return "", err
		}
		for _, n := range names {
			if name, err := os.ReadFile(n); err == nil && strings.TrimSpace(string(name)) == agent.Port {
				return filepath.Join("/dev", filepath.Base(filepath.Dir(n))), nil
			}
		}
		left := time.Until(end)
		if left <= 0 {
			return "", fmt.Errorf("no virtio-serial port is named %s (%d ports have a name): are virtio_pci and virtio_console in the initramfs?", agent.Port, len(names))
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return "", err
		}
		if _, err := unix.Read(fd, event); err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			return "", err
		}
	}
}

// portConn is the port as a connection.
type portConn struct{ *os.File }

// openPort opens the port and waits until the host is at its other end: a port whose host is not there reads
// as at its end (drivers/char/virtio_console.c, port_fops_read), and the message that tells of the host comes
// after the one with the port's name. Nothing announces it; the poll below costs microseconds a turn.
func openPort(path string, deadline time.Duration) (net.Conn, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	for end := time.Now().Add(deadline); ; time.Sleep(time.Millisecond) {
		fds := []unix.PollFd{{Events: unix.POLLIN}}
		var pollErr error
		if err := raw.Control(func(fd uintptr) {
			fds[0].Fd = int32(fd)
			_, pollErr = unix.Poll(fds, 0)
		}); err != nil {
			f.Close()
			return nil, err
		}
		switch {
		case pollErr != nil && !errors.Is(pollErr, unix.EINTR):
			f.Close()
			return nil, fmt.Errorf("poll %s: %w", path, pollErr)
		case pollErr == nil && fds[0].Revents&unix.POLLHUP == 0:
			return portConn{f}, nil
		case time.Now().After(end):
			f.Close()
			return nil, fmt.Errorf("%s: the host did not open its end", path)
		}
	}
}

type portAddr string

func (portAddr) Network() string  { return "virtio-serial" }
func (a portAddr) String() string { return string(a) }

func (c portConn) LocalAddr() net.Addr  { return portAddr(c.Name()) }
func (c portConn) RemoteAddr() net.Addr { return portAddr("host") }
