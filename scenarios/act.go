// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// EnvID is the environment variable that carries a deed's unique id, for every process of the deed.
const EnvID = "MEWS_ID"

// maxDeed bounds a deed as JSON, in bytes.
const maxDeed = 1 << 20

// Deed is what an acting process is to do.
type Deed struct {
	ID        string  `json:"id"` // must equal $MEWS_ID of the acting process
	Context   Context `json:"context"`
	Container Setup   `json:"container,omitzero"`
	// Capabilities are asked for before the first step.
	Capabilities []string `json:"capabilities,omitempty"`
	Steps        []Step   `json:"steps"`
	Cleanup      []Step   `json:"cleanup,omitempty"` // done whatever became of the steps
}

// Result is what the acting process did. Steps after one that failed are not tried, and
// not listed; the cleanup is.
type Result struct {
	ID    string       `json:"id"`
	PID   int          `json:"pid"`  // as the acting process sees itself: 1 in a container
	Want  int          `json:"want"` // how many steps the deed has
	Steps []StepResult `json:"steps"`
}

// StepResult is the outcome of one step.
type StepResult struct {
	Action string `json:"action"`
	OK     bool   `json:"ok"`
	Errno  int    `json:"errno,omitempty"` // of the system call that failed, where one did
	Error  string `json:"error,omitempty"`
	Detail Detail `json:"detail"`
	// Refused is why the kernel did not give what the step needs, where that is proven, and Proof what proves it.
	Refused cause.Cause `json:"refused,omitempty"`
	Proof   string      `json:"proof,omitempty"`
}

// actionNeeds is the step that stands for the needs of a deed, which were not met: no other was tried.
const actionNeeds = "needs"

// Err is nil only if every step was done; else SCENARIO_BROKEN with the step that failed.
func (r Result) Err() error {
	for i, s := range r.Steps {
		if !s.OK {
			return cause.Errorf(cause.ScenarioBroken, cause.FaultScenario, "step %d of %d (%s) failed: %s", i+1, r.Want, s.Action, s.Error)
		}
	}
	if len(r.Steps) != r.Want || r.Want == 0 {
		return cause.Errorf(cause.ScenarioBroken, cause.FaultScenario, "the acting process did %d of %d steps", len(r.Steps), r.Want)
	}
	return nil
}

// Act is the entry of `mews-agent act`: it writes a newline to w when it waits for its deed, reads a [Deed] as JSON in one line from r, does
// its steps in this process, writes a [Result] as JSON in one line to w and another newline, and stays until r ends. A deed whose
// last step has this process become another program leaves out that newline. The error is for a deed that could not be read or a result
// that could not be written; a step that failed is in the Result.
func Act(ctx context.Context, r io.Reader, w io.Writer) error {
	if err := warm(); err != nil {
		return err
	}
	return obey(ctx, r, w)
}

// obey is [Act] for a process that no guest is saved with.
func obey(ctx context.Context, r io.Reader, w io.Writer) error {
	if _, err := io.WriteString(w, "\n"); err != nil { // white space, before JSON
		return err
	}
	stays, err := perform(ctx, r, w)
	if err != nil || !stays {
		return err
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return err
}

// warm reads a deed and writes a result for nobody. What encoding/json works out of a type when it first meets it is in memory then, and
// the clones of a guest in which this process waits do not do it again.
func warm() error {
	const deed = `{"id":"0123456789ab","context":"host","steps":[{"open":{"syscall":"openat","path":"/","flags":["O_RDONLY"]}}]}`
	if _, err := ReadDeed(strings.NewReader(deed)); err != nil {
		return err
	}
	return json.NewEncoder(io.Discard).Encode(Result{Steps: []StepResult{{}}})
}

// perform reads and does a deed. The process does not stay what it is if the deed's last step was done.
func perform(ctx context.Context, r io.Reader, w io.Writer) (stays bool, err error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxDeed+1)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	d, err := ReadDeed(bytes.NewReader(line))
	if err != nil {
		return false, fmt.Errorf("the deed cannot be read: %w", err)
	}
	if env := os.Getenv(EnvID); env != d.ID {
		return false, fmt.Errorf("the deed's id is %q and %s is %q: an alert could not be told from another's", d.ID, EnvID, env)
	}
	res := Result{ID: d.ID, PID: os.Getpid(), Want: len(d.Steps) + len(d.Cleanup), Steps: []StepResult{}}
	if err := able(d.Capabilities); err != nil {
		res.Steps = append(res.Steps, failed(StepResult{Action: actionNeeds, Detail: Detail{FD: -1}}, nil, err))
		return true, json.NewEncoder(w).Encode(res)
	}
	for _, s := range d.Steps {
		if _, ok := s.action.(last); ok {
			return false, leave(ctx, w, res, s.action)
		}
		sr := do(ctx, s.action)
		res.Steps = append(res.Steps, sr)
		if !sr.OK {
			break
		}
	}
	for _, s := range d.Cleanup {
		res.Steps = append(res.Steps, do(ctx, s.action))
	}
	return true, json.NewEncoder(w).Encode(res)
}

// leave does the last step of a deed, after which this process is another program: the result that says so is written
// before. If the step fails, the error says that the result was wrong.
func leave(ctx context.Context, w io.Writer, res Result, a Action) error {
	res.Steps = append(res.Steps, StepResult{Action: a.Kind(), OK: true, Detail: Detail{PID: res.PID, FD: -1}})
	if err := json.NewEncoder(w).Encode(res); err != nil {
		return err
	}
	_, err := a.Do(ctx)
	return err
}

// ReadDeed reads a deed and refuses one that is not sound.
func ReadDeed(r io.Reader) (Deed, error) {
	var d Deed
	data, err := io.ReadAll(io.LimitReader(r, maxDeed+1))
	if err != nil {
		return d, err
	}
	if len(data) > maxDeed {
		return d, errors.New("it is larger than 1 MiB")
	}
	if err := unmarshalStrict(data, &d); err != nil {
		return d, err
	}
	if !idForm().MatchString(d.ID) {
		return d, fmt.Errorf("the id %q is not 12 to 32 hexadecimal digits", d.ID)
	}
	return d, d.Container.check()
}

func do(ctx context.Context, a Action) StepResult {
	detail, err := a.Do(ctx)
	s := StepResult{Action: a.Kind(), OK: err == nil, Detail: detail}
	if err != nil {
		s = failed(s, a.needs(), err)
	}
	return s
}

// failed is the result of a step that failed by err. needs are the system calls that not every kernel has.
func failed(s StepResult, needs []string, err error) StepResult {
	s.Error = err.Error()
	var errno unix.Errno
	if errors.As(err, &errno) {
		s.Errno = int(errno)
	}
	var no *refusal
	switch {
	case errors.As(err, &no):
		s.Refused, s.Proof = no.cause, no.proof
	case errno == unix.ENOSYS && len(needs) > 0:
		s.Refused, s.Proof = cause.SyscallMissing, "the errno is ENOSYS"
		if line := present(needs); line != "" {
			s.Refused, s.Proof = cause.SyscallDenied, "/proc/kallsyms: "+line
		}
	}
	return s
}
