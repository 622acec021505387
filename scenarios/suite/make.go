// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// create makes the resource and puts what can be bound to it into env. What must be undone, clean does; the rest ends
// with the process.
func (r Resource) create(env map[string]string) (clean func(), err error) {
	put := func(field string, number int) { env[r.Name+"."+field] = strconv.Itoa(number) }
	var n int
	switch r.Type {
	case "clientServer":
		client, server, path, err := r.connect()
		put("client.fd", client)
		put("server.fd", server)
		if path == "" {
			return nil, err
		}
		return func() { _ = os.Remove(path) }, err
	case "process":
		p, err := r.Process.prepare(context.Background(), roleWait)
		if err != nil {
			return nil, err
		}
		in, err := p.cmd.StdinPipe()
		if err == nil {
			err = p.cmd.Start()
		}
		if err != nil {
			p.remove()
			return nil, err
		}
		put("pid", p.cmd.Process.Pid)
		return func() {
			in.Close()
			_ = p.cmd.Wait() // a step may have killed it
			p.remove()
		}, nil
	}
	switch r.Subtype {
	case "file":
		if n, err = unix.Open(r.Path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644); errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
			n, err = unix.Open(r.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
	case "directory":
		path := r.Path
		if path == "" {
			path = "/tmp"
		}
		if err := os.MkdirAll(path, 0o755); err != nil {
			return nil, err
		}
		n, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	case "pipe":
		var ends [2]int
		err := unix.Pipe2(ends[:], unix.O_CLOEXEC)
		put("readfd", ends[0])
		put("writefd", ends[1])
		return nil, err
	case "event":
		n, err = unix.Eventfd(0, unix.EFD_CLOEXEC)
	case "signalfd":
		n, err = unix.Signalfd(-1, new(unix.Sigset_t), unix.SFD_CLOEXEC)
	case "eventpoll":
		n, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	case "inotify":
		n, err = unix.InotifyInit1(unix.IN_CLOEXEC)
	case "memfd":
		n, err = unix.MemfdCreate(r.Name, unix.MFD_CLOEXEC)
	default:
		return nil, fmt.Errorf("unknown subtype %q", r.Subtype)
	}
	put("fd", n)
	return nil, err
}

// connect makes a server and a client; one of a protocol with connections is connected.
func (r Resource) connect() (client, server int, path string, err error) {
	domain, kind := unix.AF_INET, unix.SOCK_STREAM
	if strings.HasSuffix(r.Proto, "6") {
		domain = unix.AF_INET6
	}
	if strings.HasPrefix(r.Proto, "udp") {
		kind = unix.SOCK_DGRAM
	}
	target := r.Address
	if r.Proto == "unix" {
		domain = unix.AF_UNIX
		path = fmt.Sprintf("/tmp/clientserver%d-%s.sock", os.Getpid(), r.Name)
		target = "unix://" + path
	}
	at, err := sockaddr(target)
	if err != nil {
		return -1, -1, "", err
	}
	if server, err = unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, -1, "", fmt.Errorf("make the server's socket: %w", err)
	}
	if err = unix.Bind(server, at); errors.Is(err, unix.EADDRNOTAVAIL) {
		if err = own(r.Address); err == nil {
			err = unix.Bind(server, at)
		}
	}
	if err != nil {
		return -1, -1, "", fmt.Errorf("bind the server to %s: %w", target, err)
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.Listen(server, 16); err != nil {
			return -1, -1, path, fmt.Errorf("listen on %s: %w", target, err)
		}
	}
	if client, err = unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, server, path, fmt.Errorf("make the client's socket: %w", err)
	}
	if kind == unix.SOCK_STREAM {
		err = unix.Connect(client, at)
	}
	return client, server, path, err
}

// own gives an address of IPv4 to the loopback link, as an alias.
func own(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !ap.Addr().Is4() {
		return fmt.Errorf("%s is no address of this guest, which has ::1 alone of IPv6", ap.Addr())
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq("lo:suite")
	if err != nil {
		return err
	}
	four := ap.Addr().As4()
	if err := req.SetInet4Addr(four[:]); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, unix.SIOCSIFADDR, req); err != nil {
		return fmt.Errorf("give %s to the loopback link: %w", ap.Addr(), err)
	}
	return nil
}

const passwd = "/etc/passwd"

// as is the identity of a user. One that is not there is made, and goes with the guest.
func as(name string) (*syscall.SysProcAttr, error) {
	if strings.ContainsAny(name, ":\n") || name == "" {
		return nil, fmt.Errorf("%q is no name of a user", name)
	}
	uid := uint32(1000)
	f, err := os.OpenFile(passwd, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		fields := strings.Split(in.Text(), ":")
		if len(fields) < 4 {
			continue
		}
		n, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			continue
		}
		if fields[0] == name {
			gid, err := strconv.ParseUint(fields[3], 10, 32)
			return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(n), Gid: uint32(gid)}}, err
		}
		if n >= uint64(uid) && n < 60000 {
			uid = uint32(n) + 1
		}
	}
	if name == "daemon" {
		uid = 1 // on every Linux
	}
	if _, err := fmt.Fprintf(f, "%s:x:%d:%d::/:/usr/sbin/nologin\n", name, uid, uid); err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}, nil
}
