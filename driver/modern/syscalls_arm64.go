// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/bpf"
)

// syscallNumbers says which program watches which system call, as on amd64; arm64 never had open and creat.
var syscallNumbers = map[string]uint32{
	bpf.ProbeProgOpenat:  unix.SYS_OPENAT,
	bpf.ProbeProgOpenat2: unix.SYS_OPENAT2,
}
