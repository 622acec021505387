// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// The kinds of consumer.
const (
	Native  = "native"  // ours, in the agent
	Sysdig  = "sysdig"  // the userland's
	Falco   = "falco"   // a Falco that the user supplies
	Command = "command" // any program that judges a driver by its exit status: 0 pass, 95 unsupported, else fail
)

// File is a file of the user's own that a guest's root holds.
type File struct {
	From Str `yaml:"from,required"` // on this machine; relative to the matrix
	To   Str `yaml:"to,required"`   // absolute
	Mode Str `yaml:"mode"`          // octal; "" means 0755
}

// MaxFile bounds one file of the user's own, in bytes. A Falco with all its debug information is below that.
const MaxFile = 256 << 20

var octal = regexp.MustCompile(`^0?[0-7]{3}$`)

// consumer checks an entry of consumers.
func (c *checker) consumer(key Str, v Consumer) {
	c.oneOf("consumer kind", v.Kind, kinds)
	own := v.Kind.V == Falco || v.Kind.V == Command
	switch {
	case own && (len(v.Argv) == 0 || v.Argv[0].V == ""):
		c.errorf(key, "%s: a consumer of kind %s needs argv: the program, by its path in the guest, and its arguments", key.V, v.Kind.V)
	case !own && len(v.Argv) > 0:
		c.errorf(v.Argv[0], "%s: argv is of kinds %s and %s; mews itself knows how to run %s", key.V, Falco, Command, v.Kind.V)
	case v.Kind.V == Command && len(v.Rules) > 0:
		c.errorf(v.Rules[0], "%s: a consumer of kind command evaluates no rules", key.V)
	}
	for i, f := range v.Files {
		info, err := os.Stat(f.From.V)
		switch {
		case err != nil || !info.Mode().IsRegular():
			c.errorf(f.From, "%s is no file that can be read from here", f.From.V)
		case info.Size() > MaxFile:
			c.errorf(f.From, "%s has %d bytes, more than the %d of one file in a guest", f.From.V, info.Size(), MaxFile)
		}
		if !path.IsAbs(f.To.V) || path.Clean(f.To.V) != f.To.V || f.To.V == "/" || strings.ContainsRune(f.To.V, 0) {
			c.errorf(f.To, "%q is no absolute path of a file", f.To.V)
		}
		if f.Mode.V != "" && !octal.MatchString(f.Mode.V) {
			c.errorf(f.Mode, "mode %q is no octal mode such as 0644", f.Mode.V)
		}
		if slices.ContainsFunc(v.Files[:i], func(o File) bool { return o.To.V == f.To.V }) {
			c.errorf(f.To, "%s is put there twice", f.To.V)
		}
	}
}

// reads is what each kind of consumer can read: our own events, or those of the drivers that libscap knows.
var reads = map[string][]string{
	Native:  {"modern_ebpf", Ptrace},
	Sysdig:  {"kmod", "ebpf"},
	Falco:   {"kmod", "ebpf"},
	Command: {"kmod", "ebpf"},
}

// fits checks that a driver's consumer can read what it delivers.
func (c *checker) fits(key Str, d Driver, by Consumer) {
	brings := by.Kind.V == Falco || by.Kind.V == Command
	if d.Source.Builtin.V == Embedded {
		switch {
		case !brings:
			c.errorf(d.Consumer, "%s: only a consumer of kind %s or %s brings a driver of its own", key.V, Falco, Command)
		case d.Variant.V != "modern_ebpf":
			c.errorf(d.Variant, "%s: the driver that a consumer brings along is of variant modern_ebpf: every other is built for its kernel", key.V)
		}
		return
	}
	variants, known := reads[by.Kind.V]
	if known && slices.Contains([]string{"kmod", "ebpf", "modern_ebpf", Ptrace}, d.Variant.V) && !slices.Contains(variants, d.Variant.V) {
		hint := ""
		if brings {
			hint = "; the one that it brings along is `source: {builtin: " + Embedded + "}`"
		}
		c.errorf(d.Consumer, "%s: a consumer of kind %s reads variants %s, not %s%s", key.V, by.Kind.V, strings.Join(variants, ", "), d.Variant.V, hint)
	}
}
