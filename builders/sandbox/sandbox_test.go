// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

func TestMain(m *testing.M) {
	Init()
	if len(os.Args) > 1 && os.Args[1] == probeArg {
		fmt.Print(probe(os.Args[2:]))
		return
	}
	if len(os.Args) > 1 && os.Args[1] == sleeperArg {
		runSleeper(os.Args[2])
		return
	}
	os.Exit(m.Run())
}

// The test binary is also the program that looks around inside: a root with a libc is not needed for that.
const (
	probeArg   = "probe"
	sleeperArg = "sleeper"
)

// probe does one thing and says what came of it.
func probe(args []string) string {
	switch args[0] {
	case "write":
		if err := os.WriteFile(args[1], []byte("x"), 0o644); err != nil {
			return err.Error()
		}
		return "ok"
	case "read":
		b, err := os.ReadFile(args[1])
		if err != nil {
			return err.Error()
		}
		return string(b)
	case "ls":
		es, err := os.ReadDir(args[1])
		if err != nil {
			return err.Error()
		}
		var names []string
		for _, e := range es {
			names = append(names, e.Name())
		}
		return strings.Join(names, " ")
	case "mount":
		return fmt.Sprint(syscall.Mount("none", "/tmp", "tmpfs", 0, ""))
	case "dial":
		b, err := os.ReadFile("/proc/net/dev")
		if err != nil {
			return err.Error()
		}
		return string(b)
	case "env":
		return strings.Join(os.Environ(), "\n")
	case "pid":
		return fmt.Sprint(os.Getpid())
	case "sleep":
		fmt.Println("asleep")
		time.Sleep(time.Hour)
	case "exit":
		os.Exit(7)
	}
	return "?"
}

// newRoot makes a root whose only program is this test binary.
func newRoot(t *testing.T) (root, scratch string) {
	t.Helper()
	if os.Geteuid() != 0 {
		if err := exec.Command("unshare", "-Urm", "true").Run(); err != nil {
			t.Skip("not root, and user name spaces are not to be had:", err)
		}
	}
	root, scratch = t.TempDir(), t.TempDir()
	for _, d := range []string{"build", "dev", "proc", "tmp", "etc"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "probe"), self, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ldd", "/proc/self/exe").Output(); err == nil && bytes.Contains(out, []byte("=>")) {
		t.Skip("this test binary is not static (built with -race or cgo)")
	}
	return root, scratch
}

func inside(t *testing.T, s Spec, args ...string) (string, *Result) {
	t.Helper()
	var out bytes.Buffer
	s.Argv, s.Log = append([]string{"/probe", probeArg}, args...), &out
	r, err := Run(t.Context(), s)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return out.String(), r
}

func TestInside(t *testing.T) {
	root, scratch := newRoot(t)
	headers := t.TempDir()
	if err := os.MkdirAll(filepath.Join(headers, "etc/sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for p, text := range map[string]string{headers + "/etc/sub/h": "from headers", headers + "/etc/both": "headers", root + "/etc/both": "root"} {
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SECRET_OF_THE_HOST", "1")
	plain := Spec{Root: root, Scratch: scratch}
	laid := Spec{Root: root, Scratch: scratch, Overlay: []string{headers}}
	for _, c := range []struct {
		name string
		spec Spec
		args []string
		want string // in the output
		not  string // not in it
	}{
		{"root is read-only", plain, []string{"write", "/etc/x"}, "read-only file system", ""},
		{"root under an overlay is read-only", laid, []string{"write", "/etc/x"}, "read-only file system", ""},
		{"scratch is writable", plain, []string{"write", "/build/x"}, "ok", ""},
		{"tmp is writable", plain, []string{"write", "/tmp/x"}, "ok", ""},
		{"null is writable", plain, []string{"write", "/dev/null"}, "ok", ""},
		{"overlay is seen", laid, []string{"read", "/etc/sub/h"}, "from headers", ""},
		{"root wins over the overlay", laid, []string{"read", "/etc/both"}, "root", "headers"},
		{"nothing of the host", plain, []string{"ls", "/"}, "build dev etc probe proc tmp", "home"},
		{"proc is there", plain, []string{"read", "/proc/self/limits"}, "Max address space", ""},
		// "x" is no number: where the file is writable the kernel refuses it, and nothing has changed.
		{"the host's sysctls are read-only", plain, []string{"write", "/proc/sys/kernel/panic"}, "read-only file system", "invalid"},
		{"pid name space", plain, []string{"pid"}, "1", ""},
		{"no capabilities", plain, []string{"mount"}, "operation not permitted", ""},
		{"capabilities are gone for good", plain, []string{"read", "/proc/self/status"}, "CapBnd:\t0000000000000000", ""},
		{"no new privileges", plain, []string{"read", "/proc/self/status"}, "NoNewPrivs:\t1", ""},
		{"no network", plain, []string{"dial"}, "lo:", "eth0:"},
		{"fixed environment", plain, []string{"env"}, "KBUILD_BUILD_HOST=mews", "SECRET_OF_THE_HOST"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, r := inside(t, c.spec, c.args...)
			if r.ExitCode != 0 || !strings.Contains(got, c.want) || c.not != "" && strings.Contains(got, c.not) {
				t.Errorf("%s; got %q, want %q and not %q", r, got, c.want, c.not)
			}
		})
	}
	// The mounts must not have leaked out.
	if b, err := os.ReadFile("/proc/self/mountinfo"); err != nil || bytes.Contains(b, []byte(root)) {
		t.Errorf("the host sees mounts under %s (%v)", root, err)
	}
}

func TestEndings(t *testing.T) {
	root, scratch := newRoot(t)
	s := Spec{Root: root, Scratch: scratch}
	if _, r := inside(t, s, "exit"); r.ExitCode != 7 || r.TimedOut {
		t.Errorf("exit 7: %s", r)
	}
	s.Limits.Wall = 200 * time.Millisecond
	if _, r := inside(t, s, "sleep"); !r.TimedOut || r.Signal != syscall.SIGKILL {
		t.Errorf("over time: %s", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s = Spec{Root: root, Scratch: scratch, Argv: []string{"/probe", probeArg, "sleep"}, Log: writerFunc(func([]byte) { cancel() })}
	if _, err := Run(ctx, s); cause.Of(err).Cause != cause.Cancelled {
		t.Errorf("cancelled: %v", err)
	}
	s.Argv = []string{"/nothing"}
	if _, err := Run(t.Context(), s); cause.Of(err).Cause != cause.ToolchainBroken || !strings.Contains(err.Error(), "/nothing") {
		t.Errorf("no such program: %v", err)
	}
	if err := os.Remove(filepath.Join(root, "proc")); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), s); cause.Of(err).Cause != cause.ToolchainBroken || !strings.Contains(err.Error(), "/proc") {
		t.Errorf("a root without /proc: %v", err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// runSleeper is mews in TestKilledWithItsParent: it runs a command that never ends.
func runSleeper(root string) {
	_, err := Run(context.Background(), Spec{Root: root, Scratch: root, Argv: []string{"/probe", probeArg, "sleep"}, Log: os.Stdout})
	fmt.Println(err)
}

func TestKilledWithItsParent(t *testing.T) {
	root, _ := newRoot(t)
	parent := exec.Command("/proc/self/exe", sleeperArg, root)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 7)
	if _, err := out.Read(line); err != nil || string(line) != "asleep\n" {
		t.Fatalf("the sleeper says %q, %v", line, err)
	}
	// The sandboxed process holds the write end of out: end of file is the event of its death.
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() {
		_, err := out.Read(line)
		gone <- err
	}()
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		t.Fatal("the command outlived its parent")
	}
	if err := parent.Wait(); err == nil {
		t.Error("a killed parent exits 0")
	}
}

func TestCapLog(t *testing.T) {
	for _, c := range []struct {
		name   string
		max    int
		writes []string
		want   string
	}{
		{"short", 10, []string{"ab", "cd"}, "abcd"},
		{"exact", 10, []string{"01234", "56789"}, "0123456789"},
		{"over by one", 10, []string{"01234567890"}, "01234\n[mews: 1 bytes left out]\n67890"},
		{"byte by byte", 4, strings.Split("abcdefg", ""), "ab\n[mews: 3 bytes left out]\nfg"},
		{"one large write", 4, []string{"ab", strings.Repeat("x", 1000) + "yz"}, "ab\n[mews: 1000 bytes left out]\nyz"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			l := NewCapLog(&b, c.max)
			for _, w := range c.writes {
				if n, err := l.Write([]byte(w)); n != len(w) || err != nil {
					t.Fatal(n, err)
				}
			}
			if err := l.Close(); err != nil || b.String() != c.want {
				t.Errorf("got %q (%v), want %q", b.String(), err, c.want)
			}
		})
	}
}
