// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/lazy"
	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/internal/strictyaml"
	"github.com/mews-farm/mews/scenarios/rules"
)

// document is a scenario as its file has it.
type document struct {
	Name        strictyaml.Str            `yaml:"name,required"`
	Rule        strictyaml.Str            `yaml:"rule,required"`
	Description string                    `yaml:"description"`
	Why         string                    `yaml:"why"`
	Owner       string                    `yaml:"owner"`
	MITRE       []string                  `yaml:"mitre"`
	Context     strictyaml.Str            `yaml:"context,required"`
	Container   *setupForm                `yaml:"container"`
	Needs       needsForm                 `yaml:"needs"`
	Vars        strictyaml.Map[string]    `yaml:"vars"`
	Setup       []strictyaml.At[stepForm] `yaml:"setup"`
	Attack      []strictyaml.At[stepForm] `yaml:"attack"`
	Twin        []strictyaml.At[stepForm] `yaml:"twin"`
	Cleanup     []strictyaml.At[stepForm] `yaml:"cleanup"`
	Expect      struct {
		Priority string                 `yaml:"priority"`
		Fields   strictyaml.Map[string] `yaml:"fields"`
	} `yaml:"expect"`
}

var (
	nameForm  = lazy.Regexp(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	fieldForm = lazy.Regexp(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+(\[[^\[\]"'\s]+\])?$`)
)

// Parse reads a scenario's file; file is its name, NAME.yaml. All mistakes found are joined. What a file may
// lack while it is written, such as an owner, is left to [Lint].
func Parse(file string, data []byte) (Scenario, error) {
	var d document
	if err := strictyaml.Decode(file, data, &d); err != nil {
		return Scenario{}, err
	}
	s := Scenario{
		Name:        d.Name.V,
		Rule:        d.Rule.V,
		Description: strings.TrimSpace(d.Description),
		Why:         strings.TrimSpace(d.Why),
		Owner:       d.Owner,
		MITRE:       d.MITRE,
		Context:     Context(d.Context.V),
		Vars:        map[string]string{},
		Expect:      Expect{Priority: d.Expect.Priority, Fields: map[string]string{}},
	}
	var errs []error
	if !nameForm().MatchString(s.Name) || s.Name+".yaml" != path.Base(file) {
		errs = append(errs, d.Name.Errorf("the name %q is not that of the file, in small letters, digits and hyphens", s.Name))
	}
	if s.Context != Host && s.Context != Container {
		known := []string{string(Host), string(Container)}
		errs = append(errs, d.Context.Errorf("unknown context %q%s (known: %s)", s.Context, nearest.Hint(d.Context.V, known), strings.Join(known, ", ")))
	}
	if d.Container != nil {
		setup, wrong := d.Container.setup()
		s.Container = setup
		if errs = append(errs, wrong...); s.Context == Host {
			errs = append(errs, d.Context.Errorf("the scenario says how its container is made, and its context is host"))
		}
	}
	needs, wrong := d.Needs.needs()
	s.Needs, errs = needs, append(errs, wrong...)
	for _, e := range d.Vars {
		if s.Vars[e.Key.V] = e.Value; e.Key.V == "id" {
			errs = append(errs, e.Key.Errorf("${id} is every deed's own and cannot be defined"))
		}
	}
	for _, e := range d.Expect.Fields {
		if s.Expect.Fields[e.Key.V] = e.Value; !fieldForm().MatchString(e.Key.V) {
			errs = append(errs, e.Key.Errorf("%q is no field; one has the form proc.name or proc.aname[2]", e.Key.V))
		} else if name, _, _ := strings.Cut(e.Key.V, "["); !known(name) {
			errs = append(errs, e.Key.Errorf("no consumer has a field %q%s", name, nearest.Hint(name, rules.Falco.(rules.Lister).Fields())))
		}
	}
	steps := func(which string, forms []strictyaml.At[stepForm]) (out []Step) {
		for i, f := range forms {
			st, err := f.V.step()
			if err != nil {
				errs = append(errs, f.Errorf("%s, step %d: %v", which, i+1, err))
			}
			out = append(out, st)
		}
		return out
	}
	s.Setup, s.Attack, s.Twin, s.Cleanup = steps("setup", d.Setup), steps("attack", d.Attack), steps("twin", d.Twin), steps("cleanup", d.Cleanup)
	if err := errors.Join(errs...); err != nil {
		return Scenario{}, err
	}
	return s, s.checkVars(file)
}

// known reports whether Falco has a field, and so whether any consumer could.
func known(field string) bool {
	_, ok := rules.Falco.Field(field)
	return ok
}

// checkVars fills everything once, so that a variable that is not there is found now and not in a guest.
func (s Scenario) checkVars(file string) error {
	const anyID = "000000000000"
	_, errA := s.AttackDeed(anyID, nil)
	_, errT := s.TwinDeed(anyID, nil)
	_, errF := s.fields(anyID, nil)
	if err := errors.Join(errA, errT, errF); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// Lint says why s should not be shipped: what it lacks, and where attack and twin are not the same deed but for
// what makes one an attack.
func Lint(s Scenario, set *rules.Set) []error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("scenario "+s.Name+": "+format, args...))
	}
	for _, k := range []struct{ key, value string }{{"description", s.Description}, {"why", s.Why}, {"owner", s.Owner}} {
		switch {
		case k.value == "":
			bad("it has no %s", k.key)
		case unwritten(k.value):
			bad("its %s is still to be written: %s", k.key, k.value)
		}
	}
	rule, err := set.Rule(s.Rule)
	switch {
	case err != nil:
		bad("%w", err)
	case rule.Priority != s.Expect.Priority:
		bad("it expects priority %q, and its rule has %q", s.Expect.Priority, rule.Priority)
	}
	if len(s.Expect.Fields) == 0 {
		bad("it expects no field: that a rule fired does not say that it fired for this")
	}
	for _, f := range slices.Sorted(maps.Keys(s.Expect.Fields)) {
		if v := s.Expect.Fields[f]; unwritten(v) {
			bad("what it expects of %s is still to be written: %s", f, v)
		}
	}
	if len(s.Attack) == 0 {
		bad("it has no attack")
	}
	if len(s.Twin) == 0 {
		bad("it has no twin: a rule that always fires would pass")
	}
	return append(errs, slices.Concat(lintShape(s), lintNeeds(s))...)
}

// lintNeeds says which capability a scenario needs and its own container does not have: no kernel would change that.
func lintNeeds(s Scenario) []error {
	var errs []error
	for _, c := range s.Needs.Capabilities {
		if s.Context == Container && !s.Container.Privileged && !slices.Contains(DockerCapabilities, c) {
			errs = append(errs, fmt.Errorf("scenario %s: it needs %s, which its container does not have; a privileged one has", s.Name, c))
		}
	}
	return errs
}

func lintShape(s Scenario) []error {
	attack, twin := shape(s.Attack), shape(s.Twin)
	var errs []error
	if len(attack) > 0 && len(twin) > 0 && !slices.Equal(attack, twin) {
		errs = append(errs, fmt.Errorf("scenario %s: the attack's shape is %s and the twin's is %s; they must be the same", s.Name, strings.Join(attack, ", "), strings.Join(twin, ", ")))
	}
	const anyID = "000000000000"
	a, errA := s.AttackDeed(anyID, nil)
	t, errT := s.TwinDeed(anyID, nil)
	if errA == nil && errT == nil && len(a.Steps) > 0 && reflect.DeepEqual(a.Steps, t.Steps) {
		errs = append(errs, fmt.Errorf("scenario %s: the twin is the attack", s.Name))
	}
	for _, part := range []struct {
		name  string
		steps []Step
	}{{"setup", s.Setup}, {"attack", s.Attack}, {"twin", s.Twin}, {"cleanup", s.Cleanup}} {
		for i, st := range part.steps {
			_, ends := st.action.(last)
			switch {
			case !ends:
			case part.name == "setup" || part.name == "cleanup" || i < len(part.steps)-1:
				errs = append(errs, fmt.Errorf("scenario %s: %s must be the last step of attack and twin: nobody is left to do another", s.Name, st.action.Kind()))
			case len(s.Cleanup) > 0:
				errs = append(errs, fmt.Errorf("scenario %s: after %s nobody is left for the cleanup", s.Name, st.action.Kind()))
			}
		}
	}
	for _, st := range slices.Concat(s.Setup, s.Attack, s.Twin, s.Cleanup) {
		for _, call := range st.action.needs() {
			if !slices.Contains(s.Needs.Syscalls, call) {
				errs = append(errs, fmt.Errorf("scenario %s: it calls %s, which not every kernel has; say so in needs.syscalls", s.Name, call))
			}
		}
	}
	return errs
}
