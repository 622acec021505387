// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"maps"
	"slices"

	"github.com/mews-farm/mews/bpf"
)

// form is how a system call is watched: by a program of the probe, which finds in shape what the arguments are.
type form struct {
	program string
	shape   bpf.ProbeShape
}

// Where a shape looks instead of at an argument.
const (
	other = bpf.ProbeShapeArgSHAPE_OTHER // base: the working directory; fd: what the call returned
	none  = bpf.ProbeShapeArgSHAPE_NONE
)

// at makes a shape of the indices of arguments from 0.
func at(name, base, name2, base2, extra, fd bpf.ProbeShapeArg) bpf.ProbeShape {
	return bpf.ProbeShape{Name: name, Base: base, Name2: name2, Base2: base2, Extra: extra, Fd: fd}
}

func named(name, base bpf.ProbeShapeArg) form {
	return form{bpf.ProbeProgNames, at(name, base, none, none, none, none)}
}

func twoNamed(name, base, name2, base2 bpf.ProbeShapeArg) form {
	return form{bpf.ProbeProgNames, at(name, base, name2, base2, none, none)}
}

func fd(index bpf.ProbeShapeArg) form {
	return form{bpf.ProbeProgDescriptors, at(none, none, none, none, none, index)}
}

func address(index bpf.ProbeShapeArg) form {
	return form{bpf.ProbeProgDescriptors, at(none, none, none, none, index, 0)}
}

// stdio is of what makes a descriptor out of another; it matters where that becomes a standard stream.
func stdio(how bpf.ProbeShapeStdio) form {
	f := fd(other)
	f.shape.Stdio = how
	return f
}

// plain needs nothing but the numbers it is given.
var plain = form{program: bpf.ProbeProgNumbers}

// forms says how each system call is watched, by the name that libsinsp has for it. One that the machine's architecture never had is not attached there.
var forms = map[string]form{
	"open":    {bpf.ProbeProgOpens, at(0, other, none, none, 1, none)},
	"creat":   {bpf.ProbeProgOpens, at(0, other, none, none, none, none)},
	"openat":  {bpf.ProbeProgOpens, at(1, 0, none, none, 2, none)},
	"openat2": {program: bpf.ProbeProgOpenat2},

	"write":   {program: bpf.ProbeProgWrites},
	"writev":  {program: bpf.ProbeProgWrites},
	"pwrite":  {program: bpf.ProbeProgWrites},
	"pwritev": {program: bpf.ProbeProgWrites},

	"fork":   plain,
	"vfork":  plain,
	"clone":  plain,
	"clone3": {program: bpf.ProbeProgClone3},

	"socket":  fd(other),
	"connect": address(1),
	"bind":    address(1),
	"accept":  fd(other),
	"accept4": fd(other),

	"dup":   stdio(bpf.ProbeShapeStdioSTDIO_DUP),
	"dup2":  stdio(bpf.ProbeShapeStdioSTDIO_DUP),
	"dup3":  stdio(bpf.ProbeShapeStdioSTDIO_DUP),
	"fcntl": stdio(bpf.ProbeShapeStdioSTDIO_FCNTL),

	"unlink":    named(0, other),
	"unlinkat":  named(1, 0),
	"rmdir":     named(0, other),
	"mkdir":     named(0, other),
	"mkdirat":   named(1, 0),
	"chmod":     named(0, other),
	"fchmodat":  named(1, 0),
	"fchmodat2": named(1, 0),
	"fchmod":    fd(0),
	"rename":    twoNamed(0, other, 1, other),
	"renameat":  twoNamed(1, 0, 3, 2),
	"renameat2": twoNamed(1, 0, 3, 2),
	"link":      twoNamed(0, other, 1, other),
	"linkat":    twoNamed(1, 0, 3, 2),
	"symlink":   twoNamed(0, none, 1, other), // what a symlink holds starts from nowhere
	"symlinkat": twoNamed(0, none, 2, 1),
	"chdir":     {program: bpf.ProbeProgDirectories},
	"fchdir":    {program: bpf.ProbeProgDirectories},

	"mount":         {bpf.ProbeProgNames, at(0, none, 1, other, 2, none)},
	"umount2":       named(0, other),
	"unshare":       plain,
	"setns":         fd(0),
	"init_module":   {bpf.ProbeProgNames, at(none, none, none, none, 2, none)},
	"finit_module":  fd(0),
	"delete_module": named(0, none),
	"memfd_create":  named(0, none),
	"bpf":           plain,
	"ptrace":        plain,

	"setuid":    plain,
	"setgid":    plain,
	"setreuid":  plain,
	"setregid":  plain,
	"setresuid": plain,
	"setresgid": plain,
}

// Syscalls lists the system calls that the probe watches on this architecture, execs aside.
func Syscalls() []string { return slices.Sorted(maps.Keys(numbers)) }

// Events lists the types of events that the probe tells of, on whatever machine, as rules name them. There is no event of any
// other, so that a rule which needs one would never fire.
func Events() []string {
	return slices.Sorted(slices.Values(append([]string{"execve", "execveat", "procexit"}, slices.Collect(maps.Keys(forms))...)))
}

// names is numbers the other way round.
var names = func() map[int32]string {
	m := map[int32]string{}
	for name, nr := range numbers {
		m[int32(nr)] = name
	}
	return m
}()

// program returns what watches the system call, which the loader may have had to leave out.
func program(syscall string) string { return forms[syscall].program }
