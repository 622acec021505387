// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

// deedSignals sends itself a signal, and is stopped and continued by its parent.
func deedSignals([]string) error {
	got := make(chan os.Signal, 1)
	signal.Notify(got, unix.SIGUSR1)
	if err := unix.Kill(os.Getpid(), unix.SIGUSR1); err != nil {
		return err
	}
	if s := <-got; s != unix.SIGUSR1 {
		return fmt.Errorf("got %v", s)
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// state is the third field of /proc/PID/stat.
func state(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')'):]))[1]
}

// TestSignals: signals arrive, job control stops and continues, and a kill kills.
func TestSignals(t *testing.T) {
	d := startDriver(t)
	if err := d.Attach(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self(t), deedWord, "signals")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Launch(cmd, nil); err != nil {
		t.Fatal(err)
	}
	read := make(chan []modern.Event)
	go func() { read <- events(t, d) }()
	pid := cmd.Process.Pid
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	// The real parent is told of the stop and of its end, as without a tracer.
	for _, step := range []struct {
		sig  unix.Signal
		wait func(unix.WaitStatus) bool
	}{
		{unix.SIGSTOP, unix.WaitStatus.Stopped},
		{unix.SIGCONT, unix.WaitStatus.Continued},
	} {
		if err := unix.Kill(pid, step.sig); err != nil {
			t.Fatal(err)
		}
		var ws unix.WaitStatus
		if _, err := unix.Wait4(pid, &ws, unix.WUNTRACED|unix.WCONTINUED, nil); err != nil || !step.wait(ws) {
			t.Fatalf("after %v: status %#x, %v", step.sig, ws, err)
		}
		// The parent is told before the tracer has dealt with it: the state is what it comes to.
		stopped := func() bool { s := state(t, pid); return s == "t" || s == "T" }
		for deadline := time.Now().Add(time.Minute); stopped() != ws.Stopped(); runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("after %v the state is %s", step.sig, state(t, pid))
			}
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var ended *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &ended) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("ended with %v", err)
	}
	in.Close()
	if err := d.Detach(); err != nil {
		t.Fatal(err)
	}
	got := <-read
	proven(t, d, len(got))
	if exits := ofKind(got, modern.Exit); len(exits) != 1 || exits[0].Ret != int64(unix.SIGKILL) {
		t.Errorf("exits %+v", exits)
	}
}

// TestGoesOnAfterStop: what is traced runs, and makes the system calls that the filter stops, after nobody wants the
// events any more, after the driver is closed, and with a tracer that ends with it.
func TestGoesOnAfterStop(t *testing.T) {
	d, err := Start(self(t))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "f")
	cmd := exec.Command("/bin/sh", "-c", `read x; echo "$x" >"$1"; read y; /bin/echo "$y" >>"$1"`, "sh", file)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Attach(); err != nil {
		t.Fatal(err)
	}
	read := make(chan []modern.Event)
	go func() { read <- events(t, d) }()
	if err := d.Launch(cmd, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Detach(); err != nil {
		t.Fatal(err)
	}
	if got := <-read; len(opensOf(got, file)) != 0 {
		t.Errorf("events that have not happened: %+v", got)
	}
	fmt.Fprintln(in, "detached")
	if n, err := d.Traced(); err != nil || n == 0 {
		t.Errorf("%d threads are traced, %v", n, err)
	}
	tracer := d.cmd
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in, "closed")
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "detached\nclosed\n" {
		t.Errorf("it wrote %q, %v", b, err)
	}
	<-d.ended // the tracer holds the other end of the stream until it exits
	if d.err != nil && !errors.Is(d.err, io.EOF) {
		t.Errorf("the stream of tracer %d ended with %v", tracer.Process.Pid, d.err)
	}
}

// TestTracerDies: that it is gone is an error, not silence.
func TestTracerDies(t *testing.T) {
	d, err := Start(self(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Attach(); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if ev, err := d.Read(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read %+v, %v", ev, err)
	}
	if err := d.Detach(); err == nil {
		t.Error("a dead tracer was detached")
	}
	if _, err := d.Stats(); err == nil {
		t.Error("a dead tracer counted")
	}
	if err := d.Close(); err == nil {
		t.Error("a killed tracer ended well")
	}
}

// TestLaunchFails: nothing is left of what cannot be started.
func TestLaunchFails(t *testing.T) {
	d := startDriver(t)
	if err := d.Launch(exec.Command("mews-no-such-program"), nil); err == nil {
		t.Error("a program that does not exist was launched")
	}
	cmd := exec.Command("/bin/true")
	cmd.ExtraFiles = []*os.File{os.Stdin}
	if err := d.Launch(cmd, nil); err == nil {
		t.Error("a command with extra files was launched")
	}
	refused := exec.Command("/proc/version")
	if err := d.Launch(refused, nil); err != nil {
		t.Fatal(err)
	}
	if err := refused.Wait(); err == nil {
		t.Error("what is no program ended well")
	}
}
