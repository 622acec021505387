// SPDX-License-Identifier: Apache-2.0

package grid

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/results/cause"
)

// Ptrace is the variant of pdig, which is no product of the grid: it is known so that its absence can be explained.
const Ptrace product.Variant = "ptrace"

// Impossible says why a cell cannot exist whoever builds it: unsupported, with the reason. Nil where nothing is known
// against it. A kernel whose headers are gone is not impossible: its driver cannot be built here and now.
func Impossible(k *Kernel, d *Driver) *cause.Err {
	for _, p := range k.Policies {
		if p.Variant == string(d.Variant) && p.Cause != cause.HeadersMissing {
			return unsupported(p.Cause, cause.FaultKernel, p.Reason)
		}
	}
	v, known := driverVersion(d.Version)
	switch {
	case known && d.Variant == product.EBPF && v.atLeast(version{10, 0, 0}):
		return unsupported(cause.VariantGone, cause.FaultDriver, "driver "+v.String()+of(d.Version)+" has no legacy eBPF probe: "+
			"deprecated with Falco 0.43, removed with 0.44 (falcosecurity/libs c5ea0da85); 9.1.0+driver is the last that has it")
	case known && d.Variant == Ptrace && v.atLeast(version{6, 0, 2}):
		return unsupported(cause.VariantGone, cause.FaultDriver, "driver "+v.String()+of(d.Version)+" has no consumer of pdig's events: "+
			"falcosecurity/libs dropped udig after 6.0.1+driver (931c07370), Falco with 0.37")
	case d.Variants != nil && !slices.Contains(d.Variants, d.Variant):
		var has []string
		for _, x := range d.Variants {
			has = append(has, string(x))
		}
		return unsupported(cause.VariantGone, cause.FaultDriver, "the source of "+d.Name+" holds no "+string(d.Variant)+": it has "+cmp.Or(strings.Join(has, ", "), "none"))
	}
	return nil
}

func of(asked string) string {
	if strings.HasPrefix(asked, "0.") {
		return " (of libs " + asked + ")"
	}
	return ""
}

func unsupported(c cause.Cause, f cause.Fault, reason string) *cause.Err {
	return &cause.Err{Finding: cause.Finding{State: cause.Unsupported, Cause: c, Fault: f}, What: reason}
}

type version [3]int

func (v version) String() string {
	return strconv.Itoa(v[0]) + "." + strconv.Itoa(v[1]) + "." + strconv.Itoa(v[2]) + "+driver"
}

func (v version) atLeast(o version) bool { return slices.Compare(v[:], o[:]) >= 0 }

// libsDrivers is the driver that a release of libs was made with, the first of each 0.N, as Falco's releases pair them.
// Debian's packages have the version of libs: falcosecurity-scap-dkms 0.23.2 holds driver 9.1.0.
var libsDrivers = map[int]version{
	9: {3, 0, 1}, 10: {4, 0, 0}, 11: {5, 0, 1}, 13: {6, 0, 1}, 14: {7, 0, 0}, 17: {7, 2, 0}, 18: {7, 3, 0},
	20: {8, 0, 0}, 21: {8, 1, 0}, 22: {9, 0, 0}, 23: {9, 1, 0}, 25: {10, 2, 0},
}

var versionForm = regexp.MustCompile(`^(\d{1,4})\.(\d{1,4})\.(\d{1,4})(\+driver)?$`)

// driverVersion reads a driver's tag, or the version of a release of libs. Of a commit, a development version and a
// release of libs that went into no Falco it knows nothing: there the source itself tells what it holds.
func driverVersion(s string) (version, bool) {
	m := versionForm.FindStringSubmatch(s)
	if m == nil {
		return version{}, false
	}
	var v version
	for i := range v {
		v[i], _ = strconv.Atoi(m[i+1]) // digits, and few
	}
	if v[0] > 0 || m[4] != "" {
		return v, true
	}
	v, ok := libsDrivers[v[1]]
	return v, ok
}
