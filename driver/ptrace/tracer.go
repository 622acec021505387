// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

// options are what the kernel is asked to report of a tracee. PTRACE_O_EXITKILL is not among them: the traced
// shall outlive their tracer.
const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACEEXEC |
	unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE

// syscallStop is the signal of a stop at the end of a system call (PTRACE_O_TRACESYSGOOD).
const syscallStop = unix.SIGTRAP | 0x80

// thread is a tracee.
type thread struct {
	tid, pid int
	call     *call // the system call that it is in, if that is one of the table
}

// call is a system call under way.
type call struct {
	def   *watched
	args  arguments
	event modern.Event // the arguments as they were at its entry
}

// tree is what was launched by one [Driver.Launch], and all that it started. The kernel takes ptrace(2) of a tracee from
// one thread alone, which is the tree's own: it waits in the kernel, because each stop costs the traced as much as it
// takes to wake their tracer, and a thread that waits for a goroutine is woken late.
type tree struct {
	*teller
	threads map[int]*thread
	last    map[int]status // of a process, by its id: who it was when it was last looked at
	held    map[int]bool   // stopped before their parent's stop told whose children they are
	firsts  firsts
}

// adopt begins to trace a process of one thread that matters: the one that will start a program. It must be called on
// the thread that follow will be called on.
func adopt(pid int, to *teller) (*tree, error) {
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, options, 0, 0); errno != 0 {
		return nil, fmt.Errorf("trace process %d: %w", pid, errno)
	}
	t := &tree{teller: to, threads: map[int]*thread{}, last: map[int]status{}, held: map[int]bool{}, firsts: firsts{}}
	t.add(&thread{tid: pid, pid: pid})
	return t, nil
}

func (t *tree) add(th *thread) {
	t.threads[th.tid] = th
	t.traced.Add(1)
}

func (t *tree) remove(tid int) {
	if _, ok := t.threads[tid]; ok {
		delete(t.threads, tid)
		t.traced.Add(-1)
	}
}

// follow handles what the tracees do until the last has ended.
//
// It sees that there is something before it takes it: to take the end of a process tells its parent, and whatever the
// parent does then, another tree's among it, must be told behind that end.
func (t *tree) follow() error {
	const mine = unix.WALL | unix.WNOTHREAD // what is no child, and no tracee of another tree
	for {
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT|mine, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil {
			err = t.take(mine)
		}
		if errors.Is(err, unix.ECHILD) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait for the traced: %w", err)
		}
	}
}

// take handles one thing that a tracee did. There may be nothing any more: whoever is killed is not stopped.
func (t *tree) take(mine int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ws unix.WaitStatus
	pid, err := unix.Wait4(-1, &ws, unix.WNOHANG|mine, nil)
	switch {
	case errors.Is(err, unix.EINTR), err == nil && pid == 0:
		return nil
	case err != nil:
		return err
	}
	t.handle(pid, ws)
	return nil
}

// handle does what one stop or end asks for, and lets the tracee go on. The errors of ptrace(2) are not looked at: a
// tracee that cannot go on was killed, which the next wait tells.
func (t *tree) handle(tid int, ws unix.WaitStatus) {
	if ws.Exited() || ws.Signaled() {
		t.ended(tid, ws)
		return
	}
	th := t.threads[tid]
	if th == nil {
		t.held[tid] = true
		return
	}
	switch sig, event := ws.StopSignal(), int(ws)>>16; event {
	case unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK, unix.PTRACE_EVENT_CLONE:
		if child, err := unix.PtraceGetEventMsg(tid); err == nil {
			t.forked(int(child), th)
		}
		th.resume(0)
	case unix.PTRACE_EVENT_EXEC:
		t.executed(th)
		th.resume(0)
	case unix.PTRACE_EVENT_SECCOMP:
		t.entered(th)
		th.resume(0)
	case unix.PTRACE_EVENT_STOP:
		switch sig {
		case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
			// Stopped as a whole by job control, and so it must stay until it is continued.
			_, _, _ = unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_LISTEN, uintptr(tid), 0, 0, 0, 0)
		default:
			th.resume(0)
		}
	default:
		if sig == syscallStop {
			t.left(th)
			sig = 0
		}
		th.resume(sig) // a signal on its way is delivered as it is
	}
}

// resume lets a stopped thread go on, with a signal or with 0 for none: to the end of the system call that it is in, or
// to whatever stops it next.
func (th *thread) resume(sig unix.Signal) {
	if th.call != nil {
		_ = unix.PtraceSyscall(th.tid, int(sig))
		return
	}
	_ = unix.PtraceCont(th.tid, int(sig))
}

// forked adds a new thread, and says so if it is a new process. creator is nil where it was killed before it could tell.
func (t *tree) forked(tid int, creator *thread) {
	th := t.threads[tid]
	if th == nil {
		th = &thread{tid: tid, pid: tid}
		t.add(th)
		if s, err := readStatus(tid); err == nil {
			th.pid = s.pid
			t.born(s, creator)
		} else {
			t.lose(lostGone)
		}
	}
	if t.held[tid] {
		delete(t.held, tid)
		th.resume(0)
	}
}

// born tells of a new thread what the probe tells: that there is a process, if it is the first of one, and that the call
// which made it has returned 0 to it.
func (t *tree) born(s status, creator *thread) {
	if s.pid == s.tid {
		t.last[s.pid] = s
	}
	if !t.emit {
		return
	}
	if s.pid == s.tid {
		ev := modern.Event{Origin: s.ppid}
		if creator != nil {
			ev.Origin = creator.pid
		}
		t.head(&ev, modern.Fork, s)
		t.send(&ev)
	}
	if creator != nil && creator.call != nil {
		ev := creator.call.event
		t.head(&ev, modern.Call, s)
		ev.Syscall = creator.call.def.name
		t.send(&ev)
	}
}

// ended forgets a thread, and says so if its process is over.
func (t *tree) ended(tid int, ws unix.WaitStatus) {
	delete(t.held, tid)
	th := t.threads[tid]
	t.remove(tid)
	if th != nil && th.pid == tid {
		s, ok := t.last[tid]
		delete(t.last, tid)
		if ok && t.emit {
			ev := modern.Event{Ret: int64(ws)}
			t.head(&ev, modern.Exit, s)
			t.send(&ev)
		}
	}
	// Whoever was killed in the middle of a fork will not tell of its child, which must not wait for that. If it was
	// somebody else that ended, all that is lost is who called fork: the child's parent stands for it.
	for child := range t.held {
		t.forked(child, nil)
	}
}

// executed is a thread whose process has become a program. All other threads of the process are gone, and it has the
// id of the first, whichever it was.
func (t *tree) executed(th *thread) {
	if former, err := unix.PtraceGetEventMsg(th.tid); err == nil && int(former) != th.tid {
		th.call = nil // of the first thread, which is no more
		if caller := t.threads[int(former)]; caller != nil {
			th.call = caller.call
			t.remove(int(former))
		}
	}
	if th.call == nil {
		return // it began before anybody asked
	}
	c := th.call
	th.call = nil // it has done what it was called for: its end tells nothing
	s, err := readStatus(th.tid)
	if err != nil {
		t.lose(lostGone)
		return
	}
	t.last[s.pid] = s
	if !t.emit {
		return
	}
	ev := c.event
	t.head(&ev, modern.Exec, s)
	ev.Syscall = "execve" // every exec goes by that name, as with the probe
	ev.Path, ev.Dir = linkOf(s.tid, "exe"), linkOf(s.tid, "cwd")
	if ev.Exe, err = exeOf(s, ev.Path); err != nil {
		t.lose(lostLayer)
	}
	ev.PIDNSStart = t.firsts.start(s.tid)
	ev.Args = stringsOf(s.tid, "cmdline", argsMax, &ev)
	ev.Env = stringsOf(s.tid, "environ", envMax, &ev)
	t.send(&ev)
}

// entered looks at the arguments of a system call before the kernel does.
func (t *tree) entered(th *thread) {
	th.call = nil
	if !t.emit {
		return
	}
	if data, err := unix.PtraceGetEventMsg(th.tid); err == nil && data == foreignCall {
		t.lose(lostForeign)
		return
	}
	nr, args, _, err := registers(th.tid)
	if err != nil {
		return // killed: the call is not made
	}
	def := byNumber[nr]
	if def == nil {
		return // stopped by a filter that the traced made itself
	}
	if def.copy != 0 && uint32(args[def.copy]) > lastStandard {
		return
	}
	c := &call{def: def, args: arguments{tid: th.tid, arg: args, mem: of(th.tid)}}
	c.args.read(def, &c.event)
	c.args.locate(def, &c.event)
	th.call = c
}

// left completes the event of a system call that has ended, and sends it.
func (t *tree) left(th *thread) {
	c := th.call
	th.call = nil
	if c == nil || !t.emit {
		return
	}
	if c.def.kind == modern.Exec {
		return // it failed: nothing was executed
	}
	_, _, ret, err := registers(th.tid)
	if err != nil {
		t.lose(lostGone)
		return
	}
	ret = returned(ret)
	if c.def.standard && (ret < 0 || ret > lastStandard) {
		return
	}
	s, err := readStatus(th.tid)
	if err != nil {
		t.lose(lostGone)
		return
	}
	t.last[s.pid] = s
	again := modern.Event{Dir: c.event.Dir, Dir2: c.event.Dir2}
	if c.args.read(c.def, &again); !reflect.DeepEqual(c.event, again) {
		t.lose(lostRaced) // what is told is what stood there at the entry
	}
	ev := c.event
	t.head(&ev, c.def.kind, s)
	ev.Syscall, ev.Ret = c.def.name, ret
	if err := describe(s, c.descriptor(ret), &ev); err != nil {
		t.lose(lostSocket)
	}
	if ev.Syscall == "chdir" || ev.Syscall == "fchdir" {
		ev.Dir = linkOf(th.tid, "cwd")
	}
	t.send(&ev)
}

// descriptor is what the call is about, below 0 if that is none. ret is what it returned.
func (c *call) descriptor(ret int64) int {
	switch fd := c.def.where.fd; {
	case c.def.kind == modern.Open, fd == result:
		return int(ret)
	case fd >= 0:
		return int(int32(c.args.arg[fd]))
	}
	return nowhere
}

// head completes what every event tells: when, and of whom.
func (t *tree) head(ev *modern.Event, kind modern.Kind, s status) {
	ev.Kind, ev.Time = kind, sinceBoot()
	ev.PID, ev.TID, ev.PPID, ev.VPID = s.pid, s.tid, s.ppid, s.vpid
	ev.UID, ev.GID, ev.Comm = s.uid, s.gid, s.comm
	ev.Login, ev.TTY = s.login, s.tty
	if kind != modern.Open {
		ev.Caps = s.caps
	}
	ev.CgroupPath, ev.CgroupV1 = cgroupOf(s.tid)
	ev.Cgroup = t.cgroups.id(ev.CgroupPath)
}

func sinceBoot() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(fmt.Sprintf("CLOCK_BOOTTIME, which every kernel has since 2.6.39: %v", err))
	}
	return time.Duration(now.Nano())
}

// returned is what the traced will see of what a call returned. A call that a signal interrupted and that may be made
// again returns a number which never leaves the kernel (ERESTARTSYS to ERESTART_RESTARTBLOCK, 512 to 516).
func returned(ret int64) int64 {
	if ret <= -512 && ret >= -516 {
		return -int64(unix.EINTR)
	}
	return ret
}

// stringsOf reads a file of /proc whose strings end in a NUL each.
func stringsOf(tid int, file string, max int, ev *modern.Event) []string {
	text, whole, err := readProc(procPath(tid, file), max)
	if err != nil || !whole {
		ev.Truncated = true
	}
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\x00"), "\x00")
}
