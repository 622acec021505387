// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// ringAct does an open in this process, or skips where this machine lets nobody have an io_uring.
func ringAct(t *testing.T, open Open) StepResult {
	t.Helper()
	s := act(t, Step{open}).Steps[0]
	if errno := unix.Errno(s.Errno); strings.HasPrefix(s.Error, open.Syscall+" "+open.Path+": io_uring_setup") && (errno == unix.ENOSYS || errno == unix.EPERM) {
		t.Skip("no io_uring is to be had here: " + s.Error)
	}
	return s
}

func TestActOpenByIoUring(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	for _, call := range []string{"io_uring_openat", "io_uring_openat2"} {
		if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := ringAct(t, Open{Syscall: call, Path: file, Flags: []string{"O_RDONLY", "O_CLOEXEC"}})
		if !s.OK || s.Detail.FD < 3 || s.Detail.Path != file {
			t.Errorf("%s: %+v", call, s)
		}
		// The flags reached the kernel, and the mode with them.
		if s := ringAct(t, Open{Syscall: call, Path: file, Flags: []string{"O_WRONLY", "O_TRUNC"}}); !s.OK {
			t.Errorf("%s: %+v", call, s)
		}
		if data, err := os.ReadFile(file); err != nil || len(data) > 0 {
			t.Errorf("%s with O_TRUNC left %q, %v", call, data, err)
		}
		made := file + call
		if s := ringAct(t, Open{Syscall: call, Path: made, Flags: []string{"O_WRONLY", "O_CREAT"}, Mode: "0400"}); !s.OK {
			t.Errorf("%s: %+v", call, s)
		}
		if fi, err := os.Stat(made); err != nil || fi.Mode() != 0o400 {
			t.Errorf("%s made %v, %v", call, fi, err)
		}
		if s := ringAct(t, Open{Syscall: call, Path: file + "none"}); s.OK || s.Errno != int(unix.ENOENT) || s.Refused != "" {
			t.Errorf("%s of nothing: %+v", call, s)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if s := ringAct(t, Open{Syscall: "io_uring_openat2", Path: link, Resolve: []string{"RESOLVE_NO_SYMLINKS"}}); s.OK || s.Errno != int(unix.ELOOP) {
		t.Errorf("got %+v, want ELOOP", s)
	}
}

func TestIoUringWithoutTheOperation(t *testing.T) {
	r, err := newRing()
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		t.Skip("no io_uring is to be had here: " + err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	for _, op := range []uint8{ringProbeOps - 1, 200} { // of tomorrow
		var no *refusal
		if err := r.supports(op); !errors.As(err, &no) || no.cause != cause.KernelLacks || !strings.Contains(no.proof, fmt.Sprintf("operation %d is not among", op)) {
			t.Errorf("operation %d: %v", op, err)
		}
	}
	if err := errors.Join(r.supports(ringOpOpenat), r.supports(ringOpOpenat2)); err != nil {
		t.Error(err)
	}
}

// That a policy forbids io_uring is proven by its sysctl alone.
func TestIoUringForbidden(t *testing.T) {
	sysctl := filepath.Join(t.TempDir(), "io_uring_disabled")
	for _, c := range []struct {
		value string // "": there is no such file
		errno unix.Errno
		proof string
	}{
		{"2\n", unix.EPERM, sysctl + ": 2"},
		{"1\n", unix.EPERM, sysctl + ": 1"},
		{"0\n", unix.EPERM, ""},
		{"", unix.EPERM, ""},
		{"2\n", unix.ENOSYS, ""},
	} {
		_ = os.Remove(sysctl)
		if c.value != "" {
			if err := os.WriteFile(sysctl, []byte(c.value), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var no *refusal
		err := forbidden(fmt.Errorf("io_uring_setup: %w", c.errno), sysctl)
		if errors.As(err, &no) != (c.proof != "") || no != nil && (no.proof != c.proof || no.cause != cause.PolicyDenied) || !errors.Is(err, c.errno) {
			t.Errorf("%q, %v: %+v", c.value, c.errno, err)
		}
	}
}
