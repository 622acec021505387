// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/internal/lazy"
	"github.com/mews-farm/mews/internal/strictyaml"
)

// Requirements are what rule files need of the engine that runs them.
type Requirements struct {
	Engine  string     // the greatest required_engine_version, as major.minor.patch; empty if no file has one
	Plugins [][]Plugin // of each entry one has to be there
}

// Plugin is a plug-in of Falco, and the version that rules need of it.
type Plugin struct{ Name, Version string }

type pluginItem struct {
	Name         strictyaml.Str `yaml:"name,required"`
	Version      strictyaml.Str `yaml:"version,required"`
	Alternatives []struct {
		Name    strictyaml.Str `yaml:"name,required"`
		Version strictyaml.Str `yaml:"version,required"`
	} `yaml:"alternatives"`
}

var semver = lazy.Regexp(`^[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}$`)

// engine reads a required_engine_version: a semantic version, or a number N of before Falco 0.37, which is 0.N.0.
func (l *loader) engine(v strictyaml.Str) {
	version := v.V
	if n, err := strconv.ParseUint(version, 10, 31); err == nil {
		version = "0." + strconv.FormatUint(n, 10) + ".0"
	}
	if !semver().MatchString(version) {
		l.errorf(v, "required_engine_version is a number or a version such as 0.57.0, not %q", v.V)
		return
	}
	if needs := &l.set.needs; needs.Engine == "" || compareVersions(needs.Engine, version) < 0 {
		needs.Engine = version
	}
}

func compareVersions(a, b string) int {
	p, q := strings.Split(a, "."), strings.Split(b, ".")
	for i := range p {
		// A number of more digits is greater, leading zeros apart; both are digits alone.
		x, y := strings.TrimLeft(p[i], "0"), strings.TrimLeft(q[i], "0")
		if c := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); c != 0 {
			return c
		}
	}
	return 0
}

func (l *loader) plugins(items []pluginItem) {
	for _, it := range items {
		all := []struct{ name, version strictyaml.Str }{{it.Name, it.Version}}
		for _, a := range it.Alternatives {
			all = append(all, struct{ name, version strictyaml.Str }{a.Name, a.Version})
		}
		var of []Plugin
		seen := map[string]bool{}
		for _, p := range all {
			if !semver().MatchString(p.version.V) {
				l.errorf(p.version, "plug-in %s needs a version such as 0.4.0, not %q", p.name.V, p.version.V)
			}
			if seen[p.name.V] {
				l.errorf(p.name, "plug-in %s is an alternative of itself", p.name.V)
			}
			seen[p.name.V] = true
			of = append(of, Plugin{p.name.V, p.version.V})
		}
		l.set.needs.Plugins = append(l.set.needs.Plugins, of)
	}
}
