// SPDX-License-Identifier: Apache-2.0

package native

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/scenarios/rules"
)

// maxAncestors bounds the walk to the first process: a table read from a hostile /proc may hold a loop.
const maxAncestors = 64

// event is an event with what is known of its process, as rules see it.
type event struct {
	*modern.Event
	process   *modern.Process
	processes *modern.Processes
	names     *accounts
	hosts     hosts
	num       uint64
	*work
}

// work is what evaluating one event needs, and the next can use again.
type work struct {
	scratch    scratch
	containers map[string]string // container.id by cgroup: to find it takes longer than most rules
}

// maxContainers bounds what is kept of cgroups. One that made more is a hostile guest.
const maxContainers = 4096

func (w *work) containerOf(cgroup string) string {
	id, known := w.containers[cgroup]
	if !known {
		if w.containers == nil || len(w.containers) >= maxContainers {
			w.containers = map[string]string{}
		}
		id = containerID(cgroup)
		w.containers[cgroup] = id
	}
	return id
}

// Field implements [rules.Event].
func (e *event) Field(name, arg string) (rules.Value, bool) {
	group, _, _ := strings.Cut(name, ".")
	switch group {
	case "evt":
		return e.evt(name)
	case "fd":
		return e.fd(name)
	case "fs":
		return e.fs(name)
	case "proc":
		return e.proc(name, arg)
	case "thread":
		return e.thread(name)
	case "user", "group":
		return e.account(name)
	}
	if name == "container.id" {
		return str(e.containerOf(e.process.CgroupPath))
	}
	return rules.Value{}, false
}

func (e *event) evt(name string) (rules.Value, bool) {
	switch name {
	case "evt.num":
		return rules.NumberValue(int64(e.num)), true
	case "evt.time":
		return str(e.scratch.date(wallClock(e.Time).UTC(), "15:04:05.000000000"))
	case "evt.type":
		if e.Kind == modern.Exit {
			return str("procexit")
		}
		return nonEmpty(e.Syscall, e.Syscall)
	case "evt.dir":
		return str("<")
	case "evt.is_open_read", "evt.is_open_write":
		if e.Kind != modern.Open {
			return rules.Value{}, false
		}
		mode := e.Flags & unix.O_ACCMODE
		if name == "evt.is_open_read" {
			return boolean(mode == unix.O_RDONLY || mode == unix.O_RDWR)
		}
		return boolean(mode == unix.O_WRONLY || mode == unix.O_RDWR)
	}
	if arg, ok := strings.CutPrefix(name, "evt.arg."); ok {
		return e.argument(arg)
	}
	if e.Kind == modern.Exit {
		return rules.Value{}, false // it returns nothing
	}
	switch name {
	case "evt.res":
		return str(result(e.Ret))
	case "evt.rawres":
		return rules.NumberValue(e.Ret), true
	case "evt.failed":
		return boolean(e.Ret < 0)
	}
	return rules.Value{}, false
}

func (e *event) thread(name string) (rules.Value, bool) {
	switch name {
	case "thread.tid":
		return number(e.TID)
	case "thread.cgroups":
		hierarchy := "unified="
		if e.process.CgroupV1 {
			hierarchy = "pids="
		}
		return nonEmpty(e.process.CgroupPath, e.scratch.join(hierarchy, []string{e.process.CgroupPath}, ""))
	case "thread.cap_effective":
		return str(e.scratch.capabilities(e.process.Caps.Effective))
	case "thread.cap_permitted":
		return str(e.scratch.capabilities(e.process.Caps.Permitted))
	case "thread.cap_inheritable":
		return str(e.scratch.capabilities(e.process.Caps.Inheritable))
	}
	return rules.Value{}, false
}

func (e *event) account(name string) (rules.Value, bool) {
	switch name {
	case "user.uid":
		return number(e.process.UID)
	case "user.loginuid":
		return number(e.process.Login)
	case "user.name":
		return e.names.user(e.process.UID)
	case "user.loginname":
		return e.names.user(e.process.Login)
	case "group.gid":
		return number(e.process.GID)
	case "group.name":
		return e.names.group(e.process.GID)
	}
	return rules.Value{}, false
}

func (e *event) proc(name, arg string) (rules.Value, bool) {
	p := e.process
	switch name {
	case "proc.name":
		return str(p.Comm)
	case "proc.exepath":
		return nonEmpty(p.ExePath, p.ExePath)
	case "proc.pid":
		return number(p.PID)
	case "proc.vpid":
		return number(p.VPID)
	case "proc.ppid":
		return number(p.PPID)
	case "proc.cwd":
		return nonEmpty(p.CWD, e.withSlash(p.CWD))
	case "proc.tty":
		return number(p.TTY)
	case "proc.duration":
		return rules.NumberValue(int64(e.Time - p.Start)), p.Start != 0
	case "proc.aname", "proc.aexe", "proc.aexepath", "proc.acmdline", "proc.apid":
		return e.ancestors(ancestral[name], arg)
	case "proc.env":
		return e.environment(p.Env, arg)
	case "proc.pname", "proc.pexe", "proc.pexepath", "proc.pcmdline", "proc.pvpid":
		return e.ancestor(parental[name], 1)
	case "proc.cmdline":
		return str(e.scratch.join(p.Comm, argv(p), " "))
	case "proc.args":
		return str(e.scratch.join("", argv(p), " "))
	case "proc.exe":
		if len(p.Args) == 0 {
			return rules.Value{}, false
		}
		return str(p.Args[0])
	}
	if strings.HasPrefix(name, "proc.exe_ino") {
		return exeInode(p, name)
	}
	if p.Exe == nil {
		return rules.Value{}, false // it was started before anybody watched
	}
	switch name {
	case "proc.is_exe_writable":
		return boolean(p.Exe.Writable)
	case "proc.is_exe_upper_layer":
		return boolean(p.Exe.UpperLayer)
	case "proc.is_exe_from_memfd":
		return boolean(p.Exe.Memfd)
	}
	return rules.Value{}, false
}

// exeInode is what is known of a program's file, in nanoseconds. Like libsinsp it knows nothing of less than one. libsinsp
// shows a file that was changed after the fork by 2^64 less the time between: of that one nothing is known here.
func exeInode(p *modern.Process, name string) (rules.Value, bool) {
	if p.Inode == (modern.Inode{}) {
		return rules.Value{}, false
	}
	var n int64
	switch name {
	case "proc.exe_ino":
		return rules.NumberValue(int64(p.Inode.Ino)), p.Inode.Ino != 0 // overlayfs may use the sign
	case "proc.exe_ino.ctime":
		n = p.Inode.CTime
	case "proc.exe_ino.mtime":
		n = p.Inode.MTime
	case "proc.exe_ino.ctime_duration_proc_start":
		if p.Spawned != 0 {
			n = wallClock(p.Spawned).UnixNano() - p.Inode.CTime
		}
	case "proc.exe_ino.ctime_duration_pidns_start":
		if p.PIDNSStart != 0 {
			n = p.Inode.CTime - wallClock(p.PIDNSStart).UnixNano()
		}
	}
	return rules.NumberValue(n), n > 0
}

// The fields of an ancestor and of the parent, and what they are of that process itself.
var (
	ancestral = map[string]string{
		"proc.aname": "proc.name", "proc.aexe": "proc.exe", "proc.aexepath": "proc.exepath", "proc.acmdline": "proc.cmdline", "proc.apid": "proc.pid",
	}
	parental = map[string]string{
		"proc.pname": "proc.name", "proc.pexe": "proc.exe", "proc.pexepath": "proc.exepath", "proc.pcmdline": "proc.cmdline", "proc.pvpid": "proc.vpid",
	}
)

// ancestor is a field of the process n generations above.
func (e *event) ancestor(name string, n int) (rules.Value, bool) {
	p := e.processes.Ancestor(e.process, min(n, maxAncestors))
	if p == nil {
		return rules.Value{}, false
	}
	of := event{Event: e.Event, process: p, processes: e.processes, work: e.work}
	return of.proc(name, "")
}

// ancestors is a field of one ancestor, or without an argument of all that have it, the parent first.
func (e *event) ancestors(name, arg string) (rules.Value, bool) {
	if arg != "" {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 0 {
			return rules.Value{}, false
		}
		return e.ancestor(name, n)
	}
	s := &e.scratch
	start := len(s.list)
	kind := rules.List
	for n := 1; n <= maxAncestors && e.processes.Ancestor(e.process, n) != nil; n++ {
		v, ok := e.ancestor(name, n)
		switch {
		case !ok:
		case v.Kind == rules.Number:
			kind = rules.Numbers
			s.list = append(s.list, s.number(v.Num))
		default:
			s.list = append(s.list, v.Str)
		}
	}
	list := s.list[start:]
	return rules.Value{Kind: kind, List: list}, len(list) > 0
}

// withSlash is a working directory as libsinsp shows it.
func (e *event) withSlash(dir string) string {
	if strings.HasSuffix(dir, "/") {
		return dir
	}
	return e.scratch.join(dir, []string{"/"}, "")
}

// environment is the whole of it, or the value of one variable.
func (e *event) environment(env []string, name string) (rules.Value, bool) {
	if name == "" {
		all := e.scratch.join("", env, " ")
		return nonEmpty(all, all)
	}
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return str(v)
		}
	}
	return rules.Value{}, false
}

func argv(p *modern.Process) []string {
	if len(p.Args) == 0 {
		return nil
	}
	return p.Args[1:]
}

func str(s string) (rules.Value, bool)   { return rules.StringValue(s), true }
func number(n int) (rules.Value, bool)   { return rules.NumberValue(int64(n)), true }
func boolean(b bool) (rules.Value, bool) { return rules.BoolValue(b), true }

// nonEmpty is the value s, absent where known is empty.
func nonEmpty(known, s string) (rules.Value, bool) { return rules.StringValue(s), known != "" }

// text is a value as Falco prints it, in memory of its own.
func text(v rules.Value) string {
	switch v.Kind {
	case rules.Number:
		return strconv.FormatInt(v.Num, 10)
	case rules.Bool:
		return strconv.FormatBool(v.Bool)
	case rules.Address:
		return v.Addr.String()
	case rules.List, rules.Numbers:
		return "(" + strings.Join(v.List, ",") + ")"
	}
	return strings.Clone(v.Str)
}
