// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// act does steps in this process, as an agent's child would, and returns what it wrote.
func act(t *testing.T, steps ...Step) Result {
	t.Helper()
	t.Setenv(EnvID, attackID)
	in, err := json.Marshal(Deed{ID: attackID, Context: Host, Steps: steps})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Act(t.Context(), bytes.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	var res Result
	if err := unmarshalStrict(out.Bytes(), &res); err != nil {
		t.Fatal(err)
	}
	if res.PID != os.Getpid() || res.ID != attackID || res.Want != len(steps) {
		t.Errorf("result %+v", res)
	}
	return res
}

func TestActCopyAndExec(t *testing.T) {
	dir := t.TempDir()
	prog := filepath.Join(dir, "dropped")
	old := unix.Umask(0o077) // the mode is the copy's whatever this is
	defer unix.Umask(old)
	res := act(t,
		Step{Copy{Src: "/bin/sh", Dst: prog, Mode: "0750"}},
		// The child proves by a file that it is the copy and that it has the id.
		Step{Exec{Path: prog, Args: []string{"-c", `readlink /proc/$$/exe > "$1/seen"; echo "$MEWS_ID" >> "$1/seen"`, "sh", dir}}})
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	seen, err := os.ReadFile(filepath.Join(dir, "seen"))
	if err != nil {
		t.Fatal(err)
	}
	if want := prog + "\n" + attackID + "\n"; string(seen) != want {
		t.Errorf("the child saw %q, want %q", seen, want)
	}
	if st, err := os.Stat(prog); err != nil || st.Mode().Perm() != 0o750 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if d := res.Steps[1].Detail; d.Path != prog || d.PID == 0 || d.PID == res.PID || d.FD != -1 {
		t.Errorf("detail %+v", d)
	}
}

func TestActOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, call := range []string{"open", "openat", "openat2"} {
		t.Run(call, func(t *testing.T) {
			open := Open{Syscall: call, Path: file, Flags: []string{"O_RDONLY", "O_CLOEXEC"}}
			if call == "openat2" {
				open.Resolve = []string{"RESOLVE_NO_MAGICLINKS"}
			}
			res := act(t, Step{open})
			if call == "open" && res.Steps[0].Errno == int(unix.ENOSYS) {
				t.Skip("this architecture has no open(2)")
			}
			if err := res.Err(); err != nil {
				t.Fatal(err)
			}
			if d := res.Steps[0].Detail; d.FD < 3 || d.Path != file {
				t.Errorf("detail %+v", d)
			}
		})
	}
}

// openat2 with a resolve flag that forbids what the path needs must fail: the flag reached the kernel.
func TestActOpenResolve(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/etc/hostname", link); err != nil {
		t.Fatal(err)
	}
	res := act(t, Step{Open{Syscall: "openat2", Path: link, Resolve: []string{"RESOLVE_NO_SYMLINKS"}}})
	if s := res.Steps[0]; s.OK || s.Errno != int(unix.ELOOP) {
		t.Errorf("got %+v, want ELOOP", s)
	}
}

// A path that climbs reaches the kernel as it is written: cleaned before, this one would lead to a file.
func TestActOpenTraverses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, call := range []string{"openat", "openat2"} {
		if err := act(t, Step{Open{Syscall: call, Path: dir + "/../" + filepath.Base(dir) + "/f", Traverse: true}}).Err(); err != nil {
			t.Errorf("%s: %v", call, err)
		}
		if s := act(t, Step{Open{Syscall: call, Path: dir + "/none/../f", Traverse: true}}).Steps[0]; s.OK || s.Errno != int(unix.ENOENT) {
			t.Errorf("%s: got %+v, want ENOENT of the directory that is not there", call, s)
		}
	}
}

func TestActMemfdExec(t *testing.T) {
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	for run, want := range map[string]string{"memfd": "/memfd:mews (deleted)", "src": sh} {
		seen := filepath.Join(t.TempDir(), "seen")
		res := act(t, Step{MemfdExec{Src: sh, Run: run, Args: []string{"-c", `readlink /proc/$$/exe > "$0"; echo "$MEWS_ID" >> "$0"`, seen}}})
		if err := res.Err(); err != nil {
			t.Fatalf("%s: %v", run, err)
		}
		got, err := os.ReadFile(seen)
		if err != nil || string(got) != want+"\n"+attackID+"\n" {
			t.Errorf("%s: the child saw %q (%v), want %q", run, got, err, want)
		}
		if d := res.Steps[0].Detail; d.FD != 3 || d.Path != sh || d.PID == 0 || d.PID == res.PID {
			t.Errorf("%s: detail %+v", run, d)
		}
	}
}

func TestActStepFails(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		step  Step
		errno unix.Errno
		say   string
	}{
		{"exec of nothing", Step{Exec{Path: filepath.Join(dir, "none")}}, unix.ENOENT, "no such file"},
		{"exec ends badly", Step{Exec{Path: "/bin/sh", Args: []string{"-c", "exit 3"}}}, 0, "exit status 3"},
		{"copy of nothing", Step{Copy{Src: filepath.Join(dir, "none"), Dst: filepath.Join(dir, "x")}}, unix.ENOENT, "no such file"},
		{"copy onto a file", Step{Copy{Src: taken, Dst: taken}}, unix.EEXIST, "file exists"},
		{"memfd of nothing", Step{MemfdExec{Src: filepath.Join(dir, "none"), Run: "memfd"}}, unix.ENOENT, "no such file"},
		{"memfd of no program", Step{MemfdExec{Src: taken, Run: "memfd"}}, unix.ENOEXEC, "memfd:mews"},
		{"memfd ends badly", Step{MemfdExec{Src: "/bin/sh", Run: "memfd", Args: []string{"-c", "exit 3"}}}, 0, "exit status 3"},
		{"open of nothing", Step{Open{Syscall: "openat", Path: filepath.Join(dir, "none")}}, unix.ENOENT, "openat " + dir},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := act(t, c.step, Step{Exec{Path: "/bin/true"}})
			if len(res.Steps) != 1 {
				t.Fatalf("%d steps were tried; none may follow one that failed", len(res.Steps))
			}
			if s := res.Steps[0]; s.OK || s.Errno != int(c.errno) || !strings.Contains(s.Error, c.say) {
				t.Errorf("got %+v, want errno %d and %q", s, c.errno, c.say)
			}
			err := res.Err()
			if f := cause.Of(err); f.State != cause.Error || f.Cause != cause.ScenarioBroken || f.Fault != cause.FaultScenario {
				t.Errorf("finding %+v", f)
			}
			if err == nil || !strings.Contains(err.Error(), "step 1 of 2") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestActRefuses(t *testing.T) {
	t.Setenv(EnvID, attackID)
	for _, c := range []struct{ name, in, want string }{
		{"nothing", ``, "EOF"},
		{"unknown key", `{"id":"` + attackID + `","step":[]}`, `unknown field "step"`},
		{"unknown action", `{"id":"` + attackID + `","steps":[{"shell":{"cmd":"x"}}]}`, `unknown field "shell"`},
		{"no action", `{"id":"` + attackID + `","steps":[{}]}`, `the step has no action`},
		{"two actions", `{"id":"` + attackID + `","steps":[{"exec":{"path":"/a"},"copy":{"src":"/a","dst":"/b"}}]}`, `more than one action`},
		{"relative path", `{"id":"` + attackID + `","steps":[{"exec":{"path":"a"}}]}`, `the path "a" is not absolute`},
		{"memfd or what", `{"id":"` + attackID + `","steps":[{"memfd-exec":{"src":"/a","run":"disk"}}]}`, `unknown descriptor to run "disk" (known: memfd, src)`},
		{"dots", `{"id":"` + attackID + `","steps":[{"copy":{"src":"/a/../b","dst":"/c"}}]}`, `not absolute and clean`},
		{"another's id", `{"id":"` + twinID + `","steps":[]}`, EnvID + ` is "` + attackID + `"`},
		{"bad id", `{"id":"../x","steps":[]}`, `not 12 to 32 hexadecimal digits`},
		{"trailing", `{"id":"` + attackID + `","steps":[]} {}`, `something follows`},
		{"large", `{"id":"` + strings.Repeat("a", maxDeed) + `"}`, `larger than 1 MiB`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			err := Act(t.Context(), strings.NewReader(c.in), &out)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if out.String() != "\n" { // it waited for its deed
				t.Errorf("wrote %q", &out)
			}
		})
	}
}

// A result that stops short, as of a process that was killed, is never taken for a deed that was done.
func TestResultErr(t *testing.T) {
	for name, r := range map[string]Result{
		"no step":  {Want: 0},
		"too few":  {Want: 2, Steps: []StepResult{{OK: true}}},
		"too many": {Want: 1, Steps: []StepResult{{OK: true}, {OK: true}}},
		"failed":   {Want: 1, Steps: []StepResult{{Action: "exec"}}},
	} {
		if r.Err() == nil {
			t.Errorf("%s: done", name)
		}
	}
	if err := (Result{Want: 1, Steps: []StepResult{{OK: true}}}).Err(); err != nil {
		t.Errorf("done: %v", err)
	}
}

func TestActStops(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if s := do(ctx, Exec{Path: "/bin/sleep", Args: []string{"60"}}); s.OK {
		t.Error("ran on after its context ended")
	}
}

func FuzzReadDeed(f *testing.F) {
	f.Add([]byte(`{"id":"aaaaaaaaaaaa","context":"host","steps":[{"open":{"syscall":"openat2","path":"/x","flags":["O_RDONLY"]}}]}`))
	f.Add([]byte(`{"id":"aaaaaaaaaaaa","context":"host","steps":[{"memfd-exec":{"src":"/x","run":"memfd","args":["y"]}},{"open":{"syscall":"open","path":"/x/../y","traverse":true}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ReadDeed(bytes.NewReader(data))
		if err != nil {
			return
		}
		again, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := ReadDeed(bytes.NewReader(again)); err != nil || !reflect.DeepEqual(d, e) {
			t.Errorf("%s reads back as %+v, %v", again, e, err)
		}
	})
}
