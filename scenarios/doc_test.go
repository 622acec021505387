// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/scenarios/rules"
)

// examples are the YAML blocks of docs/adding-a-scenario.md: a scenario, then a rule.
func examples(t *testing.T) (doc, scenario, rule string) {
	t.Helper()
	data, err := os.ReadFile("../docs/adding-a-scenario.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for rest := string(data); ; {
		_, after, found := strings.Cut(rest, "```yaml\n")
		if !found {
			break
		}
		block, left, closed := strings.Cut(after, "```\n")
		if !closed {
			t.Fatal("a block has no end")
		}
		blocks, rest = append(blocks, block), left
	}
	if len(blocks) != 2 {
		t.Fatalf("%d YAML blocks, want a scenario and a rule", len(blocks))
	}
	return string(data), blocks[0], blocks[1]
}

// What the guide shows is what mews takes.
func TestGuide(t *testing.T) {
	doc, scenario, rule := examples(t)
	s, err := Parse("open-read-sensitive.yaml", []byte(scenario))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range Lint(s, shipped(t, "falco")) {
		t.Error(err)
	}
	base, err := ruleFiles.ReadFile("rules/falco.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Load(rules.File{Name: "falco.yaml", Data: base}, rules.File{Name: "guide", Data: []byte(rule)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := set.Rule("Read boot configuration untrusted")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rules.Compile(r.Expr, common); err != nil {
		t.Error(err)
	}
	for _, overlay := range RuleOverlays() {
		if !strings.Contains(doc, "`"+overlay+".yaml`") {
			t.Errorf("the guide does not name the overlay %s.yaml", overlay)
		}
	}
}

// The last section promises what becomes of two mistakes.
func TestGuideMistakes(t *testing.T) {
	_, scenario, _ := examples(t)
	s, err := Parse("open-read-sensitive.yaml", []byte(strings.Replace(scenario, "/etc/hostname", "/etc/shadow", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if errs := Lint(s, shipped(t, "falco")); !slices.ContainsFunc(errs, func(err error) bool { return strings.Contains(err.Error(), "the twin is the attack") }) {
		t.Errorf("a twin that attacks: %v", errs)
	}
}
