// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"fmt"
	"maps"
	"slices"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// maxEvidence bounds the symbols that are named for one finding.
const maxEvidence = 8

// CheckSymbols reports why kernel k with configuration c would not link the module: it needs a symbol that is not
// exported, or was built for another type of one. exported is empty when nobody knows what the kernel exports.
// The note says what was compared, or why nothing was.
//
// With CONFIG_MODVERSIONS on both sides the kernel does not look at the release in the vermagic: the CRCs are then all
// that keeps a module of other headers out, and a distribution may change them under the same release.
func (m *Module) CheckSymbols(k kernels.Kernel, c *kernels.Config, exported Symvers) (note string, err error) {
	if len(exported) == 0 {
		return "symbols not compared: no Module.symvers of this kernel", nil
	}
	if err := m.unresolved(k, exported); err != nil {
		return "", err
	}
	needed := fmt.Sprintf("%d symbols, all exported", len(m.Undefined))
	switch {
	case !c.IsBuiltin("MODVERSIONS"):
		return needed + ", by a kernel without CRCs (CONFIG_MODVERSIONS is not set)", nil
	case !exported.versioned():
		return needed + ", CRCs not compared: the kernel's Module.symvers holds none", nil
	case len(m.CRCs) == 0:
		return "", m.mismatched(k, "%s carries no CRCs of symbols, which kernel %s asks for", m.File, k.Release).
			With(cause.Evidence{File: m.File, Text: "no section __versions"},
				cause.Evidence{File: "config-" + k.Release, Text: "CONFIG_MODVERSIONS=y"})
	}
	same, err := m.compare(k, exported)
	if err != nil {
		return "", err
	}
	// The kernel lets a symbol without a CRC through, with a warning (kernel/module/version.c, check_version).
	bare := 0
	for _, symbol := range m.Undefined {
		if _, ok := m.CRCs[symbol]; !ok {
			bare++
		}
	}
	if bare > 0 {
		return fmt.Sprintf("%d symbols, %d of them without a CRC, all others those of the kernel", same+bare, bare), nil
	}
	return fmt.Sprintf("%d symbols, all CRCs those of the kernel", same), nil
}

// unresolved is the driver's fault, which uses what this kernel does not have, unless the module brings a CRC along: headers
// that export the symbol gave it, so that others than this kernel's were built against.
func (m *Module) unresolved(k kernels.Kernel, exported Symvers) error {
	var missing []string
	for _, symbol := range m.Undefined {
		if _, ok := exported[symbol]; !ok {
			missing = append(missing, symbol)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	e := cause.Failf(cause.ModpostUnresolved, cause.FaultDriver, "%s uses %s, which kernel %s does not export",
		m.File, andMore(missing), k.Release)
	for i, symbol := range missing {
		text := symbol + ": not in Module.symvers"
		if crc, ok := m.CRCs[symbol]; ok {
			text = fmt.Sprintf("%s: CRC %#08x in the module, not in Module.symvers", symbol, crc)
			e.Fault = cause.FaultToolchain
			e.Advise("build it against the headers of %s", k.Release)
		}
		if i < maxEvidence {
			e.With(cause.Evidence{File: m.File, Text: text})
		}
	}
	return e
}

// compare counts the CRCs that are equal. A name that the kernel does not export is weak here, or unresolved told so.
func (m *Module) compare(k kernels.Kernel, exported Symvers) (same int, err error) {
	var differ []string
	for _, symbol := range slices.Sorted(maps.Keys(m.CRCs)) {
		switch crc, ok := exported[symbol]; {
		case !ok:
		case crc == m.CRCs[symbol]:
			same++
		default:
			differ = append(differ, symbol)
		}
	}
	if len(differ) == 0 {
		return same, nil
	}
	e := m.mismatched(k, "%s has other CRCs than kernel %s for %s", m.File, k.Release, andMore(differ))
	for _, symbol := range differ[:min(len(differ), maxEvidence)] {
		e.With(cause.Evidence{File: m.File, Text: fmt.Sprintf("%s: CRC %#08x in the module, %#08x in Module.symvers", symbol, m.CRCs[symbol], exported[symbol])})
	}
	return 0, e
}

// mismatched blames the tool chain: modpost copies the CRCs out of the headers that the module was built against, so that
// others mean other headers, whatever the driver's source says.
func (m *Module) mismatched(k kernels.Kernel, format string, args ...any) *cause.Err {
	return cause.Failf(cause.SymbolCRCMismatch, cause.FaultToolchain, format, args...).
		Advise("build it against the headers of exactly this build of %s", k.Release)
}

// andMore names the first of names, and how many there are besides.
func andMore(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return fmt.Sprintf("%s and %d more symbols", names[0], len(names)-1)
}
