// SPDX-License-Identifier: Apache-2.0

// Package suite knows the declarative tests of falcosecurity/event-generator (`suite`, v0.13): what is in such a file,
// which part of it can be done here, and how a test is done with real system calls.
package suite

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/internal/strictyaml"
)

// Test is one test, its templates filled.
type Test struct {
	Name        string
	Case        map[string]string // what its templates were filled with; nil where it has none
	Rule        string
	Description string
	Container   bool // it is done in a container
	Deed        Deed
	Expect      Expect
	Unsupported string // why it cannot be done here; empty where it can
}

// Expect is what at least one alert of the rule must say.
type Expect struct {
	Priority string            // empty: whatever it is
	Fields   map[string]string // field: its exact text
}

// Deed is what the processes of a test do.
type Deed struct {
	Processes []Process  `json:"processes,omitempty"` // each the parent of the next; the last one acts
	Resources []Resource `json:"resources,omitempty"`
	Steps     []Step     `json:"steps,omitempty"`
}

// Process is a process of the chain, or one that a test has to do with.
type Process struct {
	Path string            `json:"path,omitempty"` // of its executable, which is made; empty: one in /tmp
	Arg0 string            `json:"arg0,omitempty"` // empty: its name
	Args []string          `json:"args,omitempty"`
	Name string            `json:"name,omitempty"` // empty: the last part of its path
	User string            `json:"user,omitempty"` // empty: root
	Env  map[string]string `json:"env,omitempty"`
}

// Resource is something that is there before the steps.
type Resource struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`              // clientServer, fd or process
	Subtype string   `json:"subtype,omitempty"` // of fd
	Path    string   `json:"path,omitempty"`    // of a file or a directory
	Proto   string   `json:"proto,omitempty"`   // of clientServer
	Address string   `json:"address,omitempty"`
	Process *Process `json:"process,omitempty"`
}

// Step is one system call. An argument that is all ${name.field} is what an earlier step or a resource has there.
type Step struct {
	Name string            `json:"name"`
	Call string            `json:"call"`
	Args map[string]string `json:"args"`
}

type testForm struct {
	Name        strictyaml.Str            `yaml:"name,required"`
	Rule        strictyaml.Str            `yaml:"rule"`
	Description string                    `yaml:"description"`
	Runner      strictyaml.Str            `yaml:"runner,required"`
	RunIf       strictyaml.Map[condition] `yaml:"runIf"`
	Context     contextForm               `yaml:"context"`
	Before      string                    `yaml:"before"`
	After       string                    `yaml:"after"`
	Resources   []strictyaml.Raw          `yaml:"resources"`
	Steps       []strictyaml.Raw          `yaml:"steps"`
	Expect      expectForm                `yaml:"expectedOutcome"`
}

type condition struct {
	Op  strictyaml.Str `yaml:"op,required"`
	Val strictyaml.Str `yaml:"val,required"`
}

type expectForm struct {
	Source   strictyaml.Str         `yaml:"source"`
	Hostname string                 `yaml:"hostname"`
	Priority string                 `yaml:"priority"`
	Fields   strictyaml.Map[string] `yaml:"outputFields"`
}

type contextForm struct {
	Container *struct {
		Image string                 `yaml:"image"`
		Name  string                 `yaml:"name"`
		Env   strictyaml.Map[string] `yaml:"env"`
	} `yaml:"container"`
	Processes []processForm `yaml:"processes"`
}

type processForm struct {
	Path         strictyaml.Str         `yaml:"exePath"`
	Args         strictyaml.Str         `yaml:"args"`
	Arg0         string                 `yaml:"exe"`
	Name         strictyaml.Str         `yaml:"name"`
	Env          strictyaml.Map[string] `yaml:"env"`
	User         strictyaml.Str         `yaml:"user"`
	Capabilities string                 `yaml:"capabilities"`
}

// maxFile bounds a file, in bytes.
const maxFile = 1 << 20

// Load reads a suite. All mistakes found are joined, each with its place.
func Load(file string, data []byte) ([]Test, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d MiB", file, maxFile>>20)
	}
	doc, err := strictyaml.Parse(file, data)
	if err != nil {
		return nil, err
	}
	var form struct {
		Tests []strictyaml.Raw `yaml:"tests,required"`
	}
	if err := doc.Decode(&form); err != nil {
		return nil, err
	}
	if len(form.Tests) == 0 {
		return nil, doc.Errorf("the suite has no tests")
	}
	var out []Test
	var errs []error
	names := map[string]bool{}
	for _, raw := range form.Tests {
		cases, err := expand(raw)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(out)+len(cases) > maxTests {
			return nil, raw.Errorf("with the cases of this test the suite has more than %d", maxTests)
		}
		for i, c := range cases {
			t, name, err := read(c.test)
			if err != nil {
				errs = append(errs, err)
				break // the other cases would say the same
			}
			if i == 0 && names[t.Name] {
				errs = append(errs, name.Errorf("two tests are named %q", t.Name))
			}
			t.Case, names[t.Name] = c.values, true
			out = append(out, t)
		}
	}
	return out, errors.Join(errs...)
}

// read makes a test of one whose templates are filled.
func read(raw strictyaml.Raw) (Test, strictyaml.Str, error) {
	var f testForm
	if err := raw.Decode(&f); err != nil {
		return Test{}, f.Name, err
	}
	t := Test{Name: f.Name.V, Rule: f.Rule.V, Description: strings.TrimSpace(f.Description), Container: f.Context.Container != nil}
	t.Expect = Expect{Priority: f.Expect.Priority, Fields: map[string]string{}}
	var errs []error
	bad := func(s strictyaml.Str, format string, args ...any) { errs = append(errs, s.Errorf(format, args...)) }
	without := func(format string, args ...any) {
		if t.Unsupported == "" {
			t.Unsupported = fmt.Sprintf(format, args...)
		}
	}
	if f.Name.V == "" {
		bad(f.Name, "the test has no name")
	}
	if f.Runner.V != "HostRunner" {
		bad(f.Runner, "unknown runner %q%s (known: HostRunner)", f.Runner.V, nearest.Hint(f.Runner.V, []string{"HostRunner"}))
	}
	for _, c := range f.RunIf {
		if why := unmet(c, bad); why != "" {
			without("%s", why)
		}
	}
	if f.Before != "" || f.After != "" {
		without("it has a script (before, after), and guests have no shell")
	}
	if t.Rule == "" {
		without("it names no rule")
	}
	if s := f.Expect.Source; s.V != "" && s.V != "syscall" {
		without("it expects an alert of source %q, and drivers are of source syscall alone", s.V)
	}
	if f.Expect.Hostname != "" {
		without("it expects a hostname, which no consumer here tells")
	}
	for _, e := range f.Expect.Fields {
		t.Expect.Fields[e.Key.V] = e.Value
	}
	for i, p := range f.Context.Processes {
		if c := p.Capabilities; c != "" && c != "all=iep" {
			without("process %d of its chain has capabilities %q, and all=iep alone is done", i+1, c)
		}
		proc, err := p.process()
		errs = append(errs, err)
		t.Deed.Processes = append(t.Deed.Processes, proc)
	}
	if t.Container && len(f.Context.Container.Env) > 0 {
		if len(t.Deed.Processes) == 0 {
			t.Deed.Processes = []Process{{}}
		}
		env := &t.Deed.Processes[0].Env
		if *env == nil {
			*env = map[string]string{}
		}
		errs = append(errs, setEnv(*env, f.Context.Container.Env))
	}
	known := scope{}
	for _, r := range f.Resources {
		res, err := resource(r, known)
		errs = append(errs, err)
		t.Deed.Resources = append(t.Deed.Resources, res)
	}
	for _, s := range f.Steps {
		step, err := step(s, known)
		errs = append(errs, err)
		t.Deed.Steps = append(t.Deed.Steps, step)
	}
	if len(f.Steps) == 0 && len(f.Context.Processes) == 0 && len(f.Resources) == 0 {
		bad(f.Name, "test %q does nothing: it has no steps, no resources and no processes", f.Name.V)
	}
	return t, f.Name, errors.Join(errs...)
}

// unmet says why a condition of runIf does not hold, or "".
func unmet(c strictyaml.Entry[condition], bad func(strictyaml.Str, string, ...any)) string {
	if c.Key.V != "arch" {
		bad(c.Key, "unknown condition %q (known: arch)", c.Key.V)
		return ""
	}
	var holds bool
	switch is := c.Value.Val.V == runtime.GOARCH; c.Value.Op.V {
	case "eq":
		holds = is
	case "ne":
		holds = !is
	default:
		bad(c.Value.Op, "unknown operator %q (known: eq, ne)", c.Value.Op.V)
		return ""
	}
	if holds {
		return ""
	}
	return fmt.Sprintf("it is not for this architecture: runIf arch %s %s, and this is %s", c.Value.Op.V, c.Value.Val.V, runtime.GOARCH)
}

func (p processForm) process() (Process, error) {
	out := Process{Path: p.Path.V, Arg0: p.Arg0, Name: p.Name.V, User: p.User.V}
	if out.Path != "" && !strings.HasPrefix(out.Path, "/") {
		return out, p.Path.Errorf("the path %q is not absolute", out.Path)
	}
	if strings.Contains(out.Name, "/") {
		return out, p.Name.Errorf("the name %q is a path", out.Name)
	}
	if len(p.Env) > 0 {
		out.Env = map[string]string{}
	}
	if err := setEnv(out.Env, p.Env); err != nil {
		return out, err
	}
	var ok bool
	if out.Args, ok = words(p.Args.V); !ok {
		return out, p.Args.Errorf("a quote of the arguments is not closed")
	}
	return out, nil
}

// ownEnv begins the names of what mews's processes tell each other. By one of them, MEWS_ID, an alert is told to be a test's:
// with another's, its silence would be its own.
const ownEnv = "MEWS_"

// setEnv puts the variables of a file into env.
func setEnv(env map[string]string, from strictyaml.Map[string]) error {
	var errs []error
	for _, e := range from {
		if strings.HasPrefix(e.Key.V, ownEnv) {
			errs = append(errs, e.Key.Errorf("the variable %s is mews's own, as all that begin with %s; give yours another name", e.Key.V, ownEnv))
		}
		env[e.Key.V] = e.Value
	}
	return errors.Join(errs...)
}

// words splits a line at its spaces; what is in quotes stays one word.
func words(line string) ([]string, bool) {
	var out []string
	var b strings.Builder
	var quote rune
	begun := false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			b.WriteRune(r)
		case r == '"' || r == '\'':
			quote, begun = r, true
		case r == ' ':
			if begun {
				out = append(out, b.String())
				b.Reset()
			}
			begun = false
		default:
			b.WriteRune(r)
			begun = true
		}
	}
	if begun {
		out = append(out, b.String())
	}
	return out, quote == 0
}

// one returns an error unless v is one of known.
func one(v strictyaml.Str, what string, known []string) error {
	if slices.Contains(known, v.V) {
		return nil
	}
	return v.Errorf("unknown %s %q%s (known: %s)", what, v.V, nearest.Hint(v.V, known), strings.Join(known, ", "))
}
