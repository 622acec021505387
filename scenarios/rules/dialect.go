// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mews-farm/mews/internal/lazy"
)

// Dialect is what one version of libsinsp takes for a filter. Each limit was tried on the version itself, and a test
// tries the filters on it again.
type Dialect struct {
	Name   string
	Fields Schema // what its events have

	brackets bool // around and within or, else "expression mixes 'and' and 'or' in an ambiguous way"
	escapes  bool // the grammar of quoted strings has escapes, and arguments of fields can be quoted
	lacks    []Op
	plain    bool // neither transforms nor val()
}

// The dialects.
var (
	// Sysdig041 is sysdig 0.41.4, of Debian sid. The container's fields are a plug-in's, which Debian does not have.
	Sysdig041 = Dialect{Name: "sysdig 0.41", Fields: without{Falco, pluginField}, escapes: true}
	// Sysdig029 is sysdig 0.29.3 of 2022, of Debian 12.
	Sysdig029 = Dialect{Name: "sysdig 0.29", Fields: without{Falco, newerThan029},
		brackets: true, plain: true, lacks: []Op{IGlob, Regex, BContains, BStarts, Intersects}}
)

// unproven is a sysdig that nobody tried: what it lacks is for itself to say, when it starts.
var unproven = Dialect{Name: "sysdig", Fields: Falco, escapes: true}

// sysdigVersion is the beginning of a package's version, as of 0.41.4+repack-2.
var sysdigVersion = lazy.Regexp(`^0\.(\d{1,4})(?:\.|$)`)

// SysdigDialect is the dialect of a sysdig, by its version. What 0.29 lacks, those before it lack too; the container's
// fields moved to a plug-in with 0.41. Of a version between the two nothing is known, and nothing is called unsupported.
func SysdigDialect(version string) Dialect {
	m := sysdigVersion().FindStringSubmatch(version)
	if m == nil {
		return unproven
	}
	switch minor, _ := strconv.Atoi(m[1]); {
	case minor <= 29:
		return Sysdig029
	case minor >= 41:
		return Sysdig041
	}
	return unproven
}

// Filter is e as the dialect writes it. The error is an [*Error] that names what the dialect lacks.
func (d Dialect) Filter(e Expr) (string, error) {
	var wrong *Error
	refuse := func(c *Check, format string, args ...any) {
		if wrong == nil {
			wrong = c.at.errorf(d.Name+" has no "+format, args...)
		}
	}
	checks(e, func(c *Check) {
		switch {
		case slices.Contains(d.lacks, c.Op):
			refuse(c, "operator %s", c.Op)
		case d.plain && len(c.Transforms) > 0:
			refuse(c, "transformer %s()", c.Transforms[0])
		case d.plain && c.Right != nil:
			refuse(c, "comparison of %s with a field", c.Name())
		case d.plain && c.Arg != "" && (c.Field == "proc.env" || c.Field == "proc.args"):
			refuse(c, "argument of %s", c.Field)
		case d.plain && c.Op != Exists && fraction(c.Field):
			refuse(c, "comparison of %s", c.Name())
		case !d.escapes && (slices.ContainsFunc(c.Values, escaped) || strings.Contains(c.Name(), `"`)):
			refuse(c, "way to write the values of %s", c.Name())
		}
	})
	if wrong != nil {
		return "", wrong
	}
	if d.brackets {
		return text(bracketed{e}), nil
	}
	return e.String(), nil
}

// escaped reports whether v cannot be written without an escape other than that of a double quote.
func escaped(v string) bool { return quote(v) != v && strings.ContainsAny(v, "'\\\b\f\n\r\t") }

// fraction reports whether a field is a fraction, which 0.29 can print and not compare ("wrong parameter type 33").
func fraction(field string) bool {
	ft, _ := Falco.Field(field)
	return ft.Type == "DOUBLE"
}

// bracketed writes a condition with each and in brackets that is a term of an or.
type bracketed struct{ Expr }

func (e bracketed) write(b *strings.Builder) {
	switch x := e.Expr.(type) {
	case *And:
		for i, t := range x.Terms {
			if i > 0 {
				b.WriteString(" and ")
			}
			writeIn(b, bracketed{t}, isOr(t))
		}
	case *Or:
		for i, t := range x.Terms {
			if i > 0 {
				b.WriteString(" or ")
			}
			_, and := t.(*And)
			writeIn(b, bracketed{t}, and)
		}
	case *Not:
		b.WriteString("not ")
		_, and := x.Term.(*And)
		writeIn(b, bracketed{x.Term}, and || isOr(x.Term))
	default:
		e.Expr.write(b)
	}
}

// without is a vocabulary that lacks some fields of another.
type without struct {
	Schema
	lacks func(name string) bool
}

func (w without) Field(name string) (FieldType, bool) {
	if w.lacks(name) {
		return FieldType{}, false
	}
	return w.Schema.Field(name)
}

func (w without) Fields() []string {
	return slices.DeleteFunc(w.Schema.(Lister).Fields(), w.lacks)
}

// pluginField reports whether a field is of Falco's container plug-in.
func pluginField(name string) bool {
	return strings.HasPrefix(name, "container.") || strings.HasPrefix(name, "k8s.") || strings.HasPrefix(name, "proc.is_container_")
}

func newerThan029(name string) bool {
	return since029()[name] || strings.HasPrefix(name, "evt.abspath.") || strings.HasPrefix(name, "k8s.pod.")
}

var since029 = sync.OnceValue(func() map[string]bool {
	return setOf(strings.Fields(`
	evt.asynctype evt.hostname evt.is_async evt.is_open_create evt.source fd.ino fd.is_lower_layer
	fd.is_upper_layer fd.nameraw fd.types fs.path.name fs.path.nameraw fs.path.source fs.path.sourceraw
	fs.path.target fs.path.targetraw proc.aargs proc.acmdline proc.aenv proc.aexe proc.aexepath proc.cmdlenargs
	proc.cmdnargs proc.exe_ino proc.exe_ino.ctime proc.exe_ino.ctime_duration_pidns_start
	proc.exe_ino.ctime_duration_proc_start proc.exe_ino.mtime proc.is_exe_from_memfd proc.is_exe_lower_layer
	proc.is_exe_upper_layer proc.is_pgid_leader proc.is_sid_leader proc.is_vpgid_leader proc.pexe proc.pexepath
	proc.pgid proc.pgid.exe proc.pgid.exepath proc.pgid.name proc.pid.ts proc.pidns_init_start_ts
	proc.ppid.duration proc.ppid.ts proc.pvpid proc.sid.exe proc.sid.exepath proc.stderr.name proc.stderr.type
	proc.stdin.name proc.stdin.type proc.stdout.name proc.stdout.type proc.vpgid.exe proc.vpgid.exepath
	proc.vpgid.name thread.cap_effective thread.cap_inheritable thread.cap_permitted
`))
})
