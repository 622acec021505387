// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
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
	Exec       *Exec       `yaml:"exec" json:"exec,omitempty"`
	Copy       *Copy       `yaml:"copy" json:"copy,omitempty"`
	Open       *Open       `yaml:"open" json:"open,omitempty"`
	MemfdExec  *MemfdExec  `yaml:"memfd-exec" json:"memfd-exec,omitempty"`
	Link       *Link       `yaml:"link" json:"link,omitempty"`
	Rename     *Rename     `yaml:"rename" json:"rename,omitempty"`
	Remove     *Remove     `yaml:"remove" json:"remove,omitempty"`
	Socket     *Socket     `yaml:"socket" json:"socket,omitempty"`
	Listen     *Listen     `yaml:"listen" json:"listen,omitempty"`
	Fetch      *Fetch      `yaml:"fetch" json:"fetch,omitempty"`
	Connect    *Connect    `yaml:"connect" json:"connect,omitempty"`
	Ptrace     *Ptrace     `yaml:"ptrace" json:"ptrace,omitempty"`
	As         *As         `yaml:"as" json:"as,omitempty"`
	Age        *Age        `yaml:"age" json:"age,omitempty"`
	Become     *Become     `yaml:"become" json:"become,omitempty"`
	LoadModule *LoadModule `yaml:"load-module" json:"load-module,omitempty"`
	Suite      *SuiteTest  `json:"suite,omitempty"` // made by OfSuite alone
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
	v := reflect.ValueOf(f)
	for i := range v.NumField() {
		if p := v.Field(i); !p.IsNil() {
			found = append(found, p.Elem().Interface().(Action))
		}
	}
	switch len(found) {
	case 0:
		return Step{}, fmt.Errorf("the step has no action; give it one of %s", strings.Join(Kinds(), ", "))
	case 1:
		return Step{found[0]}, found[0].check()
	}
	return Step{}, errors.New("the step has more than one action; make each a step of its own")
}

// form writes an action as a step is written.
func form(a Action) stepForm {
	var f stepForm
	v := reflect.ValueOf(&f).Elem()
	for i := range v.NumField() {
		if p := reflect.New(v.Field(i).Type().Elem()); p.Elem().Type() == reflect.TypeOf(a) {
			p.Elem().Set(reflect.ValueOf(a))
			v.Field(i).Set(p)
		}
	}
	return f
}

// Kinds lists the kinds of actions that a file can name.
func Kinds() []string {
	var out []string
	for f := range reflect.TypeFor[stepForm]().Fields() {
		if kind := f.Tag.Get("yaml"); kind != "" {
			out = append(out, kind)
		}
	}
	return out
}

// filled is a with the variables of its texts replaced. Actions of actions see to theirs themselves.
func filled[A Action](a A, sub substitution) (Action, error) {
	v := reflect.ValueOf(&a).Elem()
	for i := range v.NumField() {
		var err error
		switch f := v.Field(i).Addr().Interface().(type) {
		case *string:
			*f, err = sub.fill(*f)
		case *[]string:
			*f, err = sub.fillAll(*f)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, a.check()
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
		switch a := s.action.(type) {
		case Open:
			out[i] += " by " + a.Syscall
		case Link:
			out[i] += " by " + a.Syscall
		case Rename:
			out[i] += " by " + a.Syscall
		case Connect:
			if a.Dup != "" {
				out[i] += " and " + a.Dup
			}
		case Become:
			if a.Descriptor != "" {
				out[i] += " by execveat"
			}
		case As:
			out[i] += " (" + strings.Join(shape(a.steps()), ", ") + ")"
		}
	}
	return out
}
