// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"errors"
	"io/fs"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/mews-farm/mews/bpf"
	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/results/cause"
)

// Edition is one of the ways in which the probe is built from its source.
type Edition string

// The editions. Those that are known to be bad have a fault that a driver of Falco once had; they show that mews sees
// such a fault, and are of no other use.
const (
	Good       Edition = "modern"             // as it should be; "" stands for it too
	BadOpenHow Edition = "modern-bad-openhow" // asks for struct open_how of a kernel that may have none (falco#3417)
	BadUpper   Edition = "modern-bad-upper"   // guesses the layout of overlayfs by a field's existence (falco#3286)
	DearExec   Edition = "modern-dear-exec"   // does nothing more at each exec, [dearer] times: the perf lane must see it
)

// Editions lists the names of all, the good one first.
func Editions() []string {
	return []string{string(Good), string(BadOpenHow), string(BadUpper), string(DearExec)}
}

// collection is the object of the edition.
func (e Edition) collection() (*ebpf.CollectionSpec, error) {
	load := bpf.LoadProbe
	switch e {
	case "", Good, DearExec:
	case BadOpenHow:
		load = bpf.LoadBadOpenHow
	case BadUpper:
		load = bpf.LoadBadUpper
	default:
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "the probe has no edition %q%s", string(e), nearest.Hint(string(e), Editions()))
	}
	spec, err := load()
	if err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "read the object of the probe: %w", err)
	}
	if e == DearExec {
		makeDearer(spec.Programs[bpf.ProbeProgSchedProcessExec])
	}
	return spec, nil
}

// dearer is how many instructions DearExec adds to an exec: about 1 % of one with the probe on 6.1, of 214,000.
const dearer = 2140

// makeDearer has a program begin with instructions of which nothing comes.
func makeDearer(p *ebpf.ProgramSpec) {
	nothing := make(asm.Instructions, dearer)
	for i := range nothing {
		nothing[i] = asm.Mov.Imm(asm.R0, 0)
	}
	// The name of the program and its place in the types are the first instruction's.
	nothing[0].Metadata, p.Instructions[0].Metadata = p.Instructions[0].Metadata, asm.Metadata{}
	p.Instructions = append(nothing, p.Instructions...)
}

// moduleTypes are the types of modules that the edition looks at beside the kernel's own. libbpf would search all
// modules; of those that can be loaded only overlay matters, and only to the edition that depends on it.
func (e Edition) moduleTypes() ([]*btf.Spec, error) {
	if e != BadUpper {
		return nil, nil
	}
	overlay, err := btf.LoadKernelModuleSpec("overlay")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it is built in, or this kernel does not publish the types of its modules
	}
	if err != nil {
		return nil, cause.Failf(cause.MissingBTF, cause.FaultKernel, "read the types of module overlay: %w", err)
	}
	return []*btf.Spec{overlay}, nil
}
