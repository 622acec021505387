// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

// procFileMax bounds what is read of a file of /proc, which a process can make long: as much as the probe's
// record has room for.
const procFileMax = 16 << 10

// procFS reads /proc. A process may end between two reads, so what cannot be read is left out.
type procFS struct{ root fs.FS }

func (f procFS) pids() ([]int, error) {
	entries, err := fs.ReadDir(f.root, ".")
	if err != nil {
		return nil, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "list the processes in /proc: %w", err)
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// process returns what /proc tells of a process, or nil if there is none.
func (f procFS) process(pid int) *Process {
	status, ok := f.read(pid, "status")
	if !ok {
		return nil
	}
	p := &Process{PID: pid, VPID: pid, Login: -1}
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":\t")
		words := strings.Fields(value)
		if len(words) == 0 {
			continue
		}
		switch key {
		case "Name":
			p.Comm = value
		case "PPid":
			p.PPID, _ = strconv.Atoi(words[0])
		case "Uid": // real, effective, saved, of the file system
			p.UID, _ = strconv.Atoi(words[min(1, len(words)-1)])
		case "Gid":
			p.GID, _ = strconv.Atoi(words[min(1, len(words)-1)])
		case "CapEff":
			p.Caps.Effective, _ = strconv.ParseUint(words[0], 16, 64)
		case "CapPrm":
			p.Caps.Permitted, _ = strconv.ParseUint(words[0], 16, 64)
		case "CapInh":
			p.Caps.Inheritable, _ = strconv.ParseUint(words[0], 16, 64)
		case "NSpid": // in each pid namespace, the innermost last
			p.VPID, _ = strconv.Atoi(words[len(words)-1])
		}
	}
	p.ExePath, _ = fs.ReadLink(f.root, f.name(pid, "exe"))
	p.ExePath = strings.TrimSuffix(p.ExePath, " (deleted)")
	if info, err := fs.Stat(f.root, f.name(pid, "exe")); err == nil { // of the file, whatever has become of its name
		p.Inode = inodeOf(info)
	}
	p.CWD, _ = fs.ReadLink(f.root, f.name(pid, "cwd"))
	p.TTY, p.Start = f.stat(pid)
	if login, ok := f.read(pid, "loginuid"); ok {
		if uid, err := strconv.ParseUint(strings.TrimSpace(login), 10, 32); err == nil {
			p.Login = int(int32(uid))
		}
	}
	p.Args = f.strings(pid, "cmdline")
	p.Env = f.strings(pid, "environ")
	p.CgroupPath, p.CgroupV1, _ = f.cgroup(pid)
	return p
}

func inodeOf(info fs.FileInfo) Inode {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Inode{}
	}
	return Inode{Ino: st.Ino, CTime: st.Ctim.Nano(), MTime: st.Mtim.Nano()}
}

// clockTick is what /proc counts in: USER_HZ, which is 100 on every architecture that Linux still has.
const clockTick = time.Second / 100

// stat is the controlling terminal and when the process was forked: words 7 and 22 of the file. The name before them is in
// brackets, and may hold any of them and spaces.
func (f procFS) stat(pid int) (tty int, start time.Duration) {
	stat, _ := f.read(pid, "stat")
	words := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	word := func(n int) int64 {
		if n -= 3; n >= len(words) {
			return 0
		}
		v, _ := strconv.ParseInt(words[n], 10, 64)
		return v
	}
	return int(word(7)), time.Duration(word(22)) * clockTick
}

// cgroup is [CgroupOf] a process.
func (f procFS) cgroup(pid int) (path string, v1, ok bool) {
	text, ok := f.read(pid, "cgroup")
	path, v1 = CgroupOf(text)
	return path, v1, ok && text != ""
}

// CgroupOf reads a /proc/PID/cgroup as the probe reads the kernel: the path of the controller pids where that is in a hierarchy
// of version 1, else the path in the default hierarchy, which is the one numbered 0.
func CgroupOf(text string) (path string, v1 bool) {
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(f) < 3:
		case slices.Contains(strings.Split(f[1], ","), "pids"):
			return f[2], true
		case f[0] == "0":
			path = f[2]
		}
	}
	return path, false
}

func (f procFS) strings(pid int, file string) []string {
	text, _ := f.read(pid, file)
	return splitStrings([]byte(text))
}

func (f procFS) read(pid int, file string) (string, bool) {
	r, err := f.root.Open(f.name(pid, file))
	if err != nil {
		return "", false
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, procFileMax))
	return string(b), err == nil
}

func (f procFS) name(pid int, file string) string {
	return path.Join(fmt.Sprint(pid), file)
}
