// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/consumer/native"
)

// envBecome tells the process of [Check] to become somebody unusual first, so that no driver is right by a guess.
const envBecome = "MEWS_CHECK_BECOME"

// unusual is a group, and a user who logged in, that nobody is.
const unusual = 4022

// become makes this process somebody unusual, as far as the kernel lets it, and starts it anew: capabilities and the user who
// logged in are told of at an exec. It does not return.
func become(env []string) error {
	// One capability less, and one to inherit.
	if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_TIME, 0, 0, 0); err != nil {
		return fmt.Errorf("give a capability away: %w", err)
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var set [2]unix.CapUserData
	if err := unix.Capget(&head, &set[0]); err != nil {
		return fmt.Errorf("read the capabilities: %w", err)
	}
	set[0].Inheritable |= 1 << unix.CAP_MKNOD
	if err := unix.Capset(&head, &set[0]); err != nil {
		return fmt.Errorf("inherit a capability: %w", err)
	}
	// A kernel without CONFIG_AUDIT has no such file.
	if err := os.WriteFile("/proc/self/loginuid", []byte(strconv.Itoa(unusual)), 0); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("log in: %w", err)
	}
	if err := unix.Setgid(unusual); err != nil {
		return fmt.Errorf("change the group: %w", err)
	}
	return fmt.Errorf("start anew: %w", unix.Exec(selfPath, os.Args, env))
}

// identity is what a driver must tell of this process, as /proc/self has it: the truth that an event is held against.
func identity() (map[string]string, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	status := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		status[key] = strings.Fields(value)
	}
	out := map[string]string{}
	for field, key := range map[string]string{"user.uid": "Uid", "group.gid": "Gid"} { // each real, effective, saved, filesystem
		if len(status[key]) < 2 {
			return nil, fmt.Errorf("/proc/self/status has no %s", key)
		}
		out[field] = status[key][1]
	}
	for field, key := range map[string]string{"thread.cap_effective": "CapEff", "thread.cap_permitted": "CapPrm", "thread.cap_inheritable": "CapInh"} {
		bits, err := strconv.ParseUint(strings.Join(status[key], ""), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("/proc/self/status: %s: %w", key, err)
		}
		out[field] = native.Capabilities(bits)
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &st); err != nil {
		return nil, fmt.Errorf("stat /proc/self/exe: %w", err)
	}
	out["proc.exe_ino"] = strconv.FormatUint(st.Ino, 10)
	out["proc.exe_ino.ctime"] = strconv.FormatInt(st.Ctim.Nano(), 10)
	out["proc.exe_ino.mtime"] = strconv.FormatInt(st.Mtim.Nano(), 10)
	if text, err := os.ReadFile("/proc/self/loginuid"); err == nil {
		id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("/proc/self/loginuid: %w", err)
		}
		out["user.loginuid"] = strconv.Itoa(int(int32(id)))
	}
	return out, nil
}

// childStatus is what the child of [Check] exits with.
const childStatus = 7

// fork makes a child that exits at once, and returns what must be seen of the two.
func fork() ([]call, error) {
	r, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return nil, fmt.Errorf("clone: %w", errno)
	}
	if r == 0 { // nothing of Go's runtime may run here
		for {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, childStatus, 0, 0)
		}
	}
	var status unix.WaitStatus
	for {
		if _, err := unix.Wait4(int(r), &status, 0, nil); err == nil {
			break
		} else if err != unix.EINTR {
			return nil, fmt.Errorf("wait for a child: %w", err)
		}
	}
	if status.ExitStatus() != childStatus {
		return nil, fmt.Errorf("a child ended with %#x", int(status))
	}
	parent, child := strconv.Itoa(os.Getpid()), strconv.Itoa(int(r))
	return []call{
		{Type: "clone", Fields: map[string]string{"proc.pid": parent, "proc.ppid": strconv.Itoa(os.Getppid()), "evt.rawres": child}},
		{Type: "clone", Fields: map[string]string{"proc.pid": child, "proc.ppid": parent, "evt.rawres": "0"}},
		{Type: "procexit", Fields: map[string]string{"proc.pid": child, "proc.ppid": parent, "evt.arg.ret": strconv.Itoa(childStatus)}},
	}, nil
}
