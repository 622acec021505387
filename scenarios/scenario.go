// SPDX-License-Identifier: Apache-2.0

// Package scenarios knows the attacks, their harmless twins, and what a driver must have made of them.
package scenarios

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/lazy"
	"github.com/mews-farm/mews/internal/nearest"
)

// Context says where a deed is done.
type Context string

// The contexts.
const (
	Host      Context = "host"
	Container Context = "container" // as the init of an OCI container on overlayfs
)

// Scenario is an attack, the rule that it must fire, and the twin that must not fire it.
type Scenario struct {
	Name        string
	Rule        string // of the shipped rules, see [Rules]
	Description string
	Why         string // what would be missed without it
	Owner       string
	MITRE       []string // technique ids
	Context     Context
	Container   Setup // of its container, where its context is one
	Needs       Needs
	Vars        map[string]string // ${name} in steps and expected fields; ${id} is there always
	Setup       []Step            // before the attack, and before the twin
	Attack      []Step
	Twin        []Step
	Cleanup     []Step // after either, whatever became of it
	Expect      Expect
	Foreign     *Foreign // the test of event-generator's that it was made of; nil: it is one of mews's own, with a twin
}

// Expect is what the alert must say.
type Expect struct {
	Priority string            // the rule's
	Fields   map[string]string // field: its exact text, which may hold ${var}
}

// NewID makes a unique id for a deed: 12 lower-case hexadecimal digits.
func NewID() string {
	var b [6]byte
	rand.Read(b[:]) // never fails: crypto/rand documents that it crashes the program instead
	return hex.EncodeToString(b[:])
}

// AttackDeed is the attack with its variables filled in, to send to the agent. id must be unique; vars override
// the scenario's own, and a name that it does not have is an error.
func (s Scenario) AttackDeed(id string, vars map[string]string) (Deed, error) {
	return s.deed(s.Attack, id, vars)
}

// TwinDeed is the twin's [Scenario.AttackDeed].
func (s Scenario) TwinDeed(id string, vars map[string]string) (Deed, error) {
	return s.deed(s.Twin, id, vars)
}

func (s Scenario) deed(steps []Step, id string, vars map[string]string) (Deed, error) {
	sub, err := s.substitution(id, vars)
	if err != nil {
		return Deed{}, err
	}
	d := Deed{ID: id, Context: s.Context, Container: s.Container, Capabilities: s.Needs.Capabilities}
	if d.Steps, err = s.fillSteps(slices.Concat(s.Setup, steps), sub); err != nil {
		return Deed{}, err
	}
	d.Cleanup, err = s.fillSteps(s.Cleanup, sub)
	return d, err
}

func (s Scenario) fillSteps(steps []Step, sub substitution) ([]Step, error) {
	var out []Step
	for i, st := range steps {
		a, err := st.action.fill(sub)
		if err != nil {
			return nil, fmt.Errorf("scenario %s, step %d: %w", s.Name, i+1, err)
		}
		out = append(out, Step{a})
	}
	return out, nil
}

// fields are the expected fields with their variables filled in.
func (s Scenario) fields(id string, vars map[string]string) (map[string]string, error) {
	if s.Foreign != nil {
		return s.Expect.Fields, nil // whose ${} is no variable of ours
	}
	sub, err := s.substitution(id, vars)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(s.Expect.Fields))
	for f, v := range s.Expect.Fields {
		if out[f], err = sub.fill(v); err != nil {
			return nil, fmt.Errorf("scenario %s, expected %s: %w", s.Name, f, err)
		}
	}
	return out, nil
}

// substitution is the value of every variable.
type substitution map[string]string

var idForm = lazy.Regexp(`^[0-9a-f]{12,32}$`)

func (s Scenario) substitution(id string, vars map[string]string) (substitution, error) {
	if !idForm().MatchString(id) {
		return nil, fmt.Errorf("scenario %s: the id %q is not 12 to 32 hexadecimal digits", s.Name, id)
	}
	sub := substitution{"id": id}
	maps.Copy(sub, s.Vars)
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		if _, ok := s.Vars[k]; !ok {
			return nil, fmt.Errorf("scenario %s has no variable %q%s", s.Name, k, nearest.Hint(k, slices.Collect(maps.Keys(s.Vars))))
		}
		sub[k] = vars[k]
	}
	return sub, nil
}

// fill replaces every ${name} of text. What it puts in is not looked at again.
func (sub substitution) fill(text string) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, rest, closed := strings.Cut(after, "}")
		v, ok := sub[name]
		switch {
		case !closed:
			return "", fmt.Errorf("%q: ${ has no }", text)
		case !ok:
			return "", fmt.Errorf("no variable is named %q%s", name, nearest.Hint(name, slices.Collect(maps.Keys(sub))))
		}
		b.WriteString(v)
		text = rest
	}
}

// fillAll is [substitution.fill] of each.
func (sub substitution) fillAll(texts []string) ([]string, error) {
	out := make([]string, len(texts))
	for i, text := range texts {
		var err error
		if out[i], err = sub.fill(text); err != nil {
			return nil, err
		}
	}
	return out, nil
}
