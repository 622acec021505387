// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"io/fs"
	"time"
)

// Process is what is known of a process.
type Process struct {
	PID, VPID, PPID int
	UID, GID        int           // effective
	Login           int           // the user who logged in; -1 if nobody did
	TTY             int           // device number of the controlling terminal, 0 if there is none
	Caps            Caps          // as of the last event that told
	Start           time.Duration // when it was forked, since boot, suspend included; 0 if unknown
	Comm            string        // as of its last event
	CWD             string        // "" if unknown
	ExePath         string
	Inode           Inode         // of the executable; zero if unknown
	Spawned         time.Duration // Start of whoever executed it, which may be an ancestor; 0 if that was not seen
	PIDNSStart      time.Duration // when the first of its pid namespace was forked, as of its own exec; 0 if that was not seen
	Exe             *Exe          // nil where only an exec that was not seen could tell
	Args            []string
	Env             []string
	CgroupPath      string // in the default hierarchy, or, if CgroupV1, of the controller pids in its own
	CgroupV1        bool

	cgroup uint64 // the id that CgroupPath is of; 0 before the first event
}

// maxProcesses bounds the table: a guest whose exits were lost must not fill the memory of its agent.
const maxProcesses = 1 << 16

// Processes follows the processes of a guest: it starts from /proc, goes on by the events, and asks /proc again
// for a process that it does not know. It is for one goroutine.
type Processes struct {
	byPID map[int]*Process
	proc  procFS
}

// NewProcesses makes an empty table that looks up unknown processes in proc, the tree of /proc.
func NewProcesses(proc fs.FS) *Processes {
	return &Processes{byPID: map[int]*Process{}, proc: procFS{proc}}
}

// Seed adds the processes that run now and are not known yet.
func (t *Processes) Seed() error {
	pids, err := t.proc.pids()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if t.byPID[pid] == nil {
			t.read(pid)
		}
	}
	return nil
}

// Get returns the process, or nil if it is neither known nor alive.
func (t *Processes) Get(pid int) *Process {
	if p := t.byPID[pid]; p != nil {
		return p
	}
	return t.read(pid)
}

// Ancestor returns the process that is n generations above p, p itself for 0, or nil.
func (t *Processes) Ancestor(p *Process, n int) *Process {
	for ; n > 0 && p != nil; n-- {
		if p.PPID == 0 || p.PPID == p.PID {
			return nil
		}
		p = t.Get(p.PPID)
	}
	return p
}

// Apply brings the table up to ev and returns the process of the event as it is after it; after an Exit, as it
// was. It never returns nil: a process that nobody knows is as much as the event tells of it.
func (t *Processes) Apply(ev *Event) *Process {
	switch ev.Kind {
	case Fork:
		return t.fork(ev)
	case Exec:
		exe, start := ev.Exe, t.start(ev.PID)
		p := &Process{
			Start: start, Spawned: start, PIDNSStart: ev.PIDNSStart, ExePath: ev.Path, Inode: exe.Inode, Exe: &exe, Args: ev.Args, Env: ev.Env, CWD: ev.Dir,
			CgroupPath: ev.CgroupPath, CgroupV1: ev.CgroupV1, cgroup: ev.Cgroup,
		}
		p.follow(ev)
		t.put(p, ev.PID)
		return p
	case Exit:
		p := t.known(ev)
		delete(t.byPID, ev.PID)
		return p
	}
	p := t.known(ev)
	if ev.Ret == 0 && (ev.Syscall == "chdir" || ev.Syscall == "fchdir") {
		p.CWD = ev.Dir
	}
	return p
}

// fork makes the child like the process that called fork.
func (t *Processes) fork(ev *Event) *Process {
	child := &Process{}
	if origin := t.Get(ev.Origin); origin != nil {
		*child = *origin
	}
	child.Start, child.PIDNSStart = ev.Time, 0
	child.follow(ev)
	t.place(child, ev)
	t.put(child, ev.PID)
	return child
}

// start is when the process was forked, which an exec does not change.
func (t *Processes) start(pid int) time.Duration {
	if p := t.Get(pid); p != nil {
		return p.Start
	}
	return 0
}

// known returns the process of an event that changes nothing but what every event tells.
func (t *Processes) known(ev *Event) *Process {
	p := t.Get(ev.PID)
	if p == nil {
		p = &Process{}
		t.put(p, ev.PID)
	}
	p.follow(ev)
	t.place(p, ev)
	return p
}

// place finds the cgroup's path anew if the event is of another one than the path that is known, be it the parent's.
func (t *Processes) place(p *Process, ev *Event) {
	switch {
	case p.cgroup == 0:
		p.cgroup = ev.Cgroup
	case p.cgroup != ev.Cgroup:
		// Somebody moved it, as a container runtime does. If it is gone by now, the old path is the best there is.
		if path, v1, ok := t.proc.cgroup(ev.PID); ok {
			p.CgroupPath, p.CgroupV1, p.cgroup = path, v1, ev.Cgroup
		}
	}
}

func (p *Process) follow(ev *Event) {
	p.PID, p.VPID, p.PPID = ev.PID, ev.VPID, ev.PPID
	p.UID, p.GID, p.Login, p.TTY = ev.UID, ev.GID, ev.Login, ev.TTY
	if ev.Kind != Open {
		p.Caps = ev.Caps
	}
	p.Comm = ev.Comm
}

func (t *Processes) read(pid int) *Process {
	p := t.proc.process(pid)
	if p != nil {
		t.put(p, pid)
	}
	return p
}

func (t *Processes) put(p *Process, pid int) {
	if len(t.byPID) >= maxProcesses {
		clear(t.byPID)
	}
	t.byPID[pid] = p
}
