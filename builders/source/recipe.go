// SPDX-License-Identifier: Apache-2.0

package source

import (
	"io"
	"regexp"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// Recipe is what a dkms.conf says of how its only module is built.
type Recipe struct {
	Name, Version string   // PACKAGE_NAME, PACKAGE_VERSION
	Module        string   // BUILT_MODULE_NAME[0]
	Location      string   // BUILT_MODULE_LOCATION[0], relative to the source; "" for its top
	Make          []string // arguments of make after -C headers M=source
}

var (
	assignment = regexp.MustCompile(`^([A-Z][A-Z0-9_]*(?:\[\d+\])?)=(.*)$`)
	variable   = regexp.MustCompile(`\$(?:\{(\w+)\}|(\w+))`)
	moduleName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	version    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+~-]*$`)
	makeWord   = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)
)

// maxConf bounds a dkms.conf, in bytes.
const maxConf = 64 << 10

// ParseRecipe reads the subset of dkms.conf(5) that is assignments of strings: dkms itself runs the file in a shell, we never do.
// vars are the variables that dkms gives such a file.
func ParseRecipe(file string, r io.Reader, vars map[string]string) (*Recipe, error) {
	bad := func(line int, format string, args ...any) error {
		e := cause.Failf(cause.CompileError, cause.FaultDriver, "dkms.conf: "+format, args...)
		return e.With(cause.Evidence{File: file, Line: line, Text: e.What}).Advise("only KEY=\"value\" lines are understood")
	}
	values := map[string]string{}
	for k, v := range vars {
		values[k] = v
	}
	lines := map[string]int{}
	conf, err := io.ReadAll(io.LimitReader(r, maxConf+1))
	if err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultInfra, "read dkms.conf: %w", err)
	}
	if len(conf) > maxConf {
		return nil, bad(0, "larger than %d bytes", maxConf)
	}
	n := 0
	for text := range strings.Lines(string(conf)) {
		n++
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		m := assignment.FindStringSubmatch(text)
		if m == nil {
			return nil, bad(n, "%q is not an assignment", text)
		}
		v, err := unquote(m[2])
		if err != nil {
			return nil, bad(n, "%s: %s", m[1], err)
		}
		unknown := ""
		v = variable.ReplaceAllStringFunc(v, func(s string) string {
			name := strings.Trim(s, "${}")
			if _, ok := values[name]; !ok {
				unknown = name
			}
			return values[name]
		})
		if unknown != "" {
			return nil, bad(n, "%s uses the variable %q, which dkms does not set", m[1], unknown)
		}
		key := m[1]
		if strings.HasPrefix(key, "MAKE") || strings.HasPrefix(key, "BUILT_MODULE") {
			if !strings.Contains(key, "[") {
				key += "[0]"
			}
		}
		values[key], lines[key] = v, n
	}
	rec := &Recipe{
		Name: values["PACKAGE_NAME"], Version: values["PACKAGE_VERSION"],
		Module: values["BUILT_MODULE_NAME[0]"], Location: strings.Trim(values["BUILT_MODULE_LOCATION[0]"], "/"),
		Make: []string{"modules"},
	}
	if rec.Module == "" {
		rec.Module = rec.Name // as dkms does
	}
	if !moduleName.MatchString(rec.Name) || !moduleName.MatchString(rec.Module) || !version.MatchString(rec.Version) {
		return nil, bad(lines["PACKAGE_NAME"], "name %q, version %q, module %q: one is missing or not usable", rec.Name, rec.Version, rec.Module)
	}
	if strings.Contains(rec.Location, "..") {
		return nil, bad(lines["BUILT_MODULE_LOCATION[0]"], "location %q leads out of the source", rec.Location)
	}
	if line, ok := values["MAKE[0]"]; ok {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "make" {
			return nil, bad(lines["MAKE[0]"], "MAKE %q does not begin with make", line)
		}
		for _, w := range words[1:] {
			if w = strings.Trim(w, `'`); !makeWord.MatchString(w) {
				return nil, bad(lines["MAKE[0]"], "MAKE has the word %q, which only a shell understands", w)
			}
		}
		rec.Make = words[1:]
	}
	return rec, nil
}

// unquote takes one pair of quotes off; what a shell would run or join is an error.
func unquote(s string) (string, error) {
	s = strings.TrimSpace(s)
	quoted := len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0]
	if quoted {
		s = s[1 : len(s)-1]
	}
	if strings.ContainsAny(s, "`\"\\\x00") || strings.Contains(s, "$(") || !quoted && strings.ContainsAny(s, " \t;|&<>'") {
		return "", errShell
	}
	return s, nil
}

type constError string

func (e constError) Error() string { return string(e) }

const errShell = constError("only a shell understands this value")
