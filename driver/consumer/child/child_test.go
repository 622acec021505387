// SPDX-License-Identifier: Apache-2.0

package child_test

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/consumer/child"
)

// shell starts a script and gathers its lines until it has ended.
func shell(t *testing.T, script string, line func(string) error) *child.Process {
	t.Helper()
	p, err := child.Start(exec.Command("sh", "-c", script), func(b []byte) error { return line(string(b)) })
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	return p
}

func TestLines(t *testing.T) {
	var got []string
	p := shell(t, `echo one; echo; echo two; echo oops >&2; printf three; exit 7`, func(l string) error {
		got = append(got, l)
		return nil
	})
	if strings.Join(got, ",") != "one,two,three" {
		t.Errorf("lines %q", got)
	}
	if p.ExitCode() != 7 || p.Stderr() != "oops\n" || p.ReadErr() != nil || p.KilledBy() != 0 {
		t.Errorf("exit %d, stderr %q, read %v, killed by %v", p.ExitCode(), p.Stderr(), p.ReadErr(), p.KilledBy())
	}
}

// The first bad line is what is told, and those behind it are read nevertheless: a writer that nobody reads blocks.
func TestBadLinesAreReadOn(t *testing.T) {
	n := 0
	bad := errors.New("bad")
	p := shell(t, `for i in $(seq 20000); do echo "a line that fills a pipe sooner or later $i"; done`, func(string) error {
		n++
		if n == 3 {
			return bad
		}
		return nil
	})
	if !errors.Is(p.ReadErr(), bad) || n != 20000 {
		t.Errorf("%v after %d lines", p.ReadErr(), n)
	}
}

func TestEndlessLineEndsTheProcess(t *testing.T) {
	p := shell(t, `yes | tr -d '\n'`, func(string) error { return nil })
	if p.ReadErr() == nil {
		t.Error("a line without an end was accepted")
	}
}

func TestKill(t *testing.T) {
	p, err := child.Start(exec.Command("sleep", "600"), func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if p.Ended() || p.State() != "running" {
		t.Errorf("state %q", p.State())
	}
	p.Kill()
	if p.KilledBy() != syscall.SIGKILL || p.ExitCode() != -1 {
		t.Errorf("killed by %v, exit %d", p.KilledBy(), p.ExitCode())
	}
	if err := p.Signal(syscall.SIGINT); err != nil {
		t.Errorf("a signal to one that has ended: %v", err)
	}
}

// What a process leaves behind keeps its streams open, and nobody waiting.
func TestLeftBehind(t *testing.T) {
	got := 0
	p := shell(t, `sleep 600 & echo mine`, func(string) error { got++; return nil })
	if got != 1 || p.ReadErr() != nil || p.ExitCode() != 0 {
		t.Errorf("%d lines, read %v, exit %d", got, p.ReadErr(), p.ExitCode())
	}
	p.Kill()
}

func TestKillReachesChildren(t *testing.T) {
	pid := make(chan string, 1)
	p, err := child.Start(exec.Command("sh", "-c", "sleep 600 & echo $!; wait"), func(b []byte) error { pid <- string(b); return nil })
	if err != nil {
		t.Fatal(err)
	}
	left, err := strconv.Atoi(<-pid)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(left, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	p.Kill()
	// It becomes readable when the process ends.
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000); n != 1 {
		t.Errorf("process %d lives on: %v", left, err)
	}
}

func TestStderrIsBounded(t *testing.T) {
	p := shell(t, `head -c 1000000 /dev/zero | tr '\0' x >&2; echo last >&2`, func(string) error { return nil })
	if len(p.Stderr()) > 64<<10 || !strings.HasSuffix(p.Stderr(), "last\n") {
		t.Errorf("%d bytes kept", len(p.Stderr()))
	}
	if ev := child.Evidence("here", strings.Repeat("a\n", 50)+"b\n"); len(ev) != 20 || ev[19].Text != "b" {
		t.Errorf("evidence %v", ev)
	}
}
