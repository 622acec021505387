// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/bpf"
)

// syscallNumbers says which program watches which system call. A system call goes by the name of its program.
var syscallNumbers = map[string]uint32{
	bpf.ProbeProgOpen:    unix.SYS_OPEN,
	bpf.ProbeProgCreat:   unix.SYS_CREAT,
	bpf.ProbeProgOpenat:  unix.SYS_OPENAT,
	bpf.ProbeProgOpenat2: unix.SYS_OPENAT2,
}
