// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain lets the test's own binary be what the agent's is: the acting process by whatever name.
func TestMain(m *testing.M) {
	switch {
	case ActingAs():
		exitWith(ActAs(context.Background()))
	case os.Getenv("MEWS_TEST_ACT") != "":
		exitWith(Act(context.Background(), os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

func exitWith(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func TestActLink(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, call := range linkCalls {
		t.Run(call, func(t *testing.T) {
			to := filepath.Join(dir, call)
			res := act(t, Step{Link{Syscall: call, From: file, To: to}})
			if res.Steps[0].Errno == int(unix.ENOSYS) {
				t.Skip("this architecture does not have " + call + "(2)")
			}
			if err := res.Err(); err != nil {
				t.Fatal(err)
			}
			a, errA := os.Lstat(file)
			b, errB := os.Lstat(to)
			if errA != nil || errB != nil || os.SameFile(a, b) != strings.HasPrefix(call, "link") {
				t.Errorf("%v and %v (%v, %v)", a, b, errA, errB)
			}
			if target, err := os.Readlink(to); strings.HasPrefix(call, "symlink") && target != file {
				t.Errorf("it leads to %q, %v", target, err)
			}
		})
	}
}

// The cleanup is done whatever became of the steps, and counts as they do.
func TestActCleansUp(t *testing.T) {
	for _, broken := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "left")
		steps := []Step{{Copy{Src: "/etc/hostname", Dst: file, Mode: "0600"}}}
		if broken {
			steps = append(steps, Step{Exec{Path: "/bin/false"}})
		}
		t.Setenv(EnvID, attackID)
		in, err := json.Marshal(Deed{ID: attackID, Steps: steps, Cleanup: []Step{{Remove{Path: file}}}})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := Act(t.Context(), bytes.NewReader(in), &out); err != nil {
			t.Fatal(err)
		}
		var res Result
		if err := json.Unmarshal(out.Bytes(), &res); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("broken %v: the file is still there: %v", broken, err)
		}
		if err := res.Err(); (err != nil) != broken {
			t.Errorf("broken %v: %v of %+v", broken, err, res)
		}
	}
}

func TestActConnect(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close() // the deed listens there itself
	res := act(t, Step{Listen{Address: address}}, Step{Connect{Address: address}}, Step{Connect{Address: address, Dup: "dup3", Onto: 900}})
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	defer func() { listeners[len(listeners)-1].Close() }()
	if sa, err := unix.Getpeername(900); err != nil || fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port) != address {
		t.Errorf("descriptor 900 leads to %v, %v, want %s", sa, err, address)
	}
	for _, fd := range []int{900, res.Steps[1].Detail.FD, res.Steps[2].Detail.FD} {
		if err := unix.Close(fd); err != nil {
			t.Errorf("descriptor %d: %v", fd, err)
		}
	}
	if err := act(t, Step{Connect{Address: "127.0.0.1:1"}}).Err(); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestActPtrace(t *testing.T) {
	for _, request := range ptraceCalls {
		if err := act(t, Step{Ptrace{Request: request, Program: "/bin/cat"}}).Err(); err != nil {
			t.Errorf("%s: %v", request, err)
		}
	}
}

// The child has the name and the id, and nothing of what the deed is told by; the link it was started by is gone.
func TestActAs(t *testing.T) {
	dir := t.TempDir()
	prog, seen := filepath.Join(dir, "httpd"), filepath.Join(dir, "seen")
	look := Exec{Path: "/bin/sh", Args: []string{"-c", `tr '\0' '\n' < /proc/$PPID/cmdline > "$0"; cat /proc/$PPID/comm >> "$0"; echo "$MEWS_ID ${MEWS_AS-none}" >> "$0"; ls /proc/$PPID/fd/0 > /dev/null`, seen}}
	res := act(t, Step{As{Program: prog, Args: []string{"-k", "start"}, Steps: []stepForm{form(look)}}})
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(seen)
	if want := prog + "\n-k\nstart\nhttpd\n" + attackID + " none\n"; err != nil || string(got) != want {
		t.Errorf("it was %q (%v), want %q", got, err, want)
	}
	if _, err := os.Lstat(prog); !os.IsNotExist(err) {
		t.Errorf("the link is still there: %v", err)
	}
	// What fails there fails here, with the errno.
	res = act(t, Step{As{Program: prog, Steps: []stepForm{form(Open{Syscall: "openat", Path: filepath.Join(dir, "none")})}}})
	if s := res.Steps[0]; s.OK || s.Errno != int(unix.ENOENT) || !strings.Contains(s.Error, "no such file") {
		t.Errorf("got %+v, want ENOENT", s)
	}
	res = act(t, Step{As{Program: prog, Steps: []stepForm{form(Exec{Path: "/bin/false"})}}})
	if s := res.Steps[0]; s.OK || !strings.Contains(s.Error, "exit status 1") {
		t.Errorf("got %+v, want the exit status", s)
	}
}

func TestActAge(t *testing.T) {
	age, err := ownAge()
	if err != nil || age <= 0 {
		t.Fatalf("this process is %v old: %v", age, err)
	}
	if err := act(t, Step{Age{AtLeast: "10ms"}}).Err(); err != nil {
		t.Error(err)
	}
	if err := act(t, Step{Age{AtLeast: "20ms"}}, Step{Age{AtMost: "1ns"}}).Err(); err == nil || !strings.Contains(err.Error(), "too slow") {
		t.Errorf("too old: %v", err)
	}
}

// become runs a deed in a process of its own, which becomes another program.
func become(t *testing.T, a Become) (Result, string, error) {
	t.Helper()
	in, err := json.Marshal(Deed{ID: attackID, Steps: []Step{{a}}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MEWS_TEST_ACT=1", EnvID+"="+attackID)
	var words bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &words
	out, runErr := cmd.Output()
	var res Result
	if err := json.Unmarshal(out, &res); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return res, words.String(), runErr
}

func TestActBecome(t *testing.T) {
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, terminal := range []bool{false, true} {
		res, words, err := become(t, Become{Path: "/bin/sh", Args: []string{"-c", "cat /proc/self/stat >&2; test -t 0"}, Terminal: terminal})
		stat := strings.Fields(words)
		if len(stat) < 7 || (stat[6] != "0") != terminal || (err == nil) != terminal {
			t.Errorf("terminal %v: %v, %q", terminal, err, words)
		}
		if res.Err() != nil || res.Steps[0].Action != "become" {
			t.Errorf("result %+v", res)
		}
	}
	for descriptor, want := range map[string]string{"memfd": "/memfd:mews (deleted)\n", "file": sh + "\n"} {
		if _, words, err := become(t, Become{Path: sh, Args: []string{"-c", "readlink /proc/$$/exe >&2"}, Descriptor: descriptor}); err != nil || words != want {
			t.Errorf("%s: it is %q (%v), want %q", descriptor, words, err, want)
		}
	}
	// A program that is not there ends the process with an error, whatever the result said.
	if _, words, err := become(t, Become{Path: "/none"}); err == nil || !strings.Contains(words, "exec /none: no such file") {
		t.Errorf("%v: %s", err, words)
	}
}

func TestActionsRefuse(t *testing.T) {
	for _, c := range []struct {
		step string
		want string
	}{
		{`link: {syscall: hardlink, from: /a, to: /b}`, `unknown syscall "hardlink" (known: symlink, symlinkat, link, linkat)`},
		{`link: {syscall: link, from: a, to: /b}`, `the path "a" is not absolute`},
		{`remove: {path: /a/../b}`, `not absolute and clean`},
		{`socket: {domain: AF_PAKET, type: SOCK_RAW}`, `did you mean "AF_PACKET"?`},
		{`rename: {syscall: mv, from: /a, to: /b}`, `unknown syscall "mv"`},
		{`rename: {syscall: renameat2, from: a, to: /run/mews/b}`, `is mews's own in the guest`},
		{`fetch: {address: "8.8.8.8:80", dst: /a}`, `neither the machine's own`},
		{`fetch: {address: "127.0.0.1:80", dst: a, mode: rwx}`, `the mode "rwx" is not three octal digits`},
		{`listen: {address: "127.0.0.1:80", send: a}`, `the path "a" is not absolute`},
		{`open: {syscall: io_uring_openat, path: /a, resolve: [RESOLVE_BENEATH]}`, `io_uring_openat has no resolve flags`},
		{`open: {syscall: io_uring_open, path: /a}`, `did you mean "io_uring_openat"?`},
		{`listen: {address: "8.8.8.8:53"}`, `neither the machine's own`},
		{`listen: {address: localhost}`, `not one of IPv4 with a port`},
		{`connect: {address: "[::1]:22"}`, `not one of IPv4 with a port`},
		{`connect: {address: "127.0.0.1:22", onto: 3}`, `there is no dup`},
		{`connect: {address: "127.0.0.1:22", dup: dup, onto: 0}`, `unknown dup "dup"`},
		{`connect: {address: "127.0.0.1:22", dup: dup2, onto: 5000}`, `no descriptor from 0 to 1000`},
		{`ptrace: {request: PTRACE_KILL, program: /a}`, `unknown request "PTRACE_KILL"`},
		{`as: {program: /a, steps: []}`, `it has no steps`},
		{`as: {program: /a, steps: [{become: {path: /b}}]}`, `become cannot be a step of as`},
		{`as: {program: /a, steps: [{open: {syscall: opn, path: /b}}]}`, `its step 1: unknown syscall "opn"`},
		{`as: {program: /a, network: 10.0.0.1, steps: [{remove: {path: /b}}]}`, `none of 198.51.100.0/24`},
		{`become: {path: /a, descriptor: pipe}`, `unknown descriptor "pipe" (known: memfd, file)`},
		{`load-module: {path: dummy.ko}`, `the path "dummy.ko" is not absolute`},
		{`age: {at_least: 60s}`, `no time of up to 7s`},
		{`age: {}`, `at_least a time, or at_most`},
		{`age: {at_least: 1s, at_most: 2s}`, `at_least a time, or at_most`},
		{`exec: {path: /a, user: -1}`, `the user -1 is none`},
	} {
		_, err := Parse("x.yaml", []byte("name: x\nrule: y\ncontext: host\nattack:\n  - "+c.step+"\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", c.step, err, c.want)
		}
	}
}

func TestLintLastSteps(t *testing.T) {
	last, other := Step{Become{Path: "/a"}}, Step{Remove{Path: "/b"}}
	for _, c := range []struct {
		s    Scenario
		want string
	}{
		{Scenario{Attack: []Step{last, other}, Twin: []Step{last, other}}, "must be the last step"},
		{Scenario{Setup: []Step{last}}, "must be the last step"},
		{Scenario{Cleanup: []Step{last}}, "must be the last step"},
		{Scenario{Attack: []Step{last}, Cleanup: []Step{other}}, "nobody is left for the cleanup"},
	} {
		if errs := fmt.Sprint(lintShape(c.s)); !strings.Contains(errs, c.want) {
			t.Errorf("got %s, want %s", errs, c.want)
		}
	}
}
