// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

var legacy = []watched{
	{"open", unix.SYS_OPEN, modern.Open, func(a *arguments, ev *modern.Event) {
		a.open(ev, unix.AT_FDCWD, 0, a.arg[1], a.arg[2])
	}},
	{"creat", unix.SYS_CREAT, modern.Open, func(a *arguments, ev *modern.Event) {
		a.open(ev, unix.AT_FDCWD, 0, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, a.arg[1])
	}},
}
