// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"os/exec"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deedRace has two threads: one changes a name all the time, the other opens it.
func deedRace([]string) error {
	name := []byte("/proc/version\x00")
	done := make(chan bool)
	go func() {
		runtime.LockOSThread()
		for {
			select {
			case <-done:
				return
			default:
				name[13] = 0
				copy(name[6:], "cmdline\x00")
				copy(name[6:], "version\x00")
			}
		}
	}()
	for range 6000 { // of 300, none was caught in one run of eight on a busy host
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, ^uintptr(99), uintptr(unsafe.Pointer(&name[0])), unix.O_CLOEXEC, 0, 0, 0)
		if errno == 0 {
			unix.Close(int(fd))
		}
	}
	close(done)
	return nil
}

// TestRace: where the arguments change while the kernel may read them, what it has read is not certain, and that is said.
func TestRace(t *testing.T) {
	d := startDriver(t)
	got, _ := watch(t, d, exec.Command(self(t), deedWord, "race"))
	s, err := d.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s.DropsBy[lostRaced] == 0 {
		t.Errorf("none of %d events was found to be uncertain: %v", len(got), s.DropsBy)
	}
	if s.Events != uint64(len(got)) {
		t.Errorf("%d events were sent, %d read", s.Events, len(got))
	}
}
