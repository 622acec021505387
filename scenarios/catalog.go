// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/scenarios/rules"
)

//go:embed data/*.yaml
var scenarioFiles embed.FS

//go:embed rules/*.yaml
var ruleFiles embed.FS

// baseRules is the file that every consumer's rules begin with.
const baseRules = "falco"

// Catalog is a set of scenarios and the rules that they are about.
type Catalog struct {
	scenarios map[string]Scenario
	rules     *rules.Set
}

// Builtin is the catalogue that mews ships.
func Builtin() (*Catalog, error) {
	set, err := Rules()
	if err != nil {
		return nil, fmt.Errorf("the shipped rules: %w", err)
	}
	c := &Catalog{map[string]Scenario{}, set}
	names, err := fs.Glob(scenarioFiles, "data/*.yaml")
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range names {
		data, err := scenarioFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		s, err := Parse(path.Base(name), data)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.scenarios[s.Name] = s
	}
	return c, errors.Join(errs...)
}

// All returns the scenarios, sorted by name.
func (c *Catalog) All() []Scenario {
	out := make([]Scenario, 0, len(c.scenarios))
	for _, name := range c.names() {
		out = append(out, c.scenarios[name])
	}
	return out
}

func (c *Catalog) names() []string { return slices.Sorted(maps.Keys(c.scenarios)) }

// Get returns the scenario of that name; the error names the nearest one.
func (c *Catalog) Get(name string) (Scenario, error) {
	if s, ok := c.scenarios[name]; ok {
		return s, nil
	}
	return Scenario{}, fmt.Errorf("no scenario is named %q%s (known: %s)", name, nearest.Hint(name, c.names()), strings.Join(c.names(), ", "))
}

// Match returns the scenarios whose name matches a glob ([path.Match], or "all"), sorted by name. That there is
// none is an error.
func (c *Catalog) Match(glob string) ([]Scenario, error) {
	if glob == "all" {
		glob = "*"
	}
	var out []Scenario
	for _, s := range c.All() {
		ok, err := path.Match(glob, s.Name)
		if err != nil {
			return nil, fmt.Errorf("the scenario pattern %q: %w", glob, err)
		}
		if ok {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		_, err := c.Get(glob)
		return nil, err
	}
	return out, nil
}

// Lint says what is wrong with each scenario beyond its syntax, sorted by scenario.
func (c *Catalog) Lint() []error {
	var out []error
	for _, s := range c.All() {
		out = append(out, Lint(s, c.rules)...)
	}
	return out
}

// RuleOverlays are the names that [Rules] takes: a consumer's vocabulary, each a file scenarios/rules/NAME.yaml.
func RuleOverlays() []string {
	names, err := fs.Glob(ruleFiles, "rules/*.yaml")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var out []string
	for _, n := range names {
		if n = strings.TrimSuffix(path.Base(n), ".yaml"); n != baseRules {
			out = append(out, n)
		}
	}
	return out
}

// Rules loads the shipped rules, then the overlays in their order, which redefine what a consumer lacks.
func Rules(overlays ...string) (*rules.Set, error) {
	files := make([]rules.File, 0, 1+len(overlays))
	for _, name := range append([]string{baseRules}, overlays...) {
		if name != baseRules && !slices.Contains(RuleOverlays(), name) {
			return nil, fmt.Errorf("no rule overlay is named %q%s", name, nearest.Hint(name, RuleOverlays()))
		}
		data, err := ruleFiles.ReadFile("rules/" + name + ".yaml")
		if err != nil {
			return nil, err
		}
		files = append(files, rules.File{Name: name + ".yaml", Data: data})
	}
	return rules.Load(files...)
}

// unmarshalStrict is json.Unmarshal that refuses unknown keys and what follows the value.
func unmarshalStrict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("something follows the JSON value")
	}
	return nil
}
