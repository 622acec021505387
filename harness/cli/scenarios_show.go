// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/mews-farm/mews/scenarios"
	"github.com/mews-farm/mews/scenarios/rules"
)

// printScenario shows all that a scenario says: what a reader is not shown, such as a setup, may be what fired the rule.
func printScenario(w io.Writer, sc scenarios.Scenario, rule *rules.Rule) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s (%s)\n\n%s\n\nwhy:    %s\nowner:  %s\nmitre:  %s\nrule:   %s (%s)\n", sc.Name, sc.Context, strings.TrimSpace(sc.Description),
		strings.TrimSpace(sc.Why), sc.Owner, strings.Join(sc.MITRE, ", "), rule.Name, rule.Priority)
	if needs := sc.Needs.String(); needs != "" {
		fmt.Fprintf(&b, "needs:  %s\n", needs)
	}
	if sc.Context == scenarios.Container {
		b.WriteString("\ncontainer:\n")
		for _, l := range containerLines(sc.Container) {
			fmt.Fprintf(&b, "  %s\n", l)
		}
	}
	pairs(&b, "vars", sc.Vars)
	for _, part := range []struct {
		name  string
		steps []scenarios.Step
	}{{"setup, before attack and before twin", sc.Setup}, {"attack", sc.Attack}, {"twin", sc.Twin}, {"cleanup, after either", sc.Cleanup}} {
		if len(part.steps) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s:\n", part.name)
		for _, st := range part.steps {
			a, err := st.Action()
			if err != nil {
				return err
			}
			text, err := flat(a)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "  %-5s %s\n", a.Kind(), text)
		}
	}
	pairs(&b, "expect of the alert", sc.Expect.Fields)
	fmt.Fprintf(&b, "\ncondition, lists and macros expanded:\n  %s\n", rule.Expr)
	_, err := b.WriteTo(w)
	return err
}

// containerLines say how a container is made, in the words of a scenario's file.
func containerLines(s scenarios.Setup) []string {
	engine, driver := s.Engine, s.Driver
	if engine == "" {
		engine = scenarios.Docker
	}
	if driver == "" {
		driver = scenarios.Cgroupfs
	}
	out := []string{"engine: " + engine, "cgroup_driver: " + driver}
	if s.Cgroup != "" {
		out = append(out, "cgroup: "+s.Cgroup)
	}
	for _, o := range []struct {
		name string
		is   bool
	}{{"privileged", s.Privileged}, {"user_namespace", s.UserNamespace}} {
		if o.is {
			out = append(out, o.name+": true")
		}
	}
	for _, o := range []struct {
		name string
		list []string
	}{{"overlay", s.Overlay}, {"tmpfs", s.Tmpfs}, {"binds", s.Binds}} {
		if len(o.list) > 0 {
			out = append(out, o.name+": "+strings.Join(o.list, ", "))
		}
	}
	return out
}

func pairs(b *bytes.Buffer, title string, of map[string]string) {
	if len(of) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	for _, k := range slices.Sorted(maps.Keys(of)) {
		fmt.Fprintf(b, "  %s: %s\n", k, of[k])
	}
}

// flat is v on one line, as it goes to the guest.
func flat(v any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSpace(b.String()), err
}
