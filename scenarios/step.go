// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"context"
	"encoding/json"
	"errors"
)

// Step is one action of a deed. It is written as a mapping with the action's kind as its one key, in YAML and in
// JSON alike.
type Step struct{ action Action }

// Action returns the action. The zero Step has none, which is an error.
func (s Step) Action() (Action, error) {
	if s.action == nil {
		return nil, errors.New("the step has no action")
	}
	return s.action, nil
}

// stepForm is a step as it is written: exactly one member is set.
type stepForm struct {
	Exec      *Exec      `yaml:"exec" json:"exec,omitempty"`
	Copy      *Copy      `yaml:"copy" json:"copy,omitempty"`
	Open      *Open      `yaml:"open" json:"open,omitempty"`
	MemfdExec *MemfdExec `yaml:"memfd-exec" json:"memfd-exec,omitempty"`
}

// Action is a typed deed: real system calls in the process that acts, or a real child of it.
type Action interface {
	// Kind is the key that the action is written under.
	Kind() string
	// Do acts. Its errors wrap the errno of the system call that failed, where one did.
	Do(ctx context.Context) (Detail, error)

	// check says what is wrong with the action as written.
	check() error
	// fill returns the action with its variables replaced, which is sound again.
	fill(substitution) (Action, error)
	// needs are the system calls without which a kernel cannot do it, beyond what every kernel has.
	needs() []string
}

// Detail is what an action touched.
type Detail struct {
	Path string `json:"path,omitempty"`
	FD   int    `json:"fd"`            // -1 where there is none
	PID  int    `json:"pid,omitempty"` // of the child that was made
}

// step is the one action of the form, which is sound as written.
func (f stepForm) step() (Step, error) {
	var found []Action
	if f.Exec != nil {
		found = append(found, *f.Exec)
	}
	if f.Copy != nil {
		found = append(found, *f.Copy)
	}
	if f.Open != nil {
		found = append(found, *f.Open)
	}
	if f.MemfdExec != nil {
		found = append(found, *f.MemfdExec)
	}
	switch len(found) {
	case 0:
		return Step{}, errors.New("the step has no action; give it exec, copy, open or memfd-exec")
	case 1:
		return Step{found[0]}, found[0].check()
	}
	return Step{}, errors.New("the step has more than one action; make each a step of its own")
}

// MarshalJSON implements [json.Marshaler].
func (s Step) MarshalJSON() ([]byte, error) {
	a, err := s.Action()
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]Action{a.Kind(): a})
}

// UnmarshalJSON implements [json.Unmarshaler]. An unknown action or parameter is an error.
func (s *Step) UnmarshalJSON(data []byte) error {
	var f stepForm
	if err := unmarshalStrict(data, &f); err != nil {
		return err
	}
	var err error
	*s, err = f.step()
	return err
}

// shape is the actions of steps, in their order. Another system call is another shape: a driver may see the one
// and miss the other.
func shape(steps []Step) []string {
	out := make([]string, len(steps))
	for i, s := range steps {
		out[i] = s.action.Kind()
		if o, ok := s.action.(Open); ok {
			out[i] += " by " + o.Syscall
		}
	}
	return out
}
