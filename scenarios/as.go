// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// As does steps in a child that has the name of another program: what a server, a login or a client of SSH does is told
// from what others do by the name alone.
type As struct {
	Program string     `yaml:"program,required" json:"program"` // the path that it is started by; must not exist
	Args    []string   `yaml:"args" json:"args,omitempty"`
	Network string     `yaml:"network" json:"network,omitempty"` // an address: a network of its own, in which it has that one
	Steps   []stepForm `yaml:"steps" json:"steps"`
}

// EnvAs is the environment variable of a child that acts as another program. It holds the address of its network.
const EnvAs = "MEWS_AS"

// The descriptors of such a child beside the standard ones, which are the deed's.
const (
	asDeed   = 3
	asResult = 4
)

// ActingAs reports whether this process is the child of an [As], whatever it is called. Its entry is [ActAs].
func ActingAs() bool {
	_, as := os.LookupEnv(EnvAs)
	return as
}

// ActAs is [Act], without what is for a saved guest, for the child of an [As].
func ActAs(ctx context.Context) error {
	address := os.Getenv(EnvAs)
	// What it starts is no child of that kind.
	if err := os.Unsetenv(EnvAs); err != nil {
		return err
	}
	if address != "" {
		if err := ownNetwork(address); err != nil {
			return err
		}
	}
	unix.CloseOnExec(asDeed)
	unix.CloseOnExec(asResult)
	return obey(ctx, os.NewFile(asDeed, "deed"), os.NewFile(asResult, "result"))
}

// Kind implements [Action].
func (As) Kind() string { return "as" }

// Do implements [Action].
func (a As) Do(ctx context.Context) (d Detail, err error) {
	d = Detail{Path: a.Program, FD: -1}
	self, err := os.Executable()
	if err != nil {
		return d, err
	}
	// A link, not a copy: in a container that would be a program dropped there.
	if err := os.Symlink(self, a.Program); err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, os.Remove(a.Program)) }()
	id := os.Getenv(EnvID)
	deed, err := json.Marshal(Deed{ID: id, Steps: a.steps()})
	if err != nil {
		return d, err
	}
	in, err := pipeOf(deed)
	if err != nil {
		return d, err
	}
	defer in.Close()
	out, result, err := os.Pipe()
	if err != nil {
		return d, err
	}
	defer out.Close()
	var words bytes.Buffer
	cmd := exec.CommandContext(ctx, a.Program, a.Args...)
	cmd.Env = append(os.Environ(), EnvAs+"="+a.Network)
	cmd.ExtraFiles = []*os.File{in, result}
	cmd.Stderr = &words
	if a.Network != "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	}
	err = cmd.Start()
	result.Close()
	if err != nil {
		return d, fmt.Errorf("exec %s: %w", a.Program, err)
	}
	d.PID = cmd.Process.Pid
	data, readErr := io.ReadAll(io.LimitReader(out, maxDeed))
	if err := errors.Join(readErr, cmd.Wait()); err != nil {
		return d, fmt.Errorf("%s: %w: %s", a.Program, err, strings.TrimSpace(words.String()))
	}
	var res Result
	if err := unmarshalStrict(data, &res); err != nil {
		return d, fmt.Errorf("what %s did is not readable: %w", a.Program, err)
	}
	return d, res.failure()
}

// pipeOf is a pipe that holds data, which is short enough for one: the child must not have to wait for its parent.
func pipeOf(data []byte) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	if len(data) > maxAs {
		return nil, errors.Join(fmt.Errorf("the steps take %d bytes, more than %d", len(data), maxAs), r.Close(), w.Close())
	}
	_, err = w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// maxAs bounds the steps of an As, in bytes: half of what a pipe holds.
const maxAs = 32 << 10

// failure is the step that failed, with its errno: a child's is the parent's.
func (r Result) failure() error {
	if n := len(r.Steps); n > 0 && r.Steps[n-1].Errno != 0 {
		last := r.Steps[n-1]
		err := fmt.Errorf("%s (%w)", last.Error, unix.Errno(last.Errno))
		if last.Refused == cause.KernelLacks || last.Refused == cause.PolicyDenied {
			return &refusal{last.Refused, last.Proof, err}
		}
		return err
	}
	if err := r.Err(); err != nil {
		return errors.New(err.Error()) // whose finding is for whoever judges to make
	}
	return nil
}

// steps are the steps as they were checked.
func (a As) steps() []Step {
	out := make([]Step, 0, len(a.Steps))
	for _, f := range a.Steps {
		if s, err := f.step(); err == nil {
			out = append(out, s)
		}
	}
	return out
}

func (a As) check() error {
	errs := []error{absolute(a.Program)}
	if len(a.Steps) == 0 {
		errs = append(errs, errors.New("it has no steps"))
	}
	for i, f := range a.Steps {
		s, err := f.step()
		switch s.action.(type) {
		case As, Become:
			err = fmt.Errorf("%s cannot be a step of as", s.action.Kind())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("its step %d: %w", i+1, err))
		}
	}
	if a.Network != "" {
		if ip, err := netip.ParseAddr(a.Network); err != nil || !documentation.Contains(ip) {
			errs = append(errs, fmt.Errorf("the network's address %q is none of %s", a.Network, documentation))
		}
	}
	return errors.Join(errs...)
}

func (a As) needs() []string {
	var out []string
	for _, s := range a.steps() {
		out = append(out, s.action.needs()...)
	}
	return out
}

func (a As) fill(sub substitution) (Action, error) {
	var steps []stepForm
	for _, s := range a.steps() {
		f, err := s.action.fill(sub)
		if err != nil {
			return nil, err
		}
		steps = append(steps, form(f))
	}
	a.Steps = steps
	return filled(a, sub)
}

// ownNetwork gives the loopback of this process's network an address beside its own.
func ownNetwork(address string) error {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, name := range []string{"lo", "lo:1"} {
		req, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if name != "lo" {
			if err := req.SetInet4Addr(ip.AsSlice()); err != nil {
				return err
			}
			if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, req); err != nil {
				return fmt.Errorf("give the loopback the address %s: %w", address, err)
			}
		}
		req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
			return fmt.Errorf("bring %s up: %w", name, err)
		}
	}
	return nil
}
