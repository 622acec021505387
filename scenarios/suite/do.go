// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// EnvAct is set for the processes of a test: the agent's binary, whatever its name and arguments are, then calls
// [Follow].
const EnvAct = "MEWS_SUITE"

// The roles that EnvAct names.
const (
	roleAct  = "act"  // the next of the chain, or the one that does the steps
	roleWait = "wait" // a resource: it lives until its standard input ends
)

// answer is what the last process of the chain says, on the standard output that all of them share.
type answer struct {
	Error string `json:"error,omitempty"`
	Errno int    `json:"errno,omitempty"`
}

// failure is an error that another process had: its text holds that of the errno already.
type failure struct {
	text  string
	errno unix.Errno
}

func (f failure) Error() string { return f.text }
func (f failure) Unwrap() error { return f.errno }

// Do does the deed in processes of its own, and waits for their end. Its errors wrap the errno of the system call that
// failed, where one did.
func (d Deed) Do(ctx context.Context) error {
	var out bytes.Buffer
	if err := d.next(ctx, &out); err != nil {
		return err
	}
	var a answer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		return fmt.Errorf("the last process of the test answered %.200q, which is no result", out.String())
	}
	switch {
	case a.Errno != 0:
		return failure{a.Error, unix.Errno(a.Errno)}
	case a.Error != "":
		return errors.New(a.Error)
	}
	return nil
}

// next starts the first process of the chain with the rest of the deed, and waits for it.
func (d Deed) next(ctx context.Context, out io.Writer) error {
	var first Process
	if len(d.Processes) > 0 {
		first, d.Processes = d.Processes[0], d.Processes[1:]
	} else {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		first = Process{Path: self}
	}
	rest, err := json.Marshal(d)
	if err != nil {
		return err
	}
	p, err := first.prepare(ctx, roleAct)
	if err != nil {
		return err
	}
	defer p.remove()
	var words bytes.Buffer
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = bytes.NewReader(rest), out, &words
	if err := p.cmd.Run(); err != nil {
		return fmt.Errorf("process %s: %w: %.500s", p.cmd.Path, err, words.String())
	}
	return nil
}

// Follow is what a process of a test does.
func Follow(in io.Reader, out *os.File) error {
	if os.Getenv(EnvAct) == roleWait {
		_, err := io.Copy(io.Discard, in)
		return err
	}
	var d Deed
	if err := json.NewDecoder(io.LimitReader(in, maxFile)).Decode(&d); err != nil {
		return fmt.Errorf("read the rest of the test: %w", err)
	}
	if len(d.Processes) > 0 {
		return d.next(context.Background(), out)
	}
	// The steps may put something else in the place of standard output.
	number, err := unix.FcntlInt(out.Fd(), unix.F_DUPFD_CLOEXEC, 100)
	if err != nil {
		return err
	}
	kept := os.NewFile(uintptr(number), "answer")
	defer kept.Close()
	var a answer
	if err := d.act(); err != nil {
		a.Error = err.Error()
		var errno unix.Errno
		if errors.As(err, &errno) {
			a.Errno = int(errno)
		}
	}
	return json.NewEncoder(kept).Encode(a)
}

// act makes the resources and does the steps. Descriptors end with the process.
func (d Deed) act() error {
	env := map[string]string{}
	for _, r := range d.Resources {
		clean, err := r.create(env)
		if clean != nil {
			defer clean()
		}
		if err != nil {
			return fmt.Errorf("resource %s: %w", r.Name, err)
		}
	}
	for _, s := range d.Steps {
		c, ok := calls[s.Call]
		if !ok {
			return fmt.Errorf("step %s: unknown system call %q", s.Name, s.Call)
		}
		v := values{}
		for name, text := range s.Args {
			if m := binding().FindStringSubmatch(text); m != nil {
				key := m[1] + "." + strings.ToLower(m[2])
				if text, ok = env[key]; !ok {
					return fmt.Errorf("step %s: nothing is known of %s", s.Name, key)
				}
			}
			k, ok := c.args[name]
			if !ok {
				return fmt.Errorf("step %s: %s has no argument %q", s.Name, s.Call, name)
			}
			a := value{text: text}
			if !k.text && !k.addr {
				var err error
				if a.number, err = k.number(text); err != nil {
					return fmt.Errorf("step %s: %w", s.Name, err)
				}
			}
			v[name] = a
			env[s.Name+".args."+strings.ToLower(name)] = text
		}
		ret, err := c.do(v)
		if err != nil {
			return fmt.Errorf("step %s (%s): %w", s.Name, s.Call, err)
		}
		env[s.Name+".ret"] = fmt.Sprint(ret)
	}
	return nil
}

// maxBuffer bounds what is read or written at once, in bytes.
const maxBuffer = 1 << 20

type value struct {
	text   string
	number uint64
}

// values are the arguments of a call.
type values map[string]value

func (v values) text(name string) string { return v[name].text }
func (v values) uint(name string) uint64 { return v[name].number }

// fd is a descriptor; the directory of one that is not given is the working directory.
func (v values) fd(name string) int {
	a, ok := v[name]
	if !ok {
		a.number = atCwd
	}
	return int(int64(a.number))
}

// buffer is a text, of the length that is given where one is.
func (v values) buffer(name string) []byte {
	out := []byte(v.text(name))
	n, ok := v["len"]
	if !ok || n.number > maxBuffer {
		return out
	}
	for uint64(len(out)) < n.number {
		out = append(out, 0)
	}
	return out[:n.number]
}

// prepared is a process that can be started, and what was made for it.
type prepared struct {
	cmd  *exec.Cmd
	made []string // removed in reverse
}

func (p *prepared) remove() {
	for _, path := range slices.Backward(p.made) {
		_ = os.Remove(path) // a step may have moved it
	}
}

// prepare makes the executable, a copy of this one, under the names that the process shall have. A driver takes the
// name of a process from the path that it was started by, and proc.exepath from where that leads: a name of its own is
// a link's.
func (p Process) prepare(ctx context.Context, role string) (out *prepared, err error) {
	out = &prepared{}
	defer func() {
		if err != nil {
			out.remove()
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return out, err
	}
	if p.Path == "" {
		dir, err := os.MkdirTemp("/tmp", "event-generator")
		if err != nil {
			return out, err
		}
		out.made = append(out.made, dir)
		if err := os.Chmod(dir, 0o755); err != nil {
			return out, err
		}
		p.Path = filepath.Join(dir, filepath.Base(dir))
	}
	if p.Path != self {
		if err := os.MkdirAll(filepath.Dir(p.Path), 0o755); err != nil {
			return out, err
		}
		if err := duplicate(p.Path); err != nil {
			return out, err
		}
		out.made = append(out.made, p.Path)
	}
	start := p.Path
	if p.Name != "" && p.Name != filepath.Base(p.Path) {
		dir, err := os.MkdirTemp("/tmp", "mews-name")
		if err != nil {
			return out, err
		}
		out.made = append(out.made, dir)
		start = filepath.Join(dir, p.Name)
		if err := errors.Join(os.Chmod(dir, 0o755), os.Symlink(p.Path, start)); err != nil {
			return out, err
		}
		out.made = append(out.made, start)
	}
	arg0 := p.Arg0
	if arg0 == "" {
		arg0 = filepath.Base(start)
	}
	out.cmd = exec.CommandContext(ctx, start)
	out.cmd.Args = append([]string{arg0}, p.Args...)
	out.cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, EnvAct+"=") })
	out.cmd.Env = append(out.cmd.Env, EnvAct+"="+role)
	for _, k := range slices.Sorted(maps.Keys(p.Env)) {
		out.cmd.Env = append(out.cmd.Env, k+"="+p.Env[k])
	}
	if p.User != "" {
		if out.cmd.SysProcAttr, err = as(p.User); err != nil {
			return out, err
		}
	}
	return out, nil
}

// duplicate copies this executable to a file that must not be there: nothing of the system is overwritten.
func duplicate(path string) error {
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(0o755), out.Close())
}
