// SPDX-License-Identifier: Apache-2.0

package images

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// Want is what is known, besides its compiler, of the kernel that is built for.
type Want struct {
	Distro string // debian, amazonlinux2, rocky, ...
	Suite  string // bookworm-security; may be empty
	Arch   string // x86_64 or aarch64; "": x86_64
	// NoRegistry leaves out the images that are pulled: there is no Docker, or nothing may be fetched.
	NoRegistry bool
}

// Choice is a compiler and the image that has it.
type Choice struct {
	Image       *Image
	Compiler    Compiler
	Substituted *Substitution // nil when it is the very one
}

// Substitution says which compiler stands in for which. From and To are names like gcc-12.
type Substitution struct {
	From string `json:"from"`
	To   string `json:"to"`
	Why  string `json:"why"`
}

func (c Choice) String() string { return c.Image.Name + "/" + c.Compiler.Name }

// Choose finds the compiler that a kernel was built with: the family and the major version, of the image that its own
// suite's is, if that has it. Where no image has it, it is the nearest newer one of the same family, as a Substitution:
// a newer compiler knows what the headers promise of an older one, an older one does not. Where there is none, the error is
// TOOLCHAIN_MISMATCH and names what there is.
func (s *Set) Choose(c kernels.Compiler, w Want) (Choice, error) {
	all := s.All(w)
	var best *Choice
	for i := range all {
		o := &all[i]
		if o.Compiler.Family == c.Family && o.Compiler.Major >= c.Major && (best == nil || o.Compiler.Major < best.Compiler.Major) {
			best = o
		}
	}
	wanted := fmt.Sprintf("%s-%d", c.Family, c.Major)
	if best == nil {
		return Choice{}, cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "no builder image has %s or a newer %s for %s", wanted, c.Family, w.arch()).
			With(cause.Evidence{Text: "kernel: " + c.Text}, cause.Evidence{Text: "there are: " + names(all)}).
			Advise("add an image that has %s to builders/images", wanted)
	}
	if best.Compiler.Major != c.Major {
		best.Substituted = &Substitution{From: wanted, To: best.Compiler.Name, Why: "no image has " + wanted + s.Pulled(wanted, w) + "; this is the nearest newer one"}
	}
	return *best, nil
}

// Pulled says, to go behind "no image has NAME", that an image would have the compiler if it could be pulled; else it is empty.
func (s *Set) Pulled(name string, w Want) string {
	if !w.NoRegistry {
		return ""
	}
	w.NoRegistry = false
	for _, o := range s.All(w) {
		if o.Compiler.Name == name {
			return " but " + o.Image.Name + ", which is pulled from a registry"
		}
	}
	return ""
}

// Named finds a compiler by its name, such as gcc-12, for a kernel that need not have been built with it.
func (s *Set) Named(name string, w Want) (Choice, error) {
	all := s.All(w)
	var known []string
	for _, o := range all {
		if o.Compiler.Name == name {
			return o, nil
		}
		known = append(known, o.Compiler.Name)
	}
	return Choice{}, cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "no builder image has %q for %s%s%s", name, w.arch(), s.Pulled(name, w), nearest.Hint(name, known)).
		With(cause.Evidence{Text: "there are: " + names(all)})
}

// All are all compilers for w, each once, of the image that is best for it: gcc before clang, the oldest first.
func (s *Set) All(w Want) []Choice {
	var out []Choice
	for _, i := range s.Images {
		if i.Target != w.arch() || w.NoRegistry && i.Registry != "" {
			continue
		}
		for _, c := range i.Compilers {
			at := slices.IndexFunc(out, func(o Choice) bool { return o.Compiler.Name == c.Name })
			switch {
			case at < 0:
				out = append(out, Choice{Image: i, Compiler: c})
			case i.own(w) && !out[at].Image.own(w):
				out[at] = Choice{Image: i, Compiler: c}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Choice) int {
		if d := strings.Compare(b.Compiler.Family, a.Compiler.Family); d != 0 {
			return d
		}
		return a.Compiler.Major - b.Compiler.Major
	})
	return out
}

func (w Want) arch() string {
	if w.Arch == "" {
		return "x86_64"
	}
	return w.Arch
}

// own reports whether the image is the one of the kernel's own suite or distro.
func (i *Image) own(w Want) bool {
	suite, _, _ := strings.Cut(w.Suite, "-")
	return slices.ContainsFunc(i.Kernels, func(k string) bool { return k == suite || k == w.Distro })
}

func names(all []Choice) string {
	var out []string
	for _, o := range all {
		out = append(out, o.Compiler.Name)
	}
	return strings.Join(out, ", ")
}
