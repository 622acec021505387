// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/internal/lazy"
	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/internal/strictyaml"
	"github.com/mews-farm/mews/results/cause"
)

// Needs is what a kernel must have for the deeds to be possible. What it lacks makes the scenario unsupported there.
type Needs struct {
	Syscalls     []string // the guest's errno is the proof
	Kernel       string   // a range of versions, ">= 5.6, < 6.12"; see [Needs.Missing]
	Config       []string // options of the kernel's configuration: CONFIG_IO_URING, CONFIG_OVERLAY_FS=m
	Capabilities []string // that the acting process must have
}

// needsForm is a [Needs] as a scenario's file has it.
type needsForm struct {
	Syscalls   []strictyaml.Str `yaml:"syscalls"`
	Kernel     strictyaml.Str   `yaml:"kernel"`
	Config     []strictyaml.Str `yaml:"config"`
	Capability []strictyaml.Str `yaml:"capability"`
}

var (
	callForm   = lazy.Regexp(`^[a-z][a-z0-9_]*$`)
	optionForm = lazy.Regexp(`^CONFIG_[A-Z0-9_]+(=(y|m))?$`)
	boundForm  = lazy.Regexp(`^(>=|<) ?([0-9]+)\.([0-9]+)$`)
)

// needs are the form's, with what is wrong with them, each at its place.
func (f needsForm) needs() (Needs, []error) {
	out := Needs{Kernel: f.Kernel.V}
	var errs []error
	for _, c := range f.Syscalls {
		if out.Syscalls = append(out.Syscalls, c.V); !callForm().MatchString(c.V) {
			errs = append(errs, c.Errorf("%q is no name of a system call, as in openat2", c.V))
		}
	}
	if f.Kernel.V != "" {
		if _, err := bounds(f.Kernel.V); err != nil {
			errs = append(errs, f.Kernel.Errorf("%v", err))
		}
	}
	for _, o := range f.Config {
		if out.Config = append(out.Config, o.V); !optionForm().MatchString(o.V) {
			errs = append(errs, o.Errorf("%q is no option of a kernel's configuration, as in CONFIG_IO_URING (y or m), CONFIG_IO_URING=y or CONFIG_DUMMY=m", o.V))
		}
	}
	for _, c := range f.Capability {
		if out.Capabilities = append(out.Capabilities, c.V); !slices.Contains(Capabilities, c.V) {
			errs = append(errs, c.Errorf("unknown capability %q%s", c.V, nearest.Hint(c.V, Capabilities)))
		}
	}
	return out, errs
}

// String is what is needed, as people read it.
func (n Needs) String() string {
	var out []string
	if n.Kernel != "" {
		out = append(out, "Linux "+n.Kernel)
	}
	return strings.Join(slices.Concat(out, n.Config, n.Syscalls, n.Capabilities), ", ")
}

// version is MAJOR.MINOR of a kernel. What follows in a release means something else to each distribution: Debian's
// 6.1.0-57 is the stable release 6.1.192.
type version [2]int

func (v version) less(w version) bool { return v[0] < w[0] || v[0] == w[0] && v[1] < w[1] }

// bound is one end of a range.
type bound struct {
	below bool // what has to be below it; else not below it
	at    version
}

func (b bound) holds(v version) bool { return v.less(b.at) == b.below }

// bounds reads a range, whose bounds must all hold.
func bounds(text string) ([]bound, error) {
	var out []bound
	low, high := version{}, version{1 << 20}
	for part := range strings.SplitSeq(text, ",") {
		m := boundForm().FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return nil, fmt.Errorf("%q is no range of kernels, as in \">= 5.6, < 6.12\": a bound is >= or < with MAJOR.MINOR, for what comes after that each distribution counts in its own way", text)
		}
		b := bound{below: m[1] == "<"}
		for i, digits := range m[2:] {
			n, err := strconv.Atoi(digits)
			if err != nil || n > 1000 {
				return nil, fmt.Errorf("the kernel %s.%s is none", m[2], m[3])
			}
			b.at[i] = n
		}
		if out = append(out, b); b.below {
			high = b.at
		} else {
			low = b.at
		}
	}
	if !low.less(high) {
		return nil, fmt.Errorf("no kernel is in the range %q", text)
	}
	return out, nil
}

var releaseForm = lazy.Regexp(`^([0-9]{1,3})\.([0-9]{1,3})`)

// Options is a kernel's configuration, of which nothing else is asked.
type Options interface {
	// Get is the value of a symbol, "" where it is not set.
	Get(symbol string) string
	// Line is what the configuration's file says of a symbol.
	Line(symbol string) cause.Evidence
}

// Missing says which need the kernel of that release does not meet, with the proof, or nil. config is nil where nobody has
// seen it yet. What only a guest can show is not asked here: system calls, and capabilities.
func (n Needs) Missing(release string, config Options) *cause.Err {
	lacks := func(e cause.Evidence, format string, args ...any) *cause.Err {
		return &cause.Err{
			Finding: cause.Finding{State: cause.Unsupported, Cause: cause.KernelLacks, Fault: cause.FaultKernel, Evidence: []cause.Evidence{e}},
			What:    fmt.Sprintf(format, args...),
		}
	}
	if n.Kernel != "" {
		m := releaseForm().FindStringSubmatch(release)
		ends, err := bounds(n.Kernel)
		if m == nil || err != nil {
			return nil // nothing is proven of a release that says no version
		}
		major, _ := strconv.Atoi(m[1])
		minor, _ := strconv.Atoi(m[2])
		for _, b := range ends {
			if !b.holds(version{major, minor}) {
				return lacks(cause.Evidence{Text: "uname -r: " + release}, "the kernel is %s, and the scenario needs %s", release, n.Kernel)
			}
		}
	}
	if config == nil {
		return nil
	}
	for _, option := range n.Config {
		symbol, want, exact := strings.Cut(option, "=")
		got := config.Get(symbol)
		if exact && got != want || !exact && got != "y" && got != "m" {
			line := config.Line(symbol)
			return lacks(line, "the kernel lacks %s, which the scenario needs (%s)", option, line)
		}
	}
	return nil
}
