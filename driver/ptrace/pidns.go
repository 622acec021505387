// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"os"
	"strconv"
	"time"
)

// firsts are the first processes of pid namespaces, by what /proc/PID/ns/pid says of these. No namespace outlives its first
// process, and its number and that process's id may be given away again: what is found here is looked at anew.
type firsts map[string]int

// start is when the first process of a thread's pid namespace was forked, since boot; 0 if nobody can say, as of a namespace
// whose first process is not to be seen from here.
func (f firsts) start(tid int) time.Duration {
	space, err := os.Readlink(procPath(tid, "ns", "pid"))
	if err != nil {
		return 0
	}
	if pid, known := f[space]; known {
		if start, ok := firstOf(space, pid); ok {
			return start
		}
		delete(f, space)
	}
	proc, err := os.Open("/proc")
	if err != nil {
		return 0
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if start, ok := firstOf(space, pid); ok {
			f[space] = pid
			return start
		}
	}
	return 0
}

// clockTick is what /proc counts in: USER_HZ, which is 100 on every architecture that Linux still has.
const clockTick = time.Second / 100

// firstOf says when a process was forked, if it is the first of the pid namespace.
func firstOf(space string, pid int) (time.Duration, bool) {
	if its, err := os.Readlink(procPath(pid, "ns", "pid")); err != nil || its != space {
		return 0, false
	}
	s, err := readStatus(pid)
	if err != nil || s.vpid != 1 {
		return 0, false
	}
	stat, err := readRecord(procPath(pid, "stat"))
	if err != nil {
		return 0, false
	}
	return max(time.Duration(statWord(stat, 22))*clockTick, 1), true // 0 is unknown, and the machine's may begin in the first tick
}
