// SPDX-License-Identifier: Apache-2.0

package native

import (
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/scenarios/rules"
)

// Schema lists the fields of this consumer's events. They mean what they mean to Falco (libsinsp).
var Schema = rules.Table{
	"evt.num":           {Kind: rules.Number}, // from 1
	"evt.time":          {Kind: rules.String}, // of day, UTC
	"evt.type":          {Kind: rules.String}, // the system call, at its return
	"evt.res":           {Kind: rules.String}, // SUCCESS or the name of the error
	"evt.arg.flags":     {Kind: rules.String},
	"evt.is_open_read":  {Kind: rules.Bool},
	"evt.is_open_write": {Kind: rules.Bool},

	"fd.name":      {Kind: rules.String}, // absolute and lexically clean; symlinks stay
	"fd.nameraw":   {Kind: rules.String}, // as the caller gave it
	"fd.directory": {Kind: rules.String},
	"fd.filename":  {Kind: rules.String},
	"fd.num":       {Kind: rules.Number}, // -1 if the file could not be opened
	"fd.typechar":  {Kind: rules.String}, // d if a directory was asked for, else f

	"proc.name":               {Kind: rules.String}, // at most 15 bytes
	"proc.exe":                {Kind: rules.String}, // argv[0]
	"proc.exepath":            {Kind: rules.String},
	"proc.args":               {Kind: rules.String},
	"proc.cmdline":            {Kind: rules.String},
	"proc.env":                {Kind: rules.String, Arg: rules.ArgOptional},
	"proc.pid":                {Kind: rules.Number},
	"proc.vpid":               {Kind: rules.Number},
	"proc.ppid":               {Kind: rules.Number},
	"proc.pname":              {Kind: rules.String},
	"proc.pexe":               {Kind: rules.String}, // argv[0] of the parent
	"proc.pcmdline":           {Kind: rules.String},
	"proc.aname":              {Kind: rules.List, Arg: rules.ArgOptional, ArgIndex: true, WithArg: rules.String},
	"proc.exe_ino":            {Kind: rules.Number},
	"proc.is_exe_writable":    {Kind: rules.Bool},
	"proc.is_exe_upper_layer": {Kind: rules.Bool},
	"proc.is_exe_from_memfd":  {Kind: rules.Bool},

	"user.uid":       {Kind: rules.Number},
	"container.id":   {Kind: rules.String}, // 12 hexadecimal digits, or host
	"thread.cgroups": {Kind: rules.String}, // unified=PATH
}

// maxAncestors bounds the walk to the first process: a table read from a hostile /proc may hold a loop.
const maxAncestors = 64

// event is an event with what is known of its process, as rules see it.
type event struct {
	*modern.Event
	process   *modern.Process
	processes *modern.Processes
	num       uint64
}

// Field implements [rules.Event].
func (e *event) Field(name, arg string) (rules.Value, bool) {
	group, _, _ := strings.Cut(name, ".")
	switch group {
	case "evt":
		return e.evt(name)
	case "fd":
		return e.fd(name)
	case "proc":
		return e.proc(name, arg)
	}
	switch name {
	case "user.uid":
		return number(e.process.UID)
	case "container.id":
		return str(containerID(e.process.CgroupPath))
	case "thread.cgroups":
		return nonEmpty(e.process.CgroupPath, "unified="+e.process.CgroupPath)
	}
	return rules.Value{}, false
}

func (e *event) evt(name string) (rules.Value, bool) {
	switch name {
	case "evt.num":
		return rules.NumberValue(int64(e.num)), true
	case "evt.time":
		return str(wallClock(e.Time).UTC().Format("15:04:05.000000000"))
	case "evt.type":
		return nonEmpty(e.Syscall, e.Syscall)
	case "evt.res":
		return str(result(e.Ret))
	case "evt.arg.flags":
		flags := exeFlags(e.Exe)
		if e.Kind == modern.Open {
			flags = openFlags(e.Flags)
		}
		return nonEmpty(flags, flags)
	}
	if e.Kind != modern.Open {
		return rules.Value{}, false
	}
	switch mode := e.Flags & unix.O_ACCMODE; name {
	case "evt.is_open_read":
		return boolean(mode == unix.O_RDONLY || mode == unix.O_RDWR)
	case "evt.is_open_write":
		return boolean(mode == unix.O_WRONLY || mode == unix.O_RDWR)
	}
	return rules.Value{}, false
}

func (e *event) fd(name string) (rules.Value, bool) {
	if e.Kind != modern.Open {
		return rules.Value{}, false
	}
	switch name {
	case "fd.nameraw":
		return nonEmpty(e.Name, e.Name)
	case "fd.num":
		return rules.NumberValue(max(e.Ret, -1)), true
	case "fd.typechar":
		switch {
		case e.Ret < 0:
			return rules.Value{}, false
		case e.Flags&unix.O_DIRECTORY != 0:
			return str("d")
		}
		return str("f") // libsinsp goes by the flag, not by what the file turned out to be
	}
	full := e.fullName()
	if full == "" {
		return rules.Value{}, false
	}
	switch name {
	case "fd.name":
		return str(full)
	case "fd.directory":
		return str(path.Dir(full))
	case "fd.filename":
		return str(path.Base(full))
	}
	return rules.Value{}, false
}

// fullName is the name given by the caller, made absolute and clean, or "" if the probe could not tell from where
// a relative one starts.
func (e *event) fullName() string {
	switch {
	case e.Name == "":
		return ""
	case path.IsAbs(e.Name):
		return path.Clean(e.Name)
	case !path.IsAbs(e.Dir):
		return ""
	}
	return path.Join(e.Dir, e.Name)
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
	case "proc.pname":
		return e.ancestor(1)
	case "proc.aname":
		return e.ancestors(arg)
	case "proc.env":
		return environment(p.Env, arg)
	case "proc.pexe", "proc.pcmdline":
		if parent := e.processes.Ancestor(p, 1); parent != nil {
			return (&event{Event: e.Event, process: parent, processes: e.processes}).proc("proc."+strings.TrimPrefix(name, "proc.p"), "")
		}
		return rules.Value{}, false
	case "proc.cmdline":
		return str(strings.Join(append([]string{p.Comm}, arguments(p)...), " "))
	case "proc.args":
		return str(strings.Join(arguments(p), " "))
	case "proc.exe":
		if len(p.Args) == 0 {
			return rules.Value{}, false
		}
		return str(p.Args[0])
	}
	if p.Exe == nil {
		return rules.Value{}, false // it was started before anybody watched
	}
	switch name {
	case "proc.exe_ino":
		return rules.NumberValue(int64(p.Exe.Ino)), true
	case "proc.is_exe_writable":
		return boolean(p.Exe.Writable)
	case "proc.is_exe_upper_layer":
		return boolean(p.Exe.UpperLayer)
	case "proc.is_exe_from_memfd":
		return boolean(p.Exe.Memfd)
	}
	return rules.Value{}, false
}

func (e *event) ancestor(n int) (rules.Value, bool) {
	p := e.processes.Ancestor(e.process, min(n, maxAncestors))
	if p == nil {
		return rules.Value{}, false
	}
	return str(p.Comm)
}

// ancestors is the name of one ancestor, or without an argument those of all, the parent first.
func (e *event) ancestors(arg string) (rules.Value, bool) {
	if arg != "" {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 0 {
			return rules.Value{}, false
		}
		return e.ancestor(n)
	}
	var names []string
	for n := 1; n <= maxAncestors; n++ {
		p := e.processes.Ancestor(e.process, n)
		if p == nil {
			break
		}
		names = append(names, p.Comm)
	}
	return rules.ListValue(names...), len(names) > 0
}

// environment is the whole of it, or the value of one variable.
func environment(env []string, name string) (rules.Value, bool) {
	if name == "" {
		all := strings.Join(env, " ")
		return nonEmpty(all, all)
	}
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return str(v)
		}
	}
	return rules.Value{}, false
}

func arguments(p *modern.Process) []string {
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

// text is a value as Falco prints it.
func text(v rules.Value) string {
	switch v.Kind {
	case rules.Number:
		return strconv.FormatInt(v.Num, 10)
	case rules.Bool:
		return strconv.FormatBool(v.Bool)
	case rules.List:
		return "(" + strings.Join(v.List, ",") + ")"
	}
	return v.Str
}
