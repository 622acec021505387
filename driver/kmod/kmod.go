// SPDX-License-Identifier: Apache-2.0

// Package kmod knows how a driver that is a kernel module is loaded, verified and unloaded. It runs in the guest.
package kmod

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/kmod/kmsg"
	"github.com/mews-farm/mews/results/cause"
)

// Module is a module to load.
type Module struct {
	Name   string   // as in /proc/modules
	Image  *os.File // a regular file that holds the .ko, not compressed
	Params string   // parameters, as insmod takes them
	Device string   // prefix of the device nodes it must make, one per online CPU; empty: none are expected
}

// Report says how a load went.
type Report struct {
	Name     string
	Took     time.Duration // finit_module alone
	Devices  int           // device nodes found
	Versions Versions
	Dmesg    []kmsg.Record // what the kernel logged meanwhile
}

// maxDmesg bounds what is read of the kernel's log around one load.
const maxDmesg = 256 << 10

// Load loads m and verifies that it came up: listed and live in /proc/modules, every device node there and
// answering. What the kernel logged meanwhile is in the report, for the caller to judge.
func Load(m Module) (Report, error) {
	r := Report{Name: m.Name}
	marker, err := kmsg.End()
	if err != nil {
		return r, ours("read the kernel's log", err)
	}
	start := time.Now()
	err = unix.FinitModule(int(m.Image.Fd()), m.Params, 0)
	r.Took = time.Since(start)
	var logErr error
	if r.Dmesg, _, _, logErr = kmsg.Read(marker, maxDmesg); logErr != nil {
		return r, ours("read the kernel's log", logErr)
	}
	if err != nil {
		if why, is := foreign(m.Image); is {
			return r, cause.Failf(cause.VermagicMismatch, cause.FaultDriver, "module %s was built for another kernel: %w", m.Name, err).
				With(why).With(evidenceOf(r.Dmesg)...).Advise("build it against this kernel's own headers")
		}
		return r, classify(m.Name, err, r.Dmesg)
	}
	if err := ignored(m.Name, r.Dmesg); err != nil {
		return r, err
	}
	if _, err := find(m.Name); err != nil {
		return r, err
	}
	if m.Device == "" {
		return r, nil
	}
	if r.Devices, err = devices(m.Device); err != nil {
		return r, err
	}
	r.Versions, err = askVersions(filepath.Join("/dev", m.Device+"0"))
	return r, err
}

// ignored is an error if the kernel loaded the module without one of its parameters: it takes no offence at those that a
// module does not have (kernel/module/main.c, unknown_module_param_cb).
func ignored(name string, lines []kmsg.Record) error {
	for _, l := range lines {
		if strings.Contains(l.Text, ": unknown parameter ") {
			return cause.Failf(cause.ModuleInitFailed, cause.FaultDriver, "module %s does not have a parameter that it was given, and is loaded without it", name).
				With(cause.Evidence{File: "dmesg.log", Text: l.Text}).Advise("`modinfo -p` lists those that it has")
		}
	}
	return nil
}

// Unload removes a module and returns what the kernel logged meanwhile. One that is in use is an error that names who
// holds it.
func Unload(name string) ([]kmsg.Record, error) {
	marker, err := kmsg.End()
	if err != nil {
		return nil, ours("read the kernel's log", err)
	}
	if err := unix.DeleteModule(name, unix.O_NONBLOCK); err != nil {
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EBUSY) {
			return nil, cause.Failf(cause.ModuleBusy, cause.FaultDriver, "module %s cannot be unloaded: %w", name, err).With(holders(name)...).
				Advise("stop what holds it first")
		}
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "unload module %s: %w", name, err)
	}
	lines, _, _, err := kmsg.Read(marker, maxDmesg)
	if err != nil {
		return nil, ours("read the kernel's log", err)
	}
	if _, err := find(name); err == nil {
		return lines, cause.Failf(cause.ModuleBusy, cause.FaultDriver, "module %s is still listed after its unload", name).With(holders(name)...)
	}
	return lines, nil
}

// entry is a line of /proc/modules: name, size, reference count, the modules that use it, state, address.
type entry struct {
	name  string
	refs  string
	users []string
	state string
}

// parseModules reads /proc/modules. Lines that make no sense are left out.
func parseModules(s string) []entry {
	var out []entry
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		e := entry{name: f[0], refs: f[2], state: f[4]}
		if f[3] != "-" {
			e.users = strings.FieldsFunc(f[3], func(r rune) bool { return r == ',' })
		}
		out = append(out, e)
	}
	return out
}

// find is the live module of that name. The kernel lists names with underscores.
func find(name string) (entry, error) {
	list, err := os.ReadFile("/proc/modules")
	if err != nil {
		return entry{}, ours("list the modules", err)
	}
	for _, e := range parseModules(string(list)) {
		if e.name != strings.ReplaceAll(name, "-", "_") {
			continue
		}
		if e.state != "Live" {
			return entry{}, cause.Failf(cause.ModuleInitFailed, cause.FaultDriver, "module %s is listed, but %s", name, e.state)
		}
		return e, nil
	}
	return entry{}, cause.Failf(cause.ModuleInitFailed, cause.FaultDriver, "module %s was loaded without an error, but is not listed in /proc/modules", name).
		Advise("the name in the driver's description must be the module's own")
}

// holders says who uses a module: other modules, and the processes that have a device of its open.
func holders(name string) []cause.Evidence {
	var out []cause.Evidence
	if e, err := find(name); err == nil {
		out = append(out, cause.Evidence{File: "/proc/modules", Text: fmt.Sprintf("%s: %s references, used by modules %v", name, e.refs, e.users)})
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return out
	}
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err != nil || !strings.HasPrefix(target, "/dev/"+name) {
			continue
		}
		process := filepath.Dir(filepath.Dir(fd))
		comm, _ := os.ReadFile(filepath.Join(process, "comm")) // a process that has gone holds nothing
		out = append(out, cause.Evidence{File: fd, Text: fmt.Sprintf("%s is open in %s (%s)", target, filepath.Base(process), strings.TrimSpace(string(comm)))})
	}
	return out
}

func ours(what string, err error) error {
	return cause.Errorf(cause.Internal, cause.FaultHarness, "%s: %w", what, err)
}
