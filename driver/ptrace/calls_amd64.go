// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

var legacy = []watched{
	{name: "open", nr: unix.SYS_OPEN, kind: modern.Open, where: named(0, working), more: openHere},
	{name: "creat", nr: unix.SYS_CREAT, kind: modern.Open, where: named(0, working), more: createHere},
	{name: "fork", nr: unix.SYS_FORK, kind: modern.Call, where: plain},
	{name: "vfork", nr: unix.SYS_VFORK, kind: modern.Call, where: plain},
	{name: "dup2", nr: unix.SYS_DUP2, kind: modern.Call, where: descriptor(result), standard: true, copy: 1},
	{name: "unlink", nr: unix.SYS_UNLINK, kind: modern.Call, where: named(0, working)},
	{name: "rmdir", nr: unix.SYS_RMDIR, kind: modern.Call, where: named(0, working)},
	{name: "mkdir", nr: unix.SYS_MKDIR, kind: modern.Call, where: named(0, working)},
	{name: "chmod", nr: unix.SYS_CHMOD, kind: modern.Call, where: named(0, working)},
	{name: "rename", nr: unix.SYS_RENAME, kind: modern.Call, where: twoNamed(0, working, 1, working)},
	{name: "link", nr: unix.SYS_LINK, kind: modern.Call, where: twoNamed(0, working, 1, working)},
	{name: "symlink", nr: unix.SYS_SYMLINK, kind: modern.Call, where: twoNamed(0, nowhere, 1, working)},
}

func openHere(a *arguments, ev *modern.Event) { opening(ev, unix.AT_FDCWD, a.arg[1], a.arg[2]) }

func createHere(a *arguments, ev *modern.Event) {
	opening(ev, unix.AT_FDCWD, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, a.arg[1])
}
