// SPDX-License-Identifier: Apache-2.0

package native

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/scenarios/rules"
)

// argument is one evt.arg.NAME of a system call, with the name that Falco's event table gives it. It is absent where the
// function returns "".
type argument struct {
	name string
	of   func(e *event) string
}

// argument finds evt.arg.NAME of the event.
func (e *event) argument(name string) (rules.Value, bool) {
	call := e.Syscall
	if e.Kind == modern.Exit {
		call = "procexit"
	}
	for _, a := range arguments()[call] {
		if a.name == name {
			s := a.of(e)
			return nonEmpty(s, s)
		}
	}
	return rules.Value{}, false
}

// raw is an argument as a number without a sign, num as one with it, octal as permissions go.
func raw(i int) func(*event) string {
	return func(e *event) string { return e.scratch.unsigned(e.Raw[i]) }
}
func num(i int) func(*event) string {
	return func(e *event) string { return e.scratch.number(int64(int32(e.Raw[i]))) }
}

func uid(i int) func(*event) string {
	return func(e *event) string { return e.scratch.unsigned(uint64(uint32(e.Raw[i]))) }
}

// bits is an argument by the names of its bits, choice one by the name of its value.
func bits(i int, names []flagName) func(*event) string {
	return func(e *event) string { return e.scratch.flags(int(e.Raw[i]), names, "|") }
}

func choice(i int, names map[int]string) func(*event) string {
	return func(e *event) string {
		if name, ok := names[int(int32(e.Raw[i]))]; ok {
			return name
		}
		return e.scratch.number(int64(int32(e.Raw[i])))
	}
}

func ret(e *event) string    { return e.scratch.number(e.Ret) }
func res(e *event) string    { return result(e.Ret) }
func name(e *event) string   { return e.Name }
func name2(e *event) string  { return e.Name2 }
func extra(e *event) string  { return e.Extra }
func target(e *event) string { return e.absolute(e.Name, e.Dir) }

func fdName(e *event) string {
	v, _ := e.fd("fd.name")
	return v.Str
}

// given is the address that connect and bind were given.
func given(e *event) string {
	switch {
	case e.Addr == nil:
		return ""
	case e.Addr.Family == unix.AF_UNIX:
		return e.Addr.Path
	case e.Addr.IP.IsValid():
		return e.plain(e.Addr.IP)
	}
	return ""
}

// arguments are those of the system calls, in Falco's order, without what nobody can write a rule on (lengths, pointers).
var arguments = sync.OnceValue(func() map[string][]argument {
	return map[string][]argument{
		"execve": {{"flags", func(e *event) string { return e.scratch.exeFlags(e.Exe) }}, {"filename", name}, {"exe", func(e *event) string {
			v, _ := e.proc("proc.exe", "")
			return v.Str
		}}},
		"procexit": {{"status", ret}, {"ret", func(e *event) string { return e.scratch.number(e.Ret >> 8 & 0xff) }}},

		"open":    opening("name"),
		"creat":   opening("name"),
		"openat":  append(opening("name"), argument{"dirfd", openDir}),
		"openat2": append(opening("name"), argument{"dirfd", openDir}, argument{"resolve", func(e *event) string { return e.scratch.flags(int(e.Resolve), resolveFlags, "|") }}),

		"write":   {{"res", res}, {"fd", num(0)}, {"size", raw(2)}},
		"writev":  {{"res", res}, {"fd", num(0)}},
		"pwrite":  {{"res", res}, {"fd", num(0)}, {"size", raw(2)}, {"pos", raw(3)}},
		"pwritev": {{"res", res}, {"fd", num(0)}, {"pos", raw(3)}},

		"fork":   {{"res", ret}},
		"vfork":  {{"res", ret}},
		"clone":  {{"res", ret}, {"flags", bits(0, cloneFlags)}},
		"clone3": {{"res", ret}, {"flags", bits(0, cloneFlags)}},

		"socket":  {{"fd", ret}, {"domain", choice(0, families)}, {"type", func(e *event) string { return e.scratch.number(int64(int32(e.Raw[1]))) }}, {"proto", num(2)}},
		"connect": {{"res", res}, {"fd", num(0)}, {"tuple", fdName}, {"addr", given}},
		"bind":    {{"res", res}, {"fd", num(0)}, {"addr", given}},
		"accept":  {{"fd", ret}, {"tuple", fdName}},
		"accept4": {{"fd", ret}, {"tuple", fdName}, {"flags", num(3)}},

		"dup":   {{"res", ret}, {"oldfd", num(0)}},
		"dup2":  {{"res", ret}, {"oldfd", num(0)}, {"newfd", num(1)}},
		"dup3":  {{"res", ret}, {"oldfd", num(0)}, {"newfd", num(1)}, {"flags", func(e *event) string { return e.scratch.flags(int(e.Raw[2]), dupFlags, "|") }}},
		"fcntl": {{"res", ret}, {"fd", num(0)}, {"cmd", choice(1, fcntlCommands)}},

		"unlink":    {{"res", res}, {"path", target}},
		"unlinkat":  {{"res", res}, {"dirfd", dirFD(0)}, {"name", target}, {"flags", bits(2, unlinkFlags)}},
		"rmdir":     {{"res", res}, {"path", target}},
		"mkdir":     {{"res", res}, {"path", target}, {"mode", bits(1, modeFlags)}},
		"mkdirat":   {{"res", res}, {"dirfd", dirFD(0)}, {"path", target}, {"mode", bits(2, modeFlags)}},
		"chmod":     {{"res", res}, {"filename", target}, {"mode", bits(1, modeFlags)}},
		"fchmod":    {{"res", res}, {"fd", num(0)}, {"mode", bits(1, modeFlags)}},
		"fchmodat":  {{"res", res}, {"dirfd", dirFD(0)}, {"filename", target}, {"mode", bits(2, modeFlags)}},
		"fchmodat2": {{"res", res}, {"dirfd", dirFD(0)}, {"filename", target}, {"mode", bits(2, modeFlags)}, {"flags", num(3)}},
		"rename":    {{"res", res}, {"oldpath", target}, {"newpath", newPath}},
		"renameat":  {{"res", res}, {"olddirfd", dirFD(0)}, {"oldpath", target}, {"newdirfd", dirFD(2)}, {"newpath", newPath}},
		"renameat2": {{"res", res}, {"olddirfd", dirFD(0)}, {"oldpath", target}, {"newdirfd", dirFD(2)}, {"newpath", newPath}, {"flags", bits(4, renameFlags)}},
		"link":      {{"res", res}, {"oldpath", target}, {"newpath", newPath}},
		"linkat":    {{"res", res}, {"olddir", dirFD(0)}, {"oldpath", target}, {"newdir", dirFD(2)}, {"newpath", newPath}, {"flags", num(4)}},
		"symlink":   {{"res", res}, {"target", name}, {"linkpath", newPath}},
		"symlinkat": {{"res", res}, {"target", name}, {"linkdirfd", dirFD(1)}, {"linkpath", newPath}},
		"chdir":     {{"res", res}, {"path", func(e *event) string { return e.Dir }}},
		"fchdir":    {{"res", res}, {"fd", num(0)}},

		"mount":         {{"res", res}, {"dev", name}, {"dir", name2}, {"type", extra}, {"flags", bits(3, mountFlags)}},
		"umount2":       {{"res", res}, {"name", name}, {"flags", bits(1, umountFlags)}},
		"unshare":       {{"res", res}, {"flags", bits(0, cloneFlags)}},
		"setns":         {{"res", res}, {"fd", num(0)}, {"nstype", bits(1, cloneFlags)}},
		"init_module":   {{"res", res}, {"length", raw(1)}, {"uargs", extra}},
		"finit_module":  {{"res", res}, {"fd", num(0)}, {"flags", bits(2, moduleFlags)}},
		"delete_module": {{"res", res}, {"name", name}, {"flags", bits(1, deleteFlags)}},
		"memfd_create":  {{"fd", ret}, {"name", name}, {"flags", bits(1, memfdFlags)}},
		"bpf":           {{"fd", ret}, {"cmd", choice(0, bpfCommands)}},
		"ptrace":        {{"res", res}, {"request", choice(0, ptraceRequests)}, {"pid", num(1)}},

		"setuid":    {{"res", res}, {"uid", uid(0)}},
		"setgid":    {{"res", res}, {"gid", uid(0)}},
		"setreuid":  {{"res", res}, {"ruid", uid(0)}, {"euid", uid(1)}},
		"setregid":  {{"res", res}, {"rgid", uid(0)}, {"egid", uid(1)}},
		"setresuid": {{"res", res}, {"ruid", uid(0)}, {"euid", uid(1)}, {"suid", uid(2)}},
		"setresgid": {{"res", res}, {"rgid", uid(0)}, {"egid", uid(1)}, {"sgid", uid(2)}},
	}
})

// opening are the arguments that all system calls have that open a file.
func opening(file string) []argument {
	return []argument{
		{"fd", ret}, {file, target}, {"flags", func(e *event) string { return e.scratch.openFlags(e.Flags) }},
		{"mode", func(e *event) string { return e.scratch.flags(int(e.Perm), modeFlags, "|") }},
	}
}

func openDir(e *event) string { return e.dirName(int32(e.DirFD)) }

func dirFD(i int) func(*event) string {
	return func(e *event) string { return e.dirName(int32(e.Raw[i])) }
}

func (e *event) dirName(fd int32) string {
	if fd == unix.AT_FDCWD {
		return "AT_FDCWD"
	}
	return e.scratch.number(int64(fd))
}

func newPath(e *event) string { return e.absolute(e.Name2, e.Dir2) }
